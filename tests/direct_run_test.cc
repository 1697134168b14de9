#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <algorithm>
#include <cmath>

#include "tests/cli.h"
#include "tests/llama_samples.h"
#include "tests/npy.h"
#include "tests/spm_samples.h"

// GGUF files and checkpoints that run without a file of ours, as a user runs them.
namespace glint {
namespace {

using namespace test;

bool IsOneNote(const std::string& err) {
  return err.starts_with("glint: note: ") && std::count(err.begin(), err.end(), '\n') == 1;
}

// All paths below a folder.
std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().generic_string());
  }
  return files;
}

// Without the note that there is no tokenizer.
std::string LastLine(const std::string& text) {
  const size_t end = text.rfind('\n', text.size() - 2);
  return end == std::string::npos ? text : text.substr(end + 1);
}

TEST_CASE("a folder runs as what convert makes of it, and leaves no file") {
  const std::string folder = LlamaFolder({}), cache = TempDir(), file = TempDir() + "/m.glint";
  const std::string environment = "XDG_CACHE_HOME=" + cache;
  const std::vector<std::string> rest = {"--ids", "1,90,17", "-n", "12"};
  const auto greedy = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "greedy");
    args.insert(args.end(), rest.begin(), rest.end());
    return Glint(args, "", environment);
  };
  const size_t files_before = FilesIn(folder).size();
  for (const std::string type : {"", "int8"}) {
    std::vector<std::string> convert = {"convert", folder, "-o", file, "--force"};
    std::vector<std::string> direct = {folder};
    if (!type.empty()) {
      convert.insert(convert.end(), {"--type", type});
      direct.insert(direct.end(), {"--type", type});
    }
    REQUIRE(Glint(convert).status == 0);
    const Result want = greedy({file}), got = greedy(direct);
    REQUIRE(got.status == 0);
    CHECK(got.out == want.out);
    const std::string note = LastLine(got.err);
    CHECK(IsOneNote(note));
    CHECK(note.find(" in memory in ") != std::string::npos);
    CHECK(note.find("`glint convert " + folder + (type.empty() ? "" : " --type int8") + " -o ") !=
          std::string::npos);
    CHECK(note.find("converted to int" + std::string(type.empty() ? "4" : "8")) !=
          std::string::npos);
  }
  CHECK(FilesIn(folder).size() == files_before);
  CHECK(FilesIn(cache).empty());
  CheckFails(2, {"greedy", folder, "--type", "int5", "--ids", "1", "-n", "1"}, {"'int5'", "int4x"});
  CheckFails(2, {"greedy", file, "--type", "int8", "--ids", "1", "-n", "1"},
             {"--type is for GGUF"});
}

TEST_CASE("--cache: kept once, found again, made again where it is damaged") {
  const std::string folder = LlamaFolder({}), home = TempDir();
  const auto run = [&](const std::string& source) {
    const Result result = Glint({"greedy", source, "--cache", "--ids", "1,90,17", "-n", "12"}, "",
                                "XDG_CACHE_HOME=" + home);
    CAPTURE(result.err);
    REQUIRE(result.status == 0);
    return result;
  };
  const auto cached = [&] {
    std::vector<std::string> files = FilesIn(home);
    std::erase_if(files, [](const std::string& name) { return !name.ends_with(".glint"); });
    return files;
  };
  const Result first = run(folder);
  REQUIRE(cached().size() == 1);
  const std::string file = cached()[0];
  CHECK(LastLine(first.err).find("and kept as " + file) != std::string::npos);
  CHECK(Glint({"verify", file}).status == 0);
  const Result second = run(folder);
  CHECK(second.err == "");
  CHECK(second.out == first.out);
  // The same contents elsewhere.
  const std::string copy = TempDir() + "/copy";
  std::filesystem::copy(folder, copy);
  CHECK(run(copy).err == "");
  CHECK(cached().size() == 1);
  const std::string whole = ReadFile(file);
  WriteFile(file, whole.substr(0, whole.size() / 2));
  const Result third = run(folder);
  CHECK(third.out == first.out);
  CHECK(third.err.find("; it is made again") != std::string::npos);
  CHECK(ReadFile(file) == whole);
  // A changed model is another one.
  std::string weights = ReadFile(folder + "/model.safetensors");
  weights[weights.size() - 2] ^= 0x10;
  WriteFile(folder + "/model.safetensors", weights);
  CHECK(run(folder).err.find("and kept as ") != std::string::npos);
  CHECK(cached().size() == 2);
}

// A LLaMA of 14 pieces with a template, trained on 20000 tokens.
std::string ChatFolder() {
  LlamaShape shape;
  shape.vocab_size = 14;
  shape.max_seq_len = 20000;
  const std::string folder = LlamaFolder(shape);
  WriteFile(folder + "/tokenizer.model", SmallBpe());
  const char* chat_template =
      "{{ bos_token }}{% for m in messages %}{{ m.content | trim }}<x>{% endfor %}";
  const nlohmann::json config = {
      {"chat_template", chat_template}, {"bos_token", "<s>"}, {"eos_token", "<x>"}};
  WriteFile(folder + "/tokenizer_config.json", config.dump());
  return folder;
}

