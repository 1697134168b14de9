// glint perplexity, glint quantize-report and glint embed as a user meets them.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/cli.h"
#include "tests/instrument_samples.h"

using namespace glint;
using namespace glint::test;
using nlohmann::json;

namespace {

const char kText[] =
    "What is the capital of Japan? The capital of Japan is Tokyo. \u732b\u7528\u82f1\u8bed"
    "\u600e\u4e48\u8bf4\uff1f cat. What is 7 plus 5? The answer is 12. hello, how are you?\n";

std::string TextFile() {
  static const std::string path = TempDir() + "/text.txt";
  std::string text;
  for (int i = 0; i < 5; ++i) text += kText;
  WriteFile(path, text);
  return path;
}

// Two windows of the tiny model: [gMASK] <sop> and six ids.
std::string WindowsFile() {
  static const std::string path = TempDir() + "/windows.npy";
  WriteFile(path,
            NpyFile<int32_t>("<i4", "(2, 8)",
                             {2537, 2540, 10, 20, 30, 40, 50, 60, 2537, 2540, 9, 8, 7, 6, 5, 4}));
  return path;
}

const json& Matrix(const json& report, const std::string& name) {
  for (const json& matrix : report["matrices"]) {
    if (matrix["name"] == name) return matrix;
  }
  FAIL("no matrix " << name);
  return report;
}

// The tiny model with two norms changed: weights of a norm times s, columns of the next matrix / s.
// Bytes of a .glint file can be changed in place, since nothing but `verify` looks at tensors'
// checksums.
std::string Folded() {
  std::string file = ReadFile(TinyModel("f32"));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data() + 16, 8);
  const json header = json::parse(file.substr(32, header_bytes));
  const auto values = [&](const std::string& name) -> float* {
    for (const json& tensor : header["tensors"]) {
      if (tensor["name"] != name) continue;
      const uint64_t begin = (32 + header_bytes + 4095) / 4096 * 4096;
      return reinterpret_cast<float*>(file.data() + begin + tensor["offset"].get<uint64_t>());
    }
    FAIL("no tensor " << name);
    return nullptr;
  };
  const auto scale = [](size_t col) { return std::ldexp(1.0f, static_cast<int>(col % 3)); };
  float* norm = values("layer.2.ffn_norm.weight");
  for (size_t c = 0; c < 128; ++c) norm[c] *= scale(c);
  float* matrix = values("layer.2.ffn_up.weight");
  for (size_t i = 0; i < 512 * 128; ++i) matrix[i] /= scale(i / 16 % 128);  // 16 rows interleaved
  const std::string path = TempDir() + "/folded.glint";
  WriteFile(path, file);
  return path;
}

}  // namespace

TEST_CASE("perplexity of a text and of windows") {
  if (!IsProgramThere()) return;
  const std::vector<std::string> command = {"perplexity", TinyModel("int8"), "-f", TextFile(), "-c",
                                            "64",         "--json"};
  const json report = JsonOutput(command);
  CHECK(report["perplexity"].get<double>() ==
        doctest::Approx(std::exp(report["nll"].get<double>())).epsilon(1e-12));
  CHECK(report["perplexity"].get<double>() > 1);
  CHECK(report["perplexity_stderr"].get<double>() > 0);
  CHECK(report["nll_stderr"].get<double>() > 0);
  CHECK(report["window"] == 64);
  CHECK_FALSE(report.contains("kl_mean"));
  // Every token but the first.
  const std::string text = json(ReadFile(TextFile())).dump() + "\n";
  const json ids = json::parse(Output({"tokenize", TinyModel("int8")}, text));
  CHECK(report["tokens"] == ids.size() - 1);
  // Threads and where the text comes from change nothing.
  std::vector<std::string> piped = command;
  piped[3] = "-";
  piped.insert(piped.end(), {"-t", "1"});
  CHECK(json::parse(Output(piped, ReadFile(TextFile()))) == report);
  // More context, better foresight; one window for all of it.
  std::vector<std::string> one = command;
  one[5] = "2000";
  CHECK(JsonOutput(one)["windows"] == 1);
  std::vector<std::string> disjoint = command;
  disjoint.insert(disjoint.end(), {"--stride", "62"});
  CHECK(JsonOutput(disjoint)["windows"] == (ids.size() + 61) / 62);
  CHECK(JsonOutput(disjoint)["tokens"] == report["tokens"]);

  const json windows =
      JsonOutput({"perplexity", TinyModel("int8"), "--windows", WindowsFile(), "--json"});
  CHECK(windows["tokens"] == 14);
  CHECK(windows["windows"] == 2);
  CHECK(windows["window"] == 8);
  const std::string table = Output({"perplexity", TinyModel("int8"), "--windows", WindowsFile()});
  CHECK(table.find("perplexity") != std::string::npos);
  CHECK(table.find("14 in 2 windows of up to 8") != std::string::npos);
}

