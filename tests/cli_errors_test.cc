// What the program says of bad input: one line that names the place, exit status 1 (2 for wrong
// usage), and no file left behind.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "formats/prefix.h"
#include "tests/cli.h"
#include "tests/llama_samples.h"
#include "tests/spm_samples.h"

using namespace glint;
using namespace glint::test;
namespace fs = std::filesystem;

namespace {

constexpr char kEsc = '\x1b';

// A folder with a file of these contents.
std::string FileOf(const std::string& contents, const std::string& name = "bad.glint") {
  const std::string path = TempDir() + "/" + name;
  WriteFile(path, contents);
  return path;
}

// The tiny model's file with `from` in its header written as `to`, the head's checksum right again.
std::string ChangedHeader(const std::string& from, const std::string& to) {
  const std::string file = ReadFile(TinyModel());
  uint64_t bytes;
  std::memcpy(&bytes, file.data() + 16, 8);
  std::string text = file.substr(kPrefixBytes, bytes);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  return FileOf(HeadBytes(text) + file.substr(RoundUp(kPrefixBytes + bytes, kDataAlignment)));
}

// A copy of the tiny model's folder.
std::string FolderCopy() {
  const std::string folder = TempDir() + "/model";
  fs::copy(TinyFolder(), folder);
  return folder;
}

// Every command that reads a model, with this one.
std::vector<std::vector<std::string>> Readers(const std::string& model) {
  static const std::string out = TempDir() + "/never.npy";
  return {{"info", model},
          {"verify", model},
          {"chat", model},
          {"generate", model, "-p", "x"},
          {"logits", model, "--ids", "1,2537,2540", "-o", out},
          {"greedy", model, "--ids", "1,2537,2540", "-n", "1"},
          {"bench", model},
          {"perplexity", model, "-f", out},
          {"quantize-report", model},
          {"tokenize", model},
          {"convert", model, "-o", out}};
}

}  // namespace

TEST_CASE("wrong usage") {
  if (!IsProgramThere()) return;
  const std::string hint = "try glint ";
  CheckFails(2, {"frobnicate"}, {"unknown command 'frobnicate'", "try glint --help"});
  CheckFails(2, {"info\x1b[2J"}, {"unknown command", "\\x1b"});
  CheckFails(2, {"--frobnicate"}, {"--frobnicate", hint});
  CheckFails(2, {"generate", "m.glint"}, {"--prompt", "required", hint});
  CheckFails(2, {"greedy"}, {"required", hint});
  CheckFails(2, {"convert", "a"}, {"--output", hint});
  CheckFails(2, {"verify"}, {"MODEL", hint});
  CheckFails(2, {"verify", "a", "b"}, {"b", hint});
  CheckFails(2, {"info"}, {"FILE or --cpu", hint});
  CheckFails(2, {"bench"}, {"MODEL or --shape", hint});
  for (const char* list : {"40,", ",40", "40,,80", "40 80", "2", "40,2000000", "x", ""}) {
    CAPTURE(list);
    CheckFails(2, {"bench", "a", "-p", list}, {"--prompt", "3 to 1048576 with commas", hint});
    CheckFails(2, {"bench", "a", "-d", list}, {"--depth", hint});
  }
  CheckFails(2, {"bench", "a", "-t", "1,0"}, {"--threads", "'1,0'", hint});
  CheckFails(2, {"greedy", "a", "--ids", "1", "-n", "1", "-t", "1,2"}, {"--threads", hint});
  CheckFails(2, {"bench", "a", "-r", "0"}, {"--repeat", hint});
  CheckFails(2, {"chat", "a", "--profile"}, {"--profile"});
  CheckFails(2, {"convert", "a", "-o", "b", "--type", "int5"}, {"int5", "int4x", hint});
  CheckFails(2, {"convert", "a", "-o", "b", "--tensor-type", "x"}, {"PATTERN=TYPE", hint});
  CheckFails(2, {"tokenize", "a", "--type", "gpt9"}, {"gpt9", hint});
  CheckFails(2, {"greedy", "a", "--ids", "1,,2", "-n", "1"}, {"--ids", "'1,,2'", hint});
  CheckFails(2, {"greedy", "a", "--ids", "", "-n", "1"}, {"--ids", hint});
  CheckFails(2, {"greedy", "a", "--ids", "1,x", "-n", "1"}, {"'1,x'", hint});
  CheckFails(2, {"greedy", "a", "--ids", "1", "-n", "0"}, {"--tokens", hint});
  for (const char* n : {"-1", "x", "1e3", "99999999999999999999", ""}) {
    CAPTURE(n);
    CheckFails(2, {"greedy", "a", "--ids", "1", "-n", n}, {hint});
    CheckFails(2, {"verify", "a", "-t", n}, {hint});
  }
  CheckFails(2, {"chat", "a", "--temp", "-1"}, {"--temp", hint});
  CheckFails(2, {"chat", "a", "--top-p", "1.5"}, {"--top-p", hint});
  CheckFails(2, {"chat", "a", "--temp", "nan"}, {"--temp", hint});
  // What a later version will know is refused today, not ignored.
  CheckFails(2, {"chat", "a", "--kv", "int4"}, {"int4", hint});
  for (const char* command : {"info", "bench"})
    CheckFails(2, {command, "a", "--show-prompt"}, {"--show-prompt"});
  for (const char* command : {"chat", "bench"})
    CheckFails(2, {command, "a", "--memory"}, {"--memory"});
  CheckFails(2, {"info", "a", "-c", "100"}, {"--memory", hint});
  CheckFails(2, {"info", "--cpu", "--memory"}, {"--memory and --cpu", hint});
  CheckFails(2, {"convert", "a", "-o", "b", "--recipe", "best"}, {"--recipe best", "--calibrate TEXT"});
  CheckFails(2, {"convert", "a", "-o", "b", "--recipe", "fast", "--calibrate", "c"},
             {"--calibrate", "balanced or best"});
  CheckFails(2, {"convert", "a", "-o", "b", "--recipe", "good"}, {"--recipe"});
  CheckFails(2, {"convert", "a", "-o", "b", "--calibrate", "c", "--calibrate-tokens", "3"},
             {"--calibrate-tokens"});
  CheckFails(1, {"convert", SourceDir() + "/examples/tiny/model", "-o", TempDir() + "/x.glint",
                 "--calibrate", "/no/such/text"},
             {"/no/such/text"});
  CheckFails(2, {"convert", "a", "-o", "b", "--recipe", "best"}, {"--recipe"});
}

