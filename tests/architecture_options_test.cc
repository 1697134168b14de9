// Options that change what is computed: read, given their published defaults, or refused by name; and
// files whose numbers would make the reader list more than any model has.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "formats/architectures/architecture.h"
#include "formats/architectures/gguf_config.h"
#include "lib/error.h"
#include "tests/gguf_files.h"
#include "tests/model_samples.h"
#include "tests/test_util.h"

using namespace glint;
using namespace glint::test;
using Json = nlohmann::json;

namespace {

constexpr char kChatGlm2[] = R"({
  "model_type": "chatglm", "hidden_size": 64, "num_layers": 2, "num_attention_heads": 4,
  "multi_query_group_num": 2, "kv_channels": 16, "ffn_hidden_size": 96, "padded_vocab_size": 100,
  "interleaved_qkv": false, "rotary_percent": 0.5, "rope_scaling": null
})";

ImportPlan PlanOf(const Json& config) {
  return FindArchitecture(config, "here").plan(config, nullptr, "here: config.json");
}

// The sample's config.json with other options.
Json With(const char* sample, const char* options) {
  Json config = SampleOf(sample).config;
  config.update(Json::parse(options));
  return config;
}

void CheckRefused(const Json& config, const char* field) {
  CAPTURE(std::string(field));
  try {
    PlanOf(config);
    FAIL("is taken");
  } catch (const Error& error) {
    const std::string what = error.what();
    CAPTURE(what);
    CHECK(what.starts_with("here: config.json: "));
    CHECK(what.find(field) != what.npos);
  }
}

bool HasTensor(const ImportPlan& plan, const std::string& ending) {
  for (const ImportTensor& tensor : plan.tensors) {
    if (tensor.name.ends_with(ending)) return true;
  }
  return false;
}

// A file of these pairs and vectors, named and of one number each, as config.json.
Json ConfigOf(const std::string& architecture, std::vector<std::string> pairs,
              const std::vector<std::string>& vectors = {}) {
  const auto count = [&](const char* key, uint32_t value) {
    pairs.push_back(GgufU32(architecture + "." + key, value));
  };
  pairs.push_back(GgufText("general.architecture", architecture));
  pairs.push_back(GgufF32(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f));
  count("embedding_length", 64);
  count("attention.head_count", 4);
  GgufParts parts{.pairs = pairs};
  std::vector<std::string> names = vectors;
  names.push_back("output_norm.weight");  // a file without tensors is a vocabulary alone
  for (const std::string& name : names) {
    parts.tensors.push_back(GgufEntry(name, {1}, 0, parts.data.size()));
    parts.data += Floats({2.0f}) + std::string(28, '\0');
  }
  const std::string path = TempDir() + "/config.gguf";
  WriteFile(path, GgufBytes(parts));
  const std::unique_ptr<Gguf> gguf = Gguf::Open(path);
  return ConfigFromGguf(*gguf, *FindGgufArchitecture(*gguf).dialect);
}

void CheckGgufRefused(const std::vector<std::string>& pairs, const std::vector<std::string>& vectors,
                      const char* field) {
  CAPTURE(std::string(field));
  try {
    ConfigOf("llama", pairs, vectors);
    FAIL("is taken");
  } catch (const Error& error) {
    const std::string what = error.what();
    CAPTURE(what);
    CHECK(what.find("config.gguf: ") != what.npos);
    CHECK(what.find(field) != what.npos);
  }
}

}  // namespace

TEST_CASE("options out of range are refused by name") {
  CheckRefused(With("gemma2", R"({"query_pre_attn_scalar": 0})"), "'query_pre_attn_scalar'");
  CheckRefused(With("gemma2", R"({"attn_logit_softcapping": -1})"), "'attn_logit_softcapping'");
  for (const char* part : {"1e300", "-1e300", "0", "-0.5", "1.5"}) {
    CAPTURE(std::string(part));
    const std::string options = std::string(R"({"partial_rotary_factor": )") + part + "}";
    CheckRefused(With("glm", options.c_str()), "'partial_rotary_factor'");
  }
  for (const char* option :
       {R"({"interleaved_qkv": true})", R"({"rotary_percent": 1.0})",
        R"({"rope_scaling": {"type": "yarn", "factor": 4.0}})", R"({"partial_rotary_factor": 1})"}) {
    Json config = Json::parse(kChatGlm2);
    PlanOf(config);
    const Json changed = Json::parse(option);
    config.update(changed);
    const std::string field = "'" + changed.items().begin().key() + "'";
    CheckRefused(config, field.c_str());
  }
}

