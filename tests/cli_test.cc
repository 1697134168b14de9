// The program as a user meets it: every command on the tiny model of the repository.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "tests/cli.h"
#include "tests/gguf_files.h"
#include "tests/npy.h"

using namespace glint;
using namespace glint::test;
using nlohmann::json;

namespace {

struct SpecialIds {
  int gmask, sop;
};

SpecialIds Specials() {
  static const json prompt = JsonOutput({"info", TinyModel(), "--json"})["prompt"];
  return {prompt["gmask_id"], prompt["sop_id"]};
}

// A prompt of `n` ids that crosses a block of keys: text, [gMASK], sop, and some of a reply.
std::string PromptIds(int n, int reply) {
  std::string ids;
  for (int i = 0; i < n; ++i) ids += std::to_string(100 + (i * 37) % 2000) + ",";
  ids += std::to_string(Specials().gmask) + "," + std::to_string(Specials().sop);
  for (int i = 0; i < reply; ++i) ids += "," + std::to_string(200 + i * 11);
  return ids;
}

std::vector<int> SplitIds(const std::string& line) {
  std::vector<int> ids;
  std::istringstream in(line);
  for (std::string id; std::getline(in, id, ',');) ids.push_back(std::stoi(id));
  return ids;
}

// 64-bit FNV-1a: enough to compare files between machines.
std::string Hash(const std::string& bytes) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  std::ostringstream out;
  out << std::hex << hash;
  return out.str();
}

size_t Lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("help and version") {
  if (!IsProgramThere()) return;
  const std::string help = Output({"--help"});
  CHECK(Output({"-h"}) == help);
  CHECK(Output({"--version"}).starts_with("glint "));
  for (const char* command :
       {"chat", "embed", "generate", "convert", "info", "verify", "tokenize", "logits", "greedy",
        "synth", "bench", "perplexity", "quantize-report"}) {
    CAPTURE(command);
    CHECK(help.find(std::string("\n  ") + command + " ") != std::string::npos);
    const std::string own = Output({command, "--help"});
    CHECK(own.find(std::string("Usage: glint ") + command) != std::string::npos);
    CHECK(own.find("Example") != std::string::npos);
  }
}

TEST_CASE("convert, info, verify") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), path = folder + "/tiny.glint";
  const std::string said =
      Output({"convert", TinyFolder(), "-o", path, "--type", "int4", "-t", "1", "--tensor-type",
              "layer.0.*=int8", "--tensor-type", "layer.*=f16"});
  CHECK(said.starts_with(path + ": "));
  CHECK(said.find(" bits per weight, ") != std::string::npos);
  CHECK(Lines(said) == 1);
  CHECK(FilesIn(folder) == 1);

  const json info = JsonOutput({"info", path, "--json"});
  std::map<std::string, std::string> types;
  uint64_t bytes = 0;
  for (const json& tensor : info["tensors"]) {
    types[tensor["name"]] = tensor["type"];
    bytes += tensor["bytes"].get<uint64_t>();
  }
  CHECK(types["layer.0.qkv.weight"] == "int8");
  CHECK(types["layer.1.qkv.weight"] == "f16");
  CHECK(types["layer.0.qkv.bias"] == "f32");
  CHECK(info["bytes"] == std::filesystem::file_size(path));
  CHECK(bytes <= info["bytes"]);
  CHECK(info["config"]["architecture"] == "chatglm");

  const std::string text = Output({"info", path});
  CHECK(text.find("layer.0.qkv.weight") != std::string::npos);
  CHECK(Output({"verify", path}) == path + ": ok, " + std::to_string(info["tensors"].size()) +
                                        " tensors, " + info["bytes"].dump() + " bytes\n");
  // The same source gives the same file, whatever the number of threads.
  const std::string again = folder + "/again.glint";
  Output({"convert", TinyFolder(), "-o", again, "--type", "int4", "-t", "2", "--tensor-type",
          "layer.0.*=int8", "--tensor-type", "layer.*=f16"});
  CHECK(ReadFile(path) == ReadFile(again));
  // A .glint file is a source too.
  const std::string other = folder + "/other.glint";
  Output({"convert", path, "-o", other, "--type", "int8"});
  CHECK(Output({"verify", other}).find(": ok, ") != std::string::npos);
}