TEST_CASE("no such file, and files of another kind") {
  if (!IsProgramThere()) return;
  const std::string missing = TempDir() + "/missing.glint";
  for (const auto& command : Readers(missing)) CheckFails(1, command, {missing});
  for (const auto& command : Readers(FileOf(""))) CheckFails(1, command, {"bad.glint"});
  for (const auto& command : Readers(FileOf("hello, world\n")))
    CheckFails(1, command, {"bad.glint"});
  CheckFails(1, {"chat", FileOf("GGUF\3\0\0\0", "a.gguf")}, {"a.gguf", "version"});
  CheckFails(1, {"chat", FileOf("x", "a.safetensors")}, {"a.safetensors"});
  CheckFails(1, {"info", FileOf("GGUF\3\0\0\0", "a.gguf")}, {"a.gguf", "version"});
  CheckFails(2, {"info", "--graph", "--json", TinyFolder()}, {"leave out --json"});
  CheckFails(1, {"info", "--memory", TinyModel(), "-c", "16777216"}, {".glint: a context", "rotary"});
  CheckFails(1, {"verify", std::string("no\nsuch") + kEsc + "[31m.glint"}, {"such\\x1b[31m"});
}

TEST_CASE("damaged model files") {
  if (!IsProgramThere()) return;
  const std::string good = ReadFile(TinyModel());
  for (const size_t size : {size_t{10}, size_t{40}, size_t{5000}, good.size() / 2, good.size() - 1}) {
    CAPTURE(size);
    const std::string path = FileOf(good.substr(0, size));
    for (const auto& command : Readers(path)) CheckFails(1, command, {path});
  }
  std::string long_header = good;
  const uint64_t beyond = good.size() + 1;
  std::memcpy(long_header.data() + 16, &beyond, 8);
  CheckFails(1, {"info", FileOf(long_header)}, {"bad.glint", "header"});
  std::string other_head = good;
  other_head[100] ^= 1;
  CheckFails(1, {"info", FileOf(other_head)}, {"bad.glint", "checksum"});
  // A damaged weight: only verify reads it.
  std::string other_weight = good;
  other_weight[good.size() - 5000] ^= 1;
  const std::string path = FileOf(other_weight);
  CheckFails(1, {"verify", path}, {path, "tensor '", "checksum"});
  CHECK(Glint({"info", path}).status == 0);
}