TEST_CASE("perplexity against a base") {
  if (!IsProgramThere()) return;
  const std::vector<std::string> command = {
      "perplexity", TinyModel("int4"), "-f",    TextFile(), "-c", "64",
      "--base",     TinyModel("f32"),  "--json"};
  const json report = JsonOutput(command);
  for (const char* key : {"kl_mean", "kl_stderr", "kl_p99", "kl_max"}) {
    CHECK(report[key].get<double>() > 0);
  }
  CHECK(report["kl_mean"] < report["kl_p99"]);
  CHECK(report["kl_p99"] <= report["kl_max"]);
  CHECK(report["same_top"].get<double>() > 0.5);
  CHECK(report["same_top"].get<double>() <= 1);
  const json base =
      JsonOutput({"perplexity", TinyModel("f32"), "-f", TextFile(), "-c", "64", "--json"});
  CHECK(report["base_perplexity"] == base["perplexity"]);
  CHECK(report["perplexity_ratio"].get<double>() ==
        doctest::Approx(report["perplexity"].get<double>() / base["perplexity"].get<double>()));
  CHECK(report["nll_difference"].get<double>() ==
        doctest::Approx(report["nll"].get<double>() - base["nll"].get<double>()));
  const json itself = JsonOutput({"perplexity", TinyModel("int4"), "--windows", WindowsFile(),
                                  "--base", TinyModel("int4"), "--json"});
  CHECK(itself["kl_mean"] == 0);
  CHECK(itself["kl_max"] == 0);
  CHECK(itself["same_top"] == 1);
  CHECK(itself["perplexity_ratio"] == 1);
  // --kv is the model's alone: its cache against its better self.
  const json cache = JsonOutput({"perplexity", TinyModel("f32"), "--windows", WindowsFile(),
                                 "--base", TinyModel("f32"), "--kv", "int8", "--json"});
  CHECK(cache["kl_mean"] > 0);
  const std::string table = Output(
      {"perplexity", TinyModel("int4"), "--windows", WindowsFile(), "--base", TinyModel("f32")});
  CHECK(table.find("same likeliest token") != std::string::npos);
}

TEST_CASE("perplexity of what cannot be read") {
  if (!IsProgramThere()) return;
  const std::string model = TinyModel("int8"), folder = TempDir(), npy = folder + "/x.npy";
  const auto write = [&](const std::string& file) {
    WriteFile(npy, file);
    return npy;
  };
  CheckFails(2, {"perplexity", model}, {"-f or --windows"});
  CheckFails(2, {"perplexity", model, "-f", "a", "--windows", "b"}, {"exclude"});
  CheckFails(2, {"perplexity", model, "--windows", "b", "--stride", "4"}, {"--stride"});
  CheckFails(2, {"perplexity", model, "-f", "a", "--stride", "0"}, {"--stride"});
  CheckFails(1, {"perplexity", model, "-f", folder + "/none.txt"}, {"none.txt"});
  CheckFails(1, {"perplexity", model, "-f", folder}, {folder});
  CheckFails(1, {"perplexity", model, "-f", "-"}, {"standard input: ", "at least 2"});
  CheckFails(1, {"perplexity", model, "-f", TextFile(), "-c", "2"}, {"windows of 2 tokens"});
  CheckFails(1, {"perplexity", model, "-f", TextFile(), "-c", "20", "--stride", "19"},
             {"19 apart"});
  CheckFails(1, {"perplexity", model, "--windows", write("x")}, {npy, "not a NumPy file"});
  CheckFails(
      1, {"perplexity", model, "--windows", write(NpyFile<int32_t>("<i4", "(1, 3)", {1, 2, 3}))},
      {npy, "window 0", "<sop>"});
  CheckFails(
      1, {"perplexity", model, "--windows", write(NpyFile<int64_t>("<i8", "(1, 2)", {1, 2880}))},
      {npy, "row 0, column 1", "2880"});
  CheckFails(1,
             {"perplexity", model, "--windows", write(NpyFile<int32_t>("<i4", "(2, 1)", {1, 2}))},
             {npy, "windows of 1 token"});
  const std::string full = NpyFile<int32_t>("<i4", "(1, 600)", std::vector<int32_t>(600, 5));
  CheckFails(1, {"perplexity", model, "--windows", write(full)}, {npy, "holds 512"});
  CheckFails(1, {"perplexity", model, "--windows", write(full), "-c", "599"}, {npy, "holds 599"});
  CheckFails(1, {"perplexity", model, "--windows", WindowsFile(), "--base", folder + "/none.glint"},
             {"none.glint"});
  // Without a tokenizer there are windows still.
  const std::string copy = TempDir() + "/model", bare = folder + "/bare.glint";
  std::filesystem::copy(TinyFolder(), copy);
  std::filesystem::remove(copy + "/ice_text.model");
  CHECK(Glint({"convert", copy, "-o", bare, "--type", "int8"}).status == 0);
  CheckFails(1, {"perplexity", bare, "-f", TextFile()}, {bare, "no tokenizer"});
  CHECK(Output({"perplexity", bare, "--windows", WindowsFile(), "--json"}) ==
        Output({"perplexity", model, "--windows", WindowsFile(), "--json"}));
}