TEST_CASE("more experts than any model has are refused before they are listed") {
  CheckRefused(With("mixtral", R"({"num_hidden_layers": 4096, "num_local_experts": 4094})"),
               "'num_local_experts'");
  CheckRefused(With("qwen2_moe", R"({"num_hidden_layers": 4096, "num_experts": 4094})"),
               "'num_experts'");
}

TEST_CASE("Qwen2-MoE without biases") {
  CHECK(HasTensor(PlanOf(With("qwen2_moe", "{}")), "qkv.bias"));
  CHECK(!HasTensor(PlanOf(With("qwen2_moe", R"({"qkv_bias": false})")), "qkv.bias"));
}

TEST_CASE("Gemma 2: what a file does not say is as published, null is none") {
  const Json given = SampleOf("gemma2").config;
  const Json defaults = {{"attn_logit_softcapping", 50.0},
                         {"final_logit_softcapping", 30.0},
                         {"query_pre_attn_scalar", 256},
                         {"sliding_window", 4096}};
  Json absent = given, published = given, none = given;
  for (const auto& [key, value] : defaults.items()) {
    absent.erase(key);
    published[key] = value;
  }
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping", "sliding_window"}) {
    none[key] = nullptr;
  }
  const auto attributes = [](const Json& config) {
    const ImportPlan plan = PlanOf(config);
    std::vector<Tensor> tensors;
    for (const ImportTensor& tensor : plan.tensors) {
      tensors.push_back({tensor.name, DType::kF32, BlockOffset::kNone, tensor.shape});
    }
    std::vector<std::map<std::string, Attribute>> all;
    for (const Node& node : plan.build(tensors, "here").nodes) all.push_back(node.attributes);
    return all;
  };
  CHECK(attributes(absent) == attributes(published));
  CHECK(attributes(absent) != attributes(given));
  CHECK(attributes(none) != attributes(published));
}

TEST_CASE("GGUF: scaling of positions as llama.cpp reads it") {
  const auto scaling = [](const std::vector<std::string>& pairs,
                          const std::vector<std::string>& vectors = {}) {
    return ConfigOf("llama", pairs, vectors).value("rope_scaling", Json());
  };
  const std::string factor = GgufF32("llama.rope.scaling.factor", 4);
  const auto type = [](const char* name) { return GgufText("llama.rope.scaling.type", name); };
  CHECK(scaling({}).is_null());
  const Json linear = {{"rope_type", "linear"}, {"factor", 4.0}};
  CHECK(scaling({factor}) == linear);  // no type
  CHECK(scaling({GgufF32("llama.rope.scale_linear", 4)}) == linear);
  CHECK(scaling({factor, type("none")}).is_null());
  CHECK(scaling({type("linear")}).is_null());
  CHECK(scaling({factor, type("yarn"), GgufF32("llama.rope.scaling.attn_factor", 1)}) ==
        Json{{"rope_type", "yarn"}, {"factor", 4.0}});
  CHECK(scaling({}, {"rope_freqs.weight"}) ==
        Json{{"rope_type", "divisors"}, {"divisors", {2.0f}}});
}

TEST_CASE("GGUF: scaling that is not known is refused") {
  const std::string factor = GgufF32("llama.rope.scaling.factor", 4);
  CheckGgufRefused({factor, GgufText("llama.rope.scaling.type", "yarn"),
                    GgufF32("llama.rope.scaling.attn_factor", 2)},
                   {}, "'llama.rope.scaling.attn_factor'");
  CheckGgufRefused({factor}, {"rope_freqs.weight"}, "'rope_freqs.weight'");
  CheckGgufRefused({}, {"rope_factors_long.weight"}, "'rope_factors_short.weight'");
  CheckGgufRefused({}, {"rope_factors_short.weight"}, "'rope_factors_long.weight'");
}

TEST_CASE("GGUF: a file without a window says so") {
  const Json config =
      ConfigOf("gemma2", {GgufU32("gemma2.attention.sliding_window", 0)});
  REQUIRE(config.contains("sliding_window"));
  CHECK(config["sliding_window"].is_null());
}