TEST_CASE("convert replaces a file only when told to") {
  if (!IsProgramThere()) return;
  const std::string path = TempDir() + "/tiny.glint";
  WriteFile(path, "mine");
  CheckFails(1, {"convert", TinyFolder(), "-o", path}, {path, "exists"});
  CHECK(ReadFile(path) == "mine");
  Output({"convert", TinyFolder(), "-o", path, "--type", "int8", "--force"});
  CHECK(ReadFile(path).size() > 1000000);
  CheckFails(1, {"convert", path, "-o", path, "--force"}, {path, "the source itself"});
  CHECK(ReadFile(path).size() > 1000000);
}

TEST_CASE("info of a GGUF file") {
  if (!IsProgramThere()) return;
  std::string tokens;
  for (int i = 0; i < 40; ++i) tokens += GgufString(i == 1 ? "\x1b\xFF" : "t");
  GgufParts parts;
  parts.pairs = {GgufText("general.architecture", "llama"), GgufU32("llama.block_count", 2),
                 GgufPairOf("tokens", 9, GgufArray(8, 40, tokens)),
                 GgufPairOf("few", 9, GgufArray(4, 2, U32(5) + U32(6)))};
  parts.tensors = {GgufEntry("w", {32, 2}, 2, 0)};
  parts.data = std::string(36, '\1');
  const std::string path = TempDir() + "/small.gguf";
  WriteFile(path, GgufBytes(parts));
  const json info = JsonOutput({"info", path, "--json"});
  CHECK(info["format"] == "gguf");
  CHECK(info["version"] == 3);
  CHECK(info["metadata"]["llama.block_count"] == 2);
  CHECK(info["metadata"]["few"] == json::array({5, 6}));
  CHECK(info["metadata"]["tokens"]["count"] == 40);
  CHECK(info["metadata"]["tokens"]["first"].size() == 8);
  CHECK(info["tensors"] ==
        json::array({{{"name", "w"}, {"type", "Q4_0"}, {"shape", {2, 32}}, {"bytes", 36}}}));
  const std::string text = Output({"info", path});
  for (const char* words : {"GGUF version 3", "array of 40 strings", "Q4_0", "(2, 32)"}) {
    CAPTURE(words);
    CHECK(text.find(words) != std::string::npos);
  }
  CHECK(text.find('\x1b') == std::string::npos);
  WriteFile(path, GgufBytes(parts).substr(0, 200));
  CheckFails(1, {"info", path}, {"small.gguf", "key 'tokens'"});
  CheckFails(1, {"info", "--graph", path}, {"small.gguf", "key 'tokens'"});
}

TEST_CASE("info of a checkpoint, of the graph, of this machine") {
  if (!IsProgramThere()) return;
  for (const std::string& source : {TinyFolder(), TinyFolder() + "/model.safetensors"}) {
    const json info = JsonOutput({"info", source, "--json"});
    CHECK(info["config"]["model_type"] == "chatglm");
    CHECK(info["tensors"].size() > 60);
    CHECK(info["tensors"][0]["type"] == "F16");
    CHECK(Output({"info", source}).find("transformer.word_embeddings.weight") != std::string::npos);
  }
  const std::string plan = Output({"info", TinyModel(), "--graph", "--planned"});
  for (const char* step : {"layer_norm+quantize(", "linear+add(", "linear+gelu(",
                           "every token of the prompt has come so far"}) {
    CAPTURE(step);
    CHECK(plan.find(step) != std::string::npos);
  }
  const std::string graph = Output({"info", TinyModel(), "--graph"});
  CHECK(graph.find("layer.0.qkv = linear(layer.0.norm, layer.0.qkv.weight int8 (384, 128), "
                   "layer.0.qkv.bias) -> (n_tokens, 384)") != std::string::npos);
  CHECK(graph.find("layer.1 to layer.5 are like layer.0") != std::string::npos);
  CHECK(graph.find("layer.3.qkv") == std::string::npos);
  CHECK(Lines(graph) < 30);

  const json memory =
      JsonOutput({"info", TinyModel(), "--memory", "-c", "700", "--kv", "int8", "-t", "1", "--json"});
  CHECK(memory["context"] == 700);
  // 6 layers, 3 blocks of 256 positions, 4 heads of 32, a byte each and two scales.
  CHECK(memory["cache_bytes"] == 6 * 768 * 4 * (2 * 32 + 8));
  CHECK(memory["peak_bytes"].get<uint64_t>() ==
        memory["weight_bytes"].get<uint64_t>() + memory["anonymous_bytes"].get<uint64_t>());
  CHECK(memory["fits"] == true);
  const std::string memory_text = Output({"info", TinyModel(), "--memory"});
  CHECK(memory_text.find("f16, when its 512 tokens are full") != std::string::npos);

  const json cpu = JsonOutput({"info", "--cpu", "--json"});
  for (const char* key : {"cpu", "features", "isa", "targets", "threads"}) CHECK(cpu.contains(key));
  CHECK(cpu["targets"].back() == "reference");
  CHECK(cpu["threads"].get<int>() >= 1);
  for (const json& target : cpu["targets"]) {
    const std::string forced = "GLINT_ISA=" + target.get<std::string>();
    CHECK(json::parse(Output({"info", "--cpu", "--json"}, "", forced))["isa"] == target);
  }
  CHECK(Output({"info", "--cpu"}).find(cpu["isa"].get<std::string>()) != std::string::npos);
}