TEST_CASE("quantize-report without a base") {
  if (!IsProgramThere()) return;
  const json report = JsonOutput({"quantize-report", TinyModel("int4"), "--json"});
  CHECK(report["matrices"].size() == 25);
  const json& qkv = Matrix(report, "layer.3.qkv.weight");
  CHECK(qkv["type"] == "int4");
  CHECK(qkv["shape"] == json({384, 128}));
  CHECK(qkv["bits"].get<double>() == doctest::Approx(8 * qkv["bytes"].get<double>() / (384 * 128)));
  CHECK_FALSE(qkv.contains("rmse"));
  CHECK(report["total"]["weights"] == 2880 * 128 + 6 * 12 * 128 * 128);
  const std::string table = Output({"quantize-report", TinyModel("int4")});
  CHECK(table.find("layer.3.qkv.weight") != std::string::npos);
  CHECK(table.find("25 matrices, ") != std::string::npos);
}

TEST_CASE("quantize-report against what the model was made of") {
  if (!IsProgramThere()) return;
  for (const std::string& base : {TinyFolder(), TinyModel("f32")}) {
    const json report =
        JsonOutput({"quantize-report", TinyModel("int4"), "--base", base, "--json"});
    CHECK(report["base"] == base);
    for (const json& matrix : report["matrices"]) {
      const double relative = matrix["relative_rmse"], cosine = matrix["cosine"];
      const bool is_int8 = matrix["type"] == "int8";
      CHECK(relative > (is_int8 ? 0.003 : 0.06));
      CHECK(relative < (is_int8 ? 0.007 : 0.09));
      // For small errors that are independent of the weights, cosine is about 1 - relative^2 / 2.
      CHECK(1 - cosine == doctest::Approx(relative * relative / 2).epsilon(0.1));
      CHECK(matrix["worst_block"]["relative_rmse"].get<double>() > relative);
      CHECK(matrix["worst_block"]["row"].get<uint64_t>() < matrix["shape"][0].get<uint64_t>());
      CHECK(matrix["worst_block"]["col"].get<uint64_t>() < matrix["shape"][1].get<uint64_t>());
      CHECK(matrix["worst_block"]["col"].get<uint64_t>() % 32 == 0);
    }
  }
  // The same text whatever the threads; nothing is lost where nothing was rounded.
  const auto with = [](const char* threads) {
    return Output(
        {"quantize-report", TinyModel("int4"), "--base", TinyFolder(), "--json", "-t", threads});
  };
  CHECK(with("1") == with("3"));
  const json exact =
      JsonOutput({"quantize-report", TinyModel("f32"), "--base", TinyFolder(), "--json"});
  CHECK(exact["total"]["rmse"] == 0);
  CHECK(exact["total"]["relative_rmse"] == 0);
  const std::string table = Output({"quantize-report", TinyModel("int4"), "--base", TinyFolder()});
  CHECK(table.find("cosine") != std::string::npos);
  CHECK(table.find("relative RMSE ") != std::string::npos);
}

TEST_CASE("quantize-report compares columns behind a scaled norm as they act") {
  if (!IsProgramThere()) return;
  const std::string folded = Folded();
  const json report = JsonOutput({"quantize-report", folded, "--base", TinyModel("f32"), "--json"});
  CHECK(Matrix(report, "layer.2.ffn_up.weight")["rmse"].get<double>() == 0);
  CHECK(report["total"]["rmse"] == 0);
}