TEST_CASE("without -c a context is as long as the input needs, at most 8192 otherwise") {
  const std::string folder = ChatFolder(), hint = "the model was trained on 20000 (-c N";
  const nlohmann::json memory = JsonOutput({"info", folder, "--memory", "--json"});
  CHECK(memory["context"] == 8192);
  CHECK(memory["trained_context"] == 20000);
  CHECK(memory["load"] == "convert");
  CHECK(memory["anonymous_bytes"] == memory["peak_bytes"]);
  CHECK(JsonOutput({"info", folder, "--memory", "--json", "-c", "9000"})["context"] == 9000);
  CHECK(Output({"info", folder, "--memory"}).find("up to the 20000") != std::string::npos);
  CHECK(Output({"info", folder, "--graph"}).find("embedding") != std::string::npos);
  CHECK(Output({"info", folder, "--planned"}).starts_with("plan: "));
  const std::string input = "a\nb\n";
  const std::vector<std::string> chat = {"chat", folder, "--seed", "1", "-n", "4"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), chat.begin(), chat.end());
    return Glint(more, input);
  };
  const Result plain = with({"--stats"});
  CHECK(plain.status == 0);
  CHECK(plain.err.find(hint) != std::string::npos);
  CHECK(plain.err.find(" tokens, 0 of them kept, ") != std::string::npos);
  CHECK(with({"-c", "100"}).err.find(hint) == std::string::npos);
  const std::string json = with({"--json"}).out;
  const nlohmann::json second = nlohmann::json::parse(json.substr(json.find('\n')));
  CHECK(second["kept_tokens"].get<size_t>() > 0);
  CHECK(second["kept_tokens"].get<size_t>() < second["prompt_tokens"].get<size_t>());
  std::string ids = "1";
  for (int i = 1; i < 8193; ++i) ids += ",4";
  CHECK(Glint({"greedy", folder, "--ids", ids, "-n", "2"}).status == 0);
  CheckFails(1, {"greedy", TinyModel(), "--ids", ids, "-n", "2"}, {"the context holds 512"});
}

TEST_CASE("every command says what it makes of a GGUF file") {
  if (SkipWithoutReference("llama.cpp's files")) return;
  const std::string folder = TempDir(), model = folder + "/m.glint", plain = folder + "/plain";
  const std::string source = ReferenceDir() + "/gguf/Q4_0.gguf";
  Output({"convert", source, "-o", model});
  CHECK(Output({"verify", model}).find(": ok, ") != std::string::npos);
  CheckFails(1, {"verify", source}, {"convert it first"});
  CheckFails(1, {"quantize-report", source}, {"convert it first"});
  CHECK(JsonOutput({"quantize-report", model, "--base", source, "--json"})["total"]["rmse"] == 0);
  std::filesystem::copy(source, plain);  // known by its first bytes
  CHECK(Output({"tokenize", plain}, "\"hi\"\n") == Output({"tokenize", source}, "\"hi\"\n"));
  CHECK(JsonOutput({"info", plain, "--memory", "--json"})["weight_bytes"] ==
        std::filesystem::file_size(model));
  const std::string cut = folder + "/cut.gguf";
  WriteFile(cut, ReadFile(source).substr(0, 500000));
  for (const std::string command : {"chat", "info", "tokenize"}) {
    CheckFails(1, {command, cut}, {cut, "is it cut off"});
  }
  CheckFails(1, {"convert", cut, "-o", folder + "/cut.glint"}, {cut, "is it cut off"});
  CHECK_FALSE(std::filesystem::exists(folder + "/cut.glint"));
  CheckFails(1,
             {"convert", ReferenceDir() + "/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf", "-o",
              folder + "/v.glint"},
             {"has no tensors"});
}

TEST_CASE("GGUF files of llama.cpp run: logits against llama.cpp's in f32") {
  if (SkipWithoutReference("llama.cpp's files")) return;
  const std::string folder = ReferenceDir() + "/gguf/", temp = TempDir();
  std::string ids = ReadFile(folder + "ids.txt");
  while (!ids.empty() && ids.back() == '\n') ids.pop_back();
  const struct {
    const char *name, *type;
    double bound;  // of the root mean square of the difference, relative
  } rows[] = {{"F16", "", 1e-3},     {"Q8_0", "", 0.03},   {"Q4_0", "", 0.03},
              {"Q4_K", "", 0.03},    {"F16", "f32", 1e-5}, {"Q8_0", "f32", 1e-5},
              {"Q4_0", "f32", 1e-5}, {"Q4_K", "f32", 1e-5}};
  for (const auto& row : rows) {
    CAPTURE(std::string(row.name));
    CAPTURE(std::string(row.type));
    const std::string out = temp + "/" + row.name + row.type + ".npy";
    std::vector<std::string> args = {
        "logits", folder + row.name + ".gguf", "--ids", ids, "-o", out, "--kv", "f32"};
    if (*row.type != 0) args.insert(args.end(), {"--type", row.type});
    const Result result = Glint(args);
    CAPTURE(result.err);
    REQUIRE(result.status == 0);
    CHECK(LastLine(result.err).find(" in memory in ") != std::string::npos);
    const NpyArray got = ReadNpy(out), want = ReadNpy(folder + row.name + ".logits.npy");
    REQUIRE(got.floats.size() == want.floats.size());
    double error = 0, squares = 0, largest = 0;
    for (size_t i = 0; i < got.floats.size(); ++i) {
      const double difference = got.floats[i] - want.floats[i];
      error += difference * difference;
      squares += double{want.floats[i]} * want.floats[i];
      largest = std::max(largest, std::fabs(difference));
    }
    if (!Env("GLINT_PRINT").empty()) {
      std::printf("%s %s: relative rms %.3g, largest %.3g\n", row.name, row.type,
                  std::sqrt(error / squares), largest);
    }
    CHECK(std::sqrt(error / squares) < row.bound);
    if (*row.type != 0) CHECK(largest < 2e-3);
  }
}

}  // namespace
}  // namespace glint