TEST_CASE("tokenize there and back") {
  if (!IsProgramThere()) return;
  const std::string texts =
      "\"What is \\\"cat\\\" in "
      "Chinese?\"\n\"\u4f60\u597d\uff0c\u4e16\u754c\"\n\"\"\n\"a\\tb\\u0000c\"\n";
  const std::string ids = Output({"tokenize", TinyModel()}, texts);
  CHECK(Lines(ids) == 4);
  CHECK(Output({"tokenize", TinyFolder()}, texts) == ids);
  CHECK(Output({"tokenize", TinyFolder() + "/ice_text.model"}, texts) == ids);
  CHECK(Output({"tokenize", TinyFolder() + "/ice_text.model", "--type", "chatglm1"}, texts) == ids);
  std::istringstream back(Output({"tokenize", TinyModel(), "--decode"}, ids));
  std::istringstream wanted(texts);
  std::string line, text;
  for (int i = 0; i < 2; ++i) {
    std::getline(back, line);
    std::getline(wanted, text);
    // The tokenizer itself turns the full-width comma into a plain one.
    if (i == 0) CHECK(json::parse(line) == json::parse(text));
    CHECK(json::parse(line).get<std::string>().size() >= 10);
  }
  const json special = json::parse(Output({"tokenize", TinyModel(), "--special"}, "\"cat\"\n"));
  const json plain = json::parse(Output({"tokenize", TinyModel()}, "\"cat\"\n"));
  REQUIRE(special.size() == plain.size() + 2);
  CHECK(special[plain.size()] == Specials().gmask);
  CHECK(special[plain.size() + 1] == Specials().sop);
  // Ids that spell no whole character decode to valid UTF-8 all the same.
  std::string every = "[";
  for (int id = 0; id < 2880; ++id) every += (id == 0 ? "" : ",") + std::to_string(id);
  CHECK(json::parse(Output({"tokenize", TinyModel(), "--decode"}, every + "]\n")).is_string());
  CHECK(Output({"tokenize", TinyModel()}, "") == "");
}

TEST_CASE("greedy and generate agree with logits") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), prompt = PromptIds(9, 0);
  const std::vector<int> chosen =
      SplitIds(Output({"greedy", TinyModel("f32"), "--ids", prompt, "-n", "6"}));
  REQUIRE(chosen.size() == 6);
  std::string all = prompt;
  for (const int id : chosen) all += "," + std::to_string(id);
  Output({"logits", TinyModel("f32"), "--ids", all, "-o", folder + "/logits.npy"});
  const NpyArray logits = ReadNpy(folder + "/logits.npy");
  REQUIRE(logits.shape == std::vector<uint64_t>{9 + 2 + 6, 2880});
  CHECK(FilesIn(folder) == 1);
  for (size_t i = 0; i < 6; ++i) {
    const float* row = logits.floats.data() + (10 + i) * 2880;
    CHECK(std::max_element(row, row + 2880) - row == chosen[i]);
  }

  const std::vector<std::string> command = {"generate", TinyModel(), "-p", "hello",
                                            "--temp",   "0",         "-n", "5"};
  const std::string text = Output(command);
  std::vector<std::string> with_json = command;
  with_json.push_back("--json");
  const json reply = JsonOutput(with_json);
  CHECK(text == reply["text"].get<std::string>() + "\n");
  for (const char* key : {"text", "ids", "end", "prompt_tokens", "prompt_tokens_per_s",
                          "reply_tokens_per_s", "seed"}) {
    CHECK(reply.contains(key));
  }
  CHECK(reply["ids"].size() <= 5);
  CHECK(Output({"generate", TinyModel(), "-p", "-", "--temp", "0", "-n", "5"}, "hello") == text);
  // Sampling is repeated by its seed.
  const json sampled = JsonOutput({"generate", TinyModel(), "-p", "a", "--json", "-n", "12"});
  const json repeated = JsonOutput(
      {"generate", TinyModel(), "-p", "a", "--json", "-n", "12", "--seed", sampled["seed"].dump()});
  CHECK(sampled["ids"] == repeated["ids"]);
}

