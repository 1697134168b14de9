// --adapter, and what convert, info and verify make of adapters, as a user meets them.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/cli.h"
#include "tests/import_files.h"

using namespace glint;
using namespace glint::test;
using nlohmann::json;

namespace {

json TinyConfig() {
  return json::parse(ReadFile(SourceDir() + "/examples/tiny/model/config.json"));
}

// n numbers of [-range, range].
std::string Numbers(size_t n, float range) {
  std::vector<float> values;
  uint32_t state = 7;
  for (size_t i = 0; i < n; ++i) {
    state = state * 1664525 + 1013904223;
    values.push_back(range * (static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1));
  }
  return Floats(values);
}

std::string PrefixFolder() {
  json config = TinyConfig();
  const size_t width = 2 * config["num_layers"].get<size_t>() * config["hidden_size"].get<size_t>();
  config["pre_seq_len"] = 8;
  const std::string folder = TempDir(), data = Numbers(8 * width, 2);
  WriteFile(folder + "/config.json", config.dump());
  WriteFile(folder + "/model.safetensors",
            Safetensors("{" +
                            Entry("transformer.prefix_encoder.embedding.weight", "F32",
                                  json({8, width}).dump(), 0, data.size()) +
                            "}",
                        data));
  return folder;
}

std::string LoraFolder() {
  const size_t dim = TinyConfig()["hidden_size"];
  const std::string folder = TempDir();
  const std::string a = Numbers(2 * dim, 0.3f), b = Numbers(6 * dim, 0.3f);
  const std::string module =
      "base_model.model.transformer.layers.0.attention.query_key_value.lora_";
  WriteFile(folder + "/adapter_config.json",
            json({{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 4}, {"bias", "none"}}).dump());
  WriteFile(folder + "/adapter_model.safetensors",
            Safetensors(
                "{" + Entry(module + "A.weight", "F32", json({2, dim}).dump(), 0, a.size()) + "," +
                    Entry(module + "B.weight", "F32", json({3 * dim, 2}).dump(), a.size(),
                          a.size() + b.size()) +
                    "}",
                a + b));
  return folder;
}

std::string Greedy(const std::vector<std::string>& more) {
  const json config = TinyConfig();
  const std::string ids =
      "9,30,60,7," + config["gmask_token_id"].dump() + "," + config["bos_token_id"].dump();
  std::vector<std::string> args = {"greedy", "builtin", "--ids", ids, "-n", "12"};
  args.insert(args.end(), more.begin(), more.end());
  return Output(args);
}

}  // namespace

TEST_CASE("a prefix is converted, shown, verified and used") {
  const std::string folder = PrefixFolder(), file = TempDir() + "/prefix.glint";
  CHECK(Glint({"convert", folder, "-o", file}).status == 0);
  CHECK(Output({"info", file}).find("glint adapter (prefix)") != std::string::npos);
  const json info = JsonOutput({"info", file, "--json"});
  CHECK(info["metadata"]["kind"] == "prefix");
  CHECK(info["config"]["prefix_length"] == 8);
  CHECK(Output({"verify", file}).find(": ok, ") != std::string::npos);
  const std::string base = Greedy({}), with = Greedy({"--adapter", file});
  CHECK(with != base);
  CHECK(Greedy({"--adapter", folder}) == with);
  CHECK(Greedy({"--adapter", file + "=0"}) == base);
  CHECK(Glint({"chat", "builtin", "--adapter", file, "--temp", "0", "-n", "4"}, "hello\n").status ==
        0);
  const Result model = Glint({"greedy", file, "--ids", "1", "-n", "1"});
  CHECK(model.status == 1);
  CHECK(model.err.find("is a P-Tuning prefix, which goes with a model") != std::string::npos);
  CHECK(Glint({"convert", folder, "-o", TempDir() + "/x.glint", "--type", "int4"}).status == 2);
  CHECK(Glint({"convert", folder, "-o", TempDir() + "/x.glint", "--base", "builtin"}).status == 2);
}

TEST_CASE("a LoRA is converted for a base, and counts as much as is said") {
  const std::string folder = LoraFolder(), file = TempDir() + "/lora=1.glint";
  const Result alone = Glint({"convert", folder, "-o", file});
  CHECK(alone.status == 2);
  CHECK(alone.err.find("--base MODEL") != std::string::npos);
  CHECK(Glint({"convert", folder, "-o", file, "--base", "builtin", "--type", "f16"}).status == 0);
  CHECK(Output({"info", file}).find("glint adapter (lora)") != std::string::npos);
  const std::string base = Greedy({});
  const std::string strong = Greedy({"--adapter", file + "=20"});
  CHECK(strong != base);
  CHECK(Greedy({"--adapter", file + "=10", "--adapter", file + "=10"}).size() > 0);
  CHECK(Greedy({"--adapter", file + "=0"}) == base);
  CHECK(Greedy({"--adapter", folder + "=0"}) == base);
  const Result missing =
      Glint({"greedy", "builtin", "--ids", "1", "-n", "1", "--adapter", "/none.glint"});
  CHECK(missing.status == 1);
  CHECK(missing.err.find("/none.glint") != std::string::npos);
}

TEST_CASE("info --memory counts adapters") {
  const std::string prefix = TempDir() + "/prefix.glint";
  CHECK(Glint({"convert", PrefixFolder(), "-o", prefix}).status == 0);
  const auto memory = [](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"info", "builtin", "--memory", "--json", "-c", "256"};
    args.insert(args.end(), more.begin(), more.end());
    return JsonOutput(args);
  };
  const auto bytes = [](const json& figures, const char* key) {
    return figures[key].get<uint64_t>();
  };
  const json base = memory({}), with = memory({"--adapter", prefix});
  CHECK(bytes(base, "adapter_bytes") == 0);
  CHECK(bytes(with, "adapter_bytes") == ReadFile(prefix).size());
  // 8 entries more than 256 begin another block of 256.
  CHECK(bytes(with, "cache_bytes") == 2 * bytes(base, "cache_bytes"));
  CHECK(bytes(with, "peak_bytes") == bytes(with, "weight_bytes") + bytes(with, "adapter_bytes") +
                                         bytes(with, "anonymous_bytes"));
  // Converted on opening: in private memory.
  const json lora = memory({"--adapter", LoraFolder()});
  CHECK(bytes(lora, "adapter_bytes") != 0);
  CHECK(bytes(lora, "anonymous_bytes") ==
        bytes(base, "anonymous_bytes") + bytes(lora, "adapter_bytes") +
            bytes(lora, "activation_bytes") - bytes(base, "activation_bytes"));
  CHECK(Output({"info", "builtin", "--memory", "--adapter", prefix}).find("adapters ") !=
        std::string::npos);
  CHECK(Glint({"info", "builtin", "--adapter", prefix}).status == 2);
}