TEST_CASE("headers that say what this version cannot do") {
  if (!IsProgramThere()) return;
  const std::string op = ChangedHeader("\"gelu\"", "\"gelv\"");
  for (const auto& command : Readers(op)) {
    if (command[0] != "convert") CheckFails(1, command, {op, "'gelv'"});
  }
  const std::string shape = ChangedHeader("layer.0.qkv.bias", "layer.0.ffn_up.bias");
  CheckFails(1, {"info", shape}, {shape});
  const std::string format = ChangedHeader("\"chatglm-6b\"", "\"chatglm-7b\"");
  CheckFails(1, {"chat", format}, {format, "'chatglm-7b'"});
  const std::string no_chat = ChangedHeader("\"format\":\"chatglm-6b\",", "");
  CheckFails(1, {"chat", no_chat}, {no_chat, "no chat format"}, "hi\n");
  CHECK(Glint({"generate", no_chat, "-p", "x", "-n", "1"}).status == 0);
  const std::string positions = ChangedHeader("\"glm-2d\"", "\"sequential\"");
  CheckFails(1, {"greedy", positions, "--ids", "1", "-n", "1"}, {"'position.1'", "'sequential'"});
  const std::string escape = ChangedHeader("\"glm-2d\"", "\"\\u001b[2J\"");
  CheckFails(1, {"chat", escape}, {escape, "\\x1b[2J"});
  // Text of the metadata is shown without what a terminal would act on.
  const std::string name =
      ChangedHeader("\"licence\":", "\"a\\u001b[2J\\u0007\":\"\\u009b1m\",\"licence\":");
  const std::string shown = Output({"info", name});
  for (const char c : shown) CHECK((static_cast<uint8_t>(c) >= 0x20 || c == '\n'));
  CHECK(shown.find("\\x1b[2J\\x07") != std::string::npos);
  CHECK(shown.find("\\xc2\\x9b1m") != std::string::npos);
}

TEST_CASE("damaged checkpoints") {
  if (!IsProgramThere()) return;
  const std::string out_folder = TempDir(), out = out_folder + "/out.glint";
  const auto fails = [&](const std::string& source, std::initializer_list<std::string> words) {
    CheckFails(1, {"convert", source, "-o", out}, words);
    CHECK(FilesIn(out_folder) == 0);
  };
  const std::string empty = TempDir();
  fails(empty, {empty, "no weights"});
  CheckFails(1, {"info", empty}, {empty, "no weights"});

  const std::string cut = FolderCopy();
  fs::resize_file(cut + "/model.safetensors", fs::file_size(cut + "/model.safetensors") - 1);
  fails(cut, {cut + "/model.safetensors"});

  const std::string shard = FolderCopy();
  fs::remove(shard + "/model.safetensors");
  WriteFile(shard + "/model.safetensors.index.json",
            "{\"weight_map\": {\"lm_head.weight\": \"model-00001-of-00002.safetensors\"}}");
  fails(shard, {"model.safetensors.index.json", "'model-00001-of-00002.safetensors'", "missing"});

  const std::string pickle = FolderCopy();
  fs::remove(pickle + "/model.safetensors");
  const std::string foreign =
      DictPickle(Str("a") + Global("os", "system") + Tuple(Str("true")) + "R");
  WriteFile(pickle + "/pytorch_model.bin", Torch(foreign, {}));
  fails(pickle, {"pytorch_model.bin", "os", "system"});
  CheckFails(1, {"info", pickle + "/pytorch_model.bin"}, {"pytorch_model.bin", "system"});

  const std::string shape = FolderCopy();
  std::string config = ReadFile(shape + "/config.json");
  config.replace(config.find("\"inner_hidden_size\": 512"), 24, "\"inner_hidden_size\": 544");
  WriteFile(shape + "/config.json", config);
  fails(shape, {"mlp.dense_h_to_4h", "544", "512"});

  const std::string no_config = FolderCopy();
  fs::remove(no_config + "/config.json");
  fails(no_config, {no_config, "config.json"});
  // An output that cannot be made.
  CheckFails(1, {"convert", TinyFolder(), "-o", out_folder + "/no/such/out.glint"}, {"/no/such/"});
  CheckFails(1, {"convert", TinyFolder(), "-o", out_folder}, {out_folder});
  CheckFails(1, {"synth", "chatglm-7c", "-o", out}, {"'chatglm-7c'", "chatglm-6b"});
  CHECK(FilesIn(out_folder) == 0);
}