TEST_CASE("look-up changes no text and reports what it drafted") {
  if (!IsProgramThere()) return;
  const std::string query = "Copy this: iron driver grape play";
  for (const char* temperature : {"0", "1"}) {
    const std::vector<std::string> command = {"generate", TinyModel(),  "-p",     query, "--seed",
                                              "5",        "--temp",     temperature, "--json"};
    const json plain = JsonOutput(command);
    std::vector<std::string> with_lookup = command;
    with_lookup.push_back("--lookup");
    const json reply = JsonOutput(with_lookup);
    CHECK(reply["text"] == plain["text"]);
    CHECK(reply["ids"] == plain["ids"]);
    CHECK(reply["end"] == plain["end"]);
    CHECK_FALSE(plain.contains("lookup"));
    const json& counts = reply["lookup"];
    CHECK(counts["runs"].get<size_t>() + counts["accepted"].get<size_t>() == reply["ids"].size());
    CHECK(counts["accepted"] <= counts["drafted"]);
    if (std::string(temperature) == "0") CHECK(counts["accepted"].get<size_t>() >= 5);
  }
  const std::string lines = query + "\n" + query + "\nclear\nhello\n";
  CHECK(Output({"chat", TinyModel(), "--temp", "0", "--lookup"}, lines) ==
        Output({"chat", TinyModel(), "--temp", "0"}, lines));
}

TEST_CASE("chat shows what the model sees") {
  if (!IsProgramThere()) return;
  const std::vector<std::string> chat = {"chat", TinyModel(), "--temp", "0", "-n", "8"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), chat.begin(), chat.end());
    return more;
  };
  const std::string reply = Output(chat, "hello\n");
  CHECK(Output(with({"--show-prompt"}), "hello\n") == "hello[gMASK]<sop>\n" + reply);
  CHECK(Output(chat, "/prompt\nhello\n") == "hello[gMASK]<sop>\n" + reply);
  const json shown = json::parse(Output(with({"--show-prompt", "--json"}), "hello\n"));
  CHECK(shown["prompt"] == "hello[gMASK]<sop>");
  CHECK(shown["prompt_ids"] ==
        json::parse(Output({"tokenize", TinyModel(), "--special"}, "\"hello\"\n")));
  CHECK(shown["text"].get<std::string>() + "\n" == reply);
  CHECK(shown["messages"][0]["content"] == shown["text"]);
  CHECK_FALSE(json::parse(Output(with({"--json"}), "hello\n")).contains("prompt"));
  // A format that has no such thing says so, for each message.
  const auto refuses = [](const std::vector<std::string>& args, const char* why,
                          const std::string& input = "hello\n") {
    const Result result = Glint(args, input);
    CHECK(result.status == 1);
    CHECK(result.err.find("'chatglm-6b': " + std::string(why)) != std::string::npos);
  };
  refuses(with({"--system", "x"}), "it has no system message");
  refuses(chat, "expected messages of user and assistant in turn, found one of 'observation'",
          "/observation x\n");
  const std::string path = TempDir() + "/tools.json";
  WriteFile(path, "[]");
  refuses(with({"--tools", path}), "it has no tools");
  WriteFile(path, "{}");
  CheckFails(1, with({"--tools", path}), {path, "expected a JSON list"}, "hello\n");
  WriteFile(path, "[");
  CheckFails(1, with({"--tools", path}), {path, "not valid JSON"}, "hello\n");
  CheckFails(2, with({"--tools", path + "x"}), {"--tools"}, "hello\n");
}

