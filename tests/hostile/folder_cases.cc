// Hugging Face folders (RELIABILITY.md 2.4): config.json against tensors, shards.
#include <functional>
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz_samples.h"
#include "tests/hostile/runner.h"
#include "tests/import_files.h"
#include "tests/model_samples.h"

namespace glint::hostile {
namespace {

using nlohmann::json;
using Files = std::map<std::string, std::string>;

const test::SampleModel& Sample() {
  static const test::SampleModel sample = fuzz::TinyModel("llama");
  return sample;
}

Files GoodFiles() {
  static const std::string weights = fuzz::TinySafetensors(Sample());
  return {{"config.json", Sample().config.dump()}, {"model.safetensors", weights}};
}

class Adder {
 public:
  explicit Adder(Cases* cases) : cases_(cases) {}
  void Files(const std::string& name, const std::function<void(hostile::Files*)>& change,
             bool accept = false, const std::string& words = "") const {
    hostile::Files files = GoodFiles();
    change(&files);
    cases_->push_back({"hf/" + name, Stage::kModel, ".", std::move(files), accept, words});
  }
  void Config(const std::string& key, const json& value, const std::string& words = "") const {
    json config = Sample().config;
    config[key] = value;
    std::string name = key + "_" + value.dump().substr(0, 30);
    Files(
        name, [&](auto* files) { (*files)["config.json"] = config.dump(); }, false, words);
  }
  // The folder with this index, and a shard "a.safetensors" that holds the weights.
  void Index(const std::string& name, const std::string& shard,
             const std::string& words = "") const {
    json map = json::object();
    for (const auto& [tensor, values] : Sample().tensors) map[tensor] = shard;
    Files(
        "shard_" + name,
        [&](auto* files) {
          (*files)["a.safetensors"] = (*files)["model.safetensors"];
          files->erase("model.safetensors");
          (*files)["model.safetensors.index.json"] = json{{"weight_map", map}}.dump();
        },
        shard == "a.safetensors", words);
  }

 private:
  Cases* cases_;
};

void AddConfigs(const Adder& add) {
  const std::pair<const char*, std::vector<json>> kNumbers[] = {
      {"hidden_size", {0, -1, 15, 32, 4294967296, 0.5, "16", nullptr, true, 1e300}},
      {"intermediate_size", {0, -1, 21, 4294967296, "20"}},
      {"num_hidden_layers", {0, 2, -1, 100000, 1e9, "1"}},
      {"num_attention_heads", {0, 3, -2, 4294967296}},
      {"num_key_value_heads", {0, 3, -1}},
      {"vocab_size", {0, 263, 265, -1, 18446744073709551615u}},
      {"rms_norm_eps", {-1, "x", json::array()}},
      {"rope_theta", {0, -5, "x"}},
      {"max_position_embeddings", {0, -1, "x"}},
      {"head_dim", {0, 7, -8, 4294967296}}};
  for (const auto& [key, values] : kNumbers) {
    for (const json& value : values) add.Config(key, value);
  }
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "intermediate_size", "model_type"}) {
    json config = Sample().config;
    config.erase(key);
    if (std::string(key) == "model_type") config.erase("architectures");
    add.Files(
        std::string("without_") + key,
        [&](auto* files) { (*files)["config.json"] = config.dump(); }, false, key);
  }
  add.Config("hidden_act", "nosuch", "nosuch");
  add.Config("rope_scaling", {{"type", "nosuch"}, {"factor", 2.0}}, "nosuch");
  add.Config("rope_scaling", {{"type", "linear"}, {"factor", -1}});
  add.Config("rope_scaling", {{"type", "linear"}, {"factor", 0}});
  add.Config("rope_scaling", {{"type", "linear"}});
  add.Config("rope_scaling", "linear");
  add.Config("quantization_config", {{"quant_method", "nosuch"}}, "nosuch");
  add.Config("quantization_config", 7);
  add.Config("attention_bias", "yes");
  add.Files(
      "model_type_unknown",
      [](auto* files) {
        (*files)["config.json"] = R"({"model_type": "nosuch", "architectures": ["NoSuch"]})";
      },
      false, "osuch");
  add.Files(
      "config_lfs",
      [](auto* files) {
        (*files)["config.json"] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
      },
      false, "git-lfs");
  add.Files(
      "config_deep", [](auto* files) { (*files)["config.json"] = test::Repeat("[", 100000); },
      false, "deeper");
  add.Files(
      "config_missing", [](auto* files) { files->erase("config.json"); }, false, "config.json");
}

void AddWeights(const Adder& add) {
  for (const auto& [name, tensor] : Sample().tensors) {
    if (name.find("layers.") == name.npos && name.find("norm") == name.npos) continue;
    const auto with = [&](const char* what, const std::function<void(test::SampleModel*)>& change) {
      test::SampleModel changed = Sample();
      change(&changed);
      const std::string weights = fuzz::TinySafetensors(changed);
      add.Files(std::string(what) + "_" + name,
                [&](auto* files) { (*files)["model.safetensors"] = weights; });
    };
    with("missing", [&](auto* m) { m->tensors.erase(name); });
    with("flat", [&](auto* m) {
      auto& shape = m->tensors.at(name).shape;
      size_t n = 1;
      for (const auto size : shape) n *= size;
      if (shape.size() == 1) {
        shape = {1, n};
      } else {
        shape = {n};
      }
    });
  }
  add.Files(
      "weights_lfs",
      [](auto* files) {
        (*files)["model.safetensors"] =
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
      },
      false, "git");
  add.Files("weights_missing", [](auto* files) { files->erase("model.safetensors"); });
  add.Files("tokenizer_lfs", [](auto* files) {
    (*files)["tokenizer.json"] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
  });
  add.Files("index_array", [](auto* files) {
    files->erase("model.safetensors");
    (*files)["model.safetensors.index.json"] = "[]";
  });
  const std::pair<const char*, const char*> kShards[] = {{"up", "../a.safetensors"},
                                                         {"absolute", "/etc/hostname"},
                                                         {"backslash", "x\\a.safetensors"},
                                                         {"empty", ""},
                                                         {"url", "https://host/a.safetensors"},
                                                         {"device", "/dev/zero"},
                                                         {"dot", "."},
                                                         {"bin", "a.bin"},
                                                         {"missing", "b.safetensors"},
                                                         {"nested", "x/a.safetensors"}};
  for (const auto& [name, shard] : kShards) add.Index(name, shard);
  add.Index("nul", std::string("a\0.safetensors", 14));
  add.Index("ok", "a.safetensors");
  add.Files("same_tensor_in_two", [](auto* files) {
    (*files)["a.safetensors"] = (*files)["b.safetensors"] = (*files)["model.safetensors"];
    files->erase("model.safetensors");
    json map = json::object();
    for (const auto& [tensor, values] : Sample().tensors) map[tensor] = "a.safetensors";
    map["model.norm.weight"] = "b.safetensors";
    (*files)["model.safetensors.index.json"] = json{{"weight_map", map}}.dump();
  });
}

}  // namespace

void AddFolderCases(Cases* cases) {
  const Adder add(cases);
  add.Files(
      "ok_good", [](auto*) {}, true);
  AddConfigs(add);
  AddWeights(add);
}

}  // namespace glint::hostile