TEST_CASE("a checkpoint without a tokenizer") {
  if (!IsProgramThere()) return;
  const std::string folder = FolderCopy(), out = TempDir() + "/out.glint";
  fs::remove(folder + "/ice_text.model");
  const Result result = Glint({"convert", folder, "-o", out, "--type", "int8"});
  CHECK(result.status == 0);
  CHECK(result.err.starts_with("glint: note: "));
  CHECK(result.err.find("no tokenizer") != std::string::npos);
  CHECK(Glint({"info", out}).status == 0);
  CHECK(Glint({"info", out, "--json"}).out.find("\"tokenizer\":null") != std::string::npos);
  CheckFails(1, {"chat", out}, {out, "no tokenizer"});
  CheckFails(1, {"generate", out, "-p", "x"}, {out, "no tokenizer"});
  CheckFails(1, {"tokenize", out}, {out, "no tokenizer"});
  CHECK(Output({"greedy", out, "--ids", "5,2537,2540", "-n", "3"}) ==
        Output({"greedy", TinyModel(), "--ids", "5,2537,2540", "-n", "3"}));
}

TEST_CASE("a LLaMA with its tokenizer.model") {
  if (!IsProgramThere()) return;
  const std::string folder = LlamaFolder({}), out = TempDir() + "/out.glint";
  WriteFile(folder + "/tokenizer.model", SmallBpe());
  const Result result = Glint({"convert", folder, "-o", out});
  CHECK(result.status == 0);
  CHECK(result.err.find("tokenizer") == std::string::npos);
  const std::string text = "\"abc aaaaa\"\n", ids = "[1,3,7,6,3,10,4]\n";
  CHECK(Output({"tokenize", out, "--special"}, text) == ids);
  CHECK(Output({"tokenize", folder, "--special"}, text) == ids);
  CHECK(Output({"tokenize", folder, "--special", "--type", "llama"}, text) == ids);
  CHECK(Output({"tokenize", folder + "/tokenizer.model", "--special", "--type", "llama"}, text) ==
        ids);
  CHECK(Output({"tokenize", out, "--decode"}, ids) == text);
  CHECK(Glint({"generate", out, "-p", "abc", "-n", "4"}).status == 0);
  WriteFile(folder + "/tokenizer_config.json", "{\"add_bos_token\": false}");
  CHECK(Output({"tokenize", folder, "--special"}, text) == "[3,7,6,3,10,4]\n");
  WriteFile(folder + "/tokenizer_config.json", "{\"add_eos_token\": true}");
  CheckFails(1, {"tokenize", folder}, {"tokenizer_config.json", "'add_eos_token'"});
}

TEST_CASE("a LLaMA without tokenizer.model and chat format: all else works") {
  if (!IsProgramThere()) return;
  const std::string folder = LlamaFolder({}), out = TempDir() + "/out.glint";
  const Result result = Glint({"convert", folder, "-o", out});
  CHECK(result.status == 0);
  CHECK(result.err.find("there is no tokenizer") != std::string::npos);
  CheckFails(1, {"chat", out}, {out, "no tokenizer"}, "hi\n");
  CheckFails(1, {"generate", out, "-p", "x"}, {out, "no tokenizer"});
  CheckFails(1, {"tokenize", out}, {out, "no tokenizer"});
  CheckFails(1, {"tokenize", folder}, {folder, "tokenizer.model"});
  CheckFails(1, {"greedy", out, "--ids", "96", "-n", "1"}, {"id 96", "vocabulary of 96"});
  CheckFails(1, {"convert", LlamaFolder({}, ", \"rope_scaling\": {\"rope_type\": \"yarn\"}"), "-o",
                 TempDir() + "/x.glint"}, {"config.json", "'rope_scaling'", "'factor'"});
  const std::string ids = Output({"greedy", out, "--ids", "1,9", "-n", "4"});
  CHECK(std::count(ids.begin(), ids.end(), ',') == 3);
  const std::string npy = TempDir() + "/out.npy";
  Output({"logits", out, "--ids", "1", "-o", npy});
  CHECK(std::filesystem::file_size(npy) == 128 + 96 * 4);
  const std::string graph = Output({"info", out, "--graph", "--planned"});
  for (const char* step : {"rms_norm+quantize(", "linear+silu(", "linear+mul(", "linear+add("}) {
    CAPTURE(std::string(step));
    CHECK(graph.find(step) != std::string::npos);
  }
  CHECK(Output({"info", out}).find("sequential") != std::string::npos);
}