TEST_CASE("chat through a pipe, in both languages") {
  if (!IsProgramThere()) return;
  const std::string questions =
      "What is \"cat\" in Chinese?\n\n\u732b\u7528\u82f1\u8bed\u600e\u4e48\u8bf4\uff1f\n";
  const std::string replies = Output({"chat", TinyModel(), "--temp", "0"}, questions);
  CHECK(replies == "\u732b\ncat\n");
  // Ctrl-D or "stop" ends it; what follows is not read; "clear" says nothing.
  const std::string one = Output({"chat", TinyModel(), "--temp", "0"},
                                 "clear\nWhat is \"cat\" in Chinese?\nstop\nWhat is \"cat\"?\n");
  CHECK(one == "\u732b\n");
  // A message that cannot fit is reported; the others are answered.
  std::string noise;
  for (int i = 0; i < 600; ++i) noise += "cat ";
  const Result result =
      Glint({"chat", TinyModel(), "--temp", "0"}, noise + "\nclear\nWhat is \"cat\" in Chinese?\n");
  CHECK(result.out == "\u732b\n");
  CHECK(result.status == 1);
  CHECK(result.err.find("tokens; the context holds 512") != std::string::npos);
  // Where the context has no room for the turn before, it gives way, and the user is told.
  std::string many;
  for (int i = 0; i < 5; ++i) many += "What is \"cat\" in Chinese?\n";
  const std::vector<std::string> chat = {"chat", TinyModel(), "--temp", "0", "-n", "8", "-c"};
  for (const char* context : {"40", "200"}) {
    std::vector<std::string> arguments = chat;
    arguments.push_back(context);
    const Result longer = Glint(arguments, many);
    CHECK(longer.status == 0);
    CHECK(Lines(longer.out) == 5);
    CHECK((longer.err.find("forgot the oldest turn") != std::string::npos) ==
          (std::string(context) == "40"));
  }
}

TEST_CASE("the built-in model") {
  if (!IsProgramThere()) return;
  const Result result = Glint({}, "What is \"cat\" in Chinese?\n");
  if (result.err.find("no built-in model") != std::string::npos) {
    std::printf("skipped: the built-in model (examples/tiny/tiny.glint was not there)\n");
    return;
  }
  CHECK(result.status == 0);
  CHECK(result.out != "");
  CHECK(Output({"verify", "builtin"}).starts_with("builtin: ok, "));
  CHECK(Output({"chat", "--temp", "0"}, "\u732b\u7528\u82f1\u8bed\u600e\u4e48\u8bf4\uff1f\n") ==
        "cat\n");
}

TEST_CASE("bench reports the contract's numbers") {
  if (!IsProgramThere()) return;
  if (!Env("GLINT_WRAPPER").empty()) return;  // the peaks take minutes under emulation
  const json report =
      JsonOutput({"bench", TinyModel("int4"), "-p", "40", "-n", "4", "-t", "2", "--json"});
  for (const char* key : {"cpu", "isa", "threads", "read_gb_per_s", "dot_gmac_per_s"}) {
    CHECK(report["machine"].contains(key));
  }
  CHECK(report["machine"]["threads"] == 2);
  CHECK(report["machine"]["read_gb_per_s"].get<double>() > 0.1);
  CHECK(report["machine"]["dot_gmac_per_s"].get<double>() > 0.1);
  for (const char* key : {"name", "type", "bytes", "parameters"}) {
    CHECK(report["model"].contains(key));
  }
  CHECK(report["load_ms"].get<double>() > 0);
  CHECK(report["prefill"]["tokens"] == 40);
  CHECK(report["prefill"]["tokens_per_s"].get<double>() > 0);
  CHECK(report["decode"]["tokens"] == 4);
  CHECK(report["decode"]["context"] == 40);
  CHECK(report["anonymous_mib"].get<double>() > 0);
  // Six layers of 12 * 128 * 128. What follows the last attention (9 of those 12) and the head run
  // for the last row alone.
  const double macs = 40.0 * (6 * 12 - 9) * 128 * 128 + 9 * 128 * 128 + 2880 * 128;
  const double gmac = report["prefill"]["gmac_per_s"], speed = report["prefill"]["tokens_per_s"];
  CHECK(std::abs(gmac / (macs * 1e-9 * speed / 40) - 1) < 1e-4);
}