TEST_CASE("quantize-report draws a picture") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), svg = folder + "/errors.svg";
  const std::vector<std::string> command = {"quantize-report", TinyModel("int4"), "--base",
                                            TinyFolder(),      "--svg",           svg};
  Output(command);
  const std::string picture = ReadFile(svg);
  CHECK(XmlFault(picture) == "");
  for (const char* word : {"int4.glint against model", ">qkv<", ">attn_out<", ">ffn_up<",
                           ">ffn_down<", ">embedding<", ">int4<", ">int8<", "relative RMSE"}) {
    CAPTURE(word);
    CHECK(picture.find(word) != std::string::npos);
  }
  CHECK(FilesIn(folder) == 1);
  CheckFails(1, command, {svg, "exists"});
  std::vector<std::string> force = command;
  force.push_back("--force");
  WriteFile(svg, "old");
  Output(force);
  CHECK(ReadFile(svg) == picture);
  // Never over what is being read, and never half.
  force[5] = TinyModel("int4");
  CheckFails(1, force, {"the source itself"});
  force[5] = TinyFolder() + "/config.json";
  CheckFails(1, force, {"the source itself"});
  force[5] = folder + "/none/x.svg";
  CheckFails(1, force, {"/none/"});
  CheckFails(1,
             {"quantize-report", TinyModel("int4"), "--base", folder, "--svg", folder + "/b.svg"},
             {folder});
  CHECK(FilesIn(folder) == 1);
  CheckFails(2, {"quantize-report", TinyModel("int4"), "--svg", svg}, {"--base"});
}

TEST_CASE("quantize-report of models that do not go together") {
  if (!IsProgramThere()) return;
  CheckFails(1, {"quantize-report", TinyModel("int4"), "--base", TempDir() + "/none.glint"},
             {"none.glint"});
  CheckFails(1, {"quantize-report", TinyModel("int4"), "--base", TempDir()}, {"no weights"});
  CheckFails(1, {"quantize-report", TinyFolder(), "--base", TinyFolder()}, {"glint convert"});
  CheckFails(1, {"quantize-report", "builtin", "--base", "/no/such"}, {"/no/such"});
  if (SkipWithoutReference("quantize-report of another model")) return;
  const std::string other = ReferenceDir() + "/goldens/chatglm1-tiny";
  CheckFails(1, {"quantize-report", TinyModel("int4"), "--base", other},
             {other, "'embedding'", "expected shape (2880, 128), found (512, 64)"});
}

TEST_CASE("embed: a list of numbers for each text, the same with any threads") {
  if (!IsProgramThere()) return;
  const std::string one = Output({"embed", "builtin", "-p", "hello", "-t", "1"});
  const std::string lines = Output({"embed", "builtin", "-t", "2"}, "hello\n\u4f60\u597d\n");
  CHECK(lines.starts_with(one));
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
  const json list = json::parse(one);
  double length = 0;
  for (const json& value : list) length += value.get<double>() * value.get<double>();
  CHECK(length == doctest::Approx(1).epsilon(1e-5));
  const json object = JsonOutput({"embed", "builtin", "-p", "hello", "--json"});
  CHECK(object["embedding"] == list);
  CHECK(object["tokens"] == JsonOutput({"generate", "builtin", "-p", "hello", "-n", "1", "--temp",
                                        "0", "--json"})["prompt_tokens"]);
  const json mean = JsonOutput({"embed", "builtin", "-p", "hello", "--json", "--pooling", "mean"});
  CHECK(mean["embedding"].size() == list.size());
  CHECK(mean["embedding"] != list);
  const std::string raw = Output({"embed", "builtin", "-p", "hello", "--no-normalize"});
  const json longer = json::parse(raw);
  CHECK(longer[0].get<double>() / list[0].get<double>() ==
        doctest::Approx(longer[1].get<double>() / list[1].get<double>()));
  CheckFails(1, {"embed", "builtin", "-c", "4", "-p", "hello, how are you?"},
             {"the context holds 4"});
  CheckFails(2, {"embed", "builtin", "--pooling", "median", "-p", "x"}, {"--pooling"});
}

TEST_CASE("chat --overflow says what a full context does") {
  if (!IsProgramThere()) return;
  std::string questions;
  for (int i = 0; i < 12; ++i) questions += "hello, how are you? what is 7 plus 5?\n";
  const auto ask = [&](const std::string& policy) {
    return Glint({"chat", "builtin", "-c", "60", "--temp", "0", "--overflow", policy}, questions);
  };
  const Result drop = ask("drop");
  CHECK(drop.status == 0);
  CHECK(drop.err.find("forgot the oldest turn") != std::string::npos);
  const Result stop = ask("stop");
  CHECK(stop.status == 0);
  CHECK(stop.err.find("forgot") == std::string::npos);
  CHECK(stop.err.find("note: no reply: the prompt has ") != std::string::npos);
  const Result error = ask("error");
  CHECK(error.status == 1);
  CHECK(error.err.find("the prompt has ") != std::string::npos);
  CHECK(error.err.find("; the context holds 60") != std::string::npos);
  CheckFails(2, {"chat", "builtin", "--overflow", "shift"}, {"--overflow"});
}