TEST_CASE("ids and prompts that do not fit") {
  if (!IsProgramThere()) return;
  const std::string model = TinyModel(), folder = TempDir(), out = folder + "/out.npy";
  const auto both = [&](const std::string& ids, std::initializer_list<std::string> words,
                        const std::vector<std::string>& more = {}) {
    std::vector<std::string> logits = {"logits", model, "--ids", ids, "-o", out};
    std::vector<std::string> greedy = {"greedy", model, "--ids", ids, "-n", "1"};
    for (auto* command : {&logits, &greedy}) {
      command->insert(command->end(), more.begin(), more.end());
      CheckFails(1, *command, words);
    }
    CHECK(FilesIn(folder) == 0);
  };
  both("1,2880,2537,2540", {"id 2880", "index 1", "vocabulary of 2880"});
  both("-1,2537,2540", {"id -1", "index 0"});
  both("1,99999999999", {"id 99999999999"});
  both("1,2,3", {"<sop>"});
  both("1,2540", {"MASK"});
  std::string many;
  for (int i = 0; i < 2998; ++i) many += "7,";
  both(many + "2537,2540", {"the prompt has 3000 tokens; the context holds 512"});
  both(many + "2537,2540", {"the prompt has 3000 tokens; the context holds 2048"}, {"-c", "2048"});
  CheckFails(1, {"greedy", model, "--ids", "1,2537,2540", "-n", "600"}, {"3 tokens", "512"});
  CheckFails(1, {"generate", model, "-p", std::string(5000, 'x')},
             {"tokens; the context holds 512"});
  CheckFails(1, {"logits", model, "--ids", "1", "--token-types", "0", "-o", out}, {"token types"});
  CheckFails(1, {"logits", model, "--ids", "1,2537,2540", "-o", folder}, {folder});
  CheckFails(1, {"greedy", model, "--ids", "1,2537,2540", "-n", "1"}, {"GLINT_ISA", "'sse9'"}, "",
             "GLINT_ISA=sse9");
}

TEST_CASE("tokenize names the line") {
  if (!IsProgramThere()) return;
  const std::vector<std::string> encode = {"tokenize", TinyModel()};
  const std::vector<std::string> decode = {"tokenize", TinyModel(), "--decode"};
  CheckFails(1, encode, {"line 2"}, "\"a\"\n\"b\n");
  CheckFails(1, encode, {"line 1"}, "[1]\n");
  CheckFails(1, encode, {"line 3"}, "\"a\"\n\"b\"\n\"\xff\"\n");
  CheckFails(1, encode, {"line 1"}, "\n");
  CheckFails(1, decode, {"line 1"}, "\"a\"\n");
  CheckFails(1, decode, {"line 2", "item 1"}, "[1]\n[1,99999999999]\n");
  CheckFails(1, decode, {"line 1", "item 0"}, "[1.5]\n");
  CheckFails(2, {"tokenize", TinyModel(), "--decode", "--special"}, {"--special"});
  CheckFails(2, {"tokenize", TinyModel(), "--type", "chatglm1"}, {"--type"});
  const std::string model = FileOf("x", "tokenizer.model");
  CheckFails(1, {"tokenize", model}, {model, "--type"});
  CheckFails(1, {"tokenize", model, "--type", "gpt2"}, {model});
  for (const char* type : {"chatglm1", "chatglm2", "chatglm3", "llama"}) {
    CheckFails(1, {"tokenize", model, "--type", type}, {model});
  }
  CheckFails(1, {"tokenize", "no-such.model"}, {"no-such.model"});
}