TEST_CASE("a sweep of bench, and where the time goes") {
  if (!IsProgramThere()) return;
  if (!Env("GLINT_WRAPPER").empty()) return;  // the peaks take minutes under emulation
  const json sweep = JsonOutput({"bench", TinyModel("int4"), "-p", "30,400", "-d", "100", "-n", "12",
                                 "-r", "2", "-t", "2", "--profile", "--json"});
  REQUIRE(sweep.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const json& row = sweep[i];
    CHECK(row["machine"]["threads"] == 2);
    CHECK(row["machine"]["system"].contains("compiler"));
    const double best = row["machine"]["read_gb_per_s"];
    CHECK(best == std::max(row["machine"]["read_gb_per_s_before"].get<double>(),
                           row["machine"]["read_gb_per_s_after"].get<double>()));
    CHECK(row["first_token_ms"].get<double>() > 0);
    const json& prefill = row["prefill"];
    CHECK(prefill["tokens"] == (i == 0 ? 30 : 400));
    CHECK(prefill["runs"] == 2);
    CHECK(prefill["tokens_per_s_min"] <= prefill["tokens_per_s"]);
    CHECK(prefill["tokens_per_s"] <= prefill["tokens_per_s_max"]);
    // The second row of each has no depth of its own.
    CHECK(row.contains("decode") == (i == 0));
    if (row.contains("decode")) {
      CHECK(row["decode"]["context"] == 100);
      CHECK(row["decode"]["tokens_per_s_q1"] <= row["decode"]["tokens_per_s_q3"]);
    }
    std::map<std::string, double> shares, steps;
    for (const json& entry : row["profile"]) {
      shares[entry["phase"]] += entry["share"].get<double>();
      if (entry["op"] != "rest") steps[entry["phase"]] += entry["share"].get<double>();
      CHECK(entry.contains("gmac_per_s") == entry["op"].get<std::string>().starts_with("linear"));
    }
    CHECK(shares.size() == (i == 0 ? 2 : 1));
    for (const auto& [phase, share] : shares) {
      CAPTURE(phase);
      CHECK(std::abs(share - 1) < 1e-4);
      CHECK(steps[phase] >= 0.9);  // 0.98 where nothing else computes
    }
  }
  const std::string table =
      Output({"bench", TinyModel("int4"), "-p", "30", "-n", "2", "-r", "1", "-t", "1,2", "--profile"});
  CHECK(table.find("threads  1: ready after ") != std::string::npos);
  CHECK(table.find("threads  2: ready after ") != std::string::npos);
  CHECK(table.find("quartiles") != std::string::npos);
  CHECK(table.find("layer.*.qkv.weight") != std::string::npos);
}

TEST_CASE("the same bits with any threads, chunks and instruction set") {
  if (!IsProgramThere()) return;
  const json targets = JsonOutput({"info", "--cpu", "--json"})["targets"];
  const std::string ids = PromptIds(70, 9), out = TempDir() + "/logits.npy";
  std::string hashes;
  for (const char* type : {"f32", "f16", "bf16", "int8", "int4", "int4x", "int3", "int6"}) {
    std::string first;
    for (const json& target : targets) {
      for (const auto& [threads, chunk] :
           {std::pair{"1", "512"}, {"2", "7"}, {"1", "1"}, {"2", "512"}}) {
        CAPTURE(type);
        CAPTURE(target);
        CAPTURE(threads);
        CAPTURE(chunk);
        Output({"logits", TinyModel(type), "--ids", ids, "-o", out, "--force", "-t", threads,
                "--chunk", chunk},
               "", "GLINT_ISA=" + target.get<std::string>());
        const std::string hash = Hash(ReadFile(out));
        if (first.empty()) first = hash;
        CHECK(hash == first);
      }
    }
    hashes += std::string(type) + " " + first + "\n";
  }
  std::printf("targets that ran: %s\n", targets.dump().c_str());
  // Another machine's hashes: compared if the file is there, else written for the other to compare.
  const std::string file = Env("GLINT_LOGITS_HASHES");
  if (file.empty()) return;
  if (std::filesystem::exists(file)) {
    CHECK(ReadFile(file) == hashes);
  } else {
    WriteFile(file, hashes);
  }
}
