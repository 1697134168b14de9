// The samples themselves: that their logits tell mistakes apart, and that their GGUF files hold
// what they are said to hold.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/model_samples.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "formats/import/checkpoint.h"
#include "formats/import/gguf.h"
#include "tests/test_util.h"

using namespace glint;
using namespace glint::test;
using nlohmann::json;

namespace {

constexpr size_t kTokens = 40, kVocab = 300;

double MaxDifference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::fabs(a[i] - b[i]));
  return difference;
}

std::vector<double> Logits(const SampleModel& sample, size_t context = 0) {
  return PlainLogits(sample.config, sample.tensors, SampleIds(sample, kTokens), context);
}

}  // namespace

TEST_CASE("logits are well spread and the best one is clear") {
  for (const std::string& name : SampleNames()) {
    CAPTURE(name);
    const SampleModel sample = SampleOf(name);
    for (const size_t context : {0, 200}) {
      const std::vector<double> logits = Logits(sample, context);
      REQUIRE(logits.size() == kTokens * kVocab);
      double largest = 0, gap = 1e9;
      size_t own = 0;  // rows whose best token is the one that was read
      for (size_t t = 0; t < kTokens; ++t) {
        const auto begin = logits.begin() + static_cast<ptrdiff_t>(t * kVocab);
        std::vector<double> row(begin, begin + kVocab);
        const auto best = std::max_element(row.begin(), row.end());
        own += best - row.begin() == SampleIds(sample, kTokens)[t];
        std::nth_element(row.begin(), row.begin() + 1, row.end(), std::greater<>());
        largest = std::max(largest, row[0]);
        gap = std::min(gap, row[0] - row[1]);
      }
      CHECK(largest > 4);
      CHECK(largest < 16);
      CHECK(gap > 1e-3);
      CHECK(own < kTokens / 2);
    }
  }
}

TEST_CASE("every setting moves the logits") {
  const struct {
    const char* name;
    const char* change;
  } kCases[] = {
      {"llama-linear", R"({"rope_scaling": null})"},
      {"llama-linear", R"({"rope_theta": 20000.0})"},
      {"llama-llama3", R"({"rope_scaling": null})"},
      {"llama-yarn", R"({"rope_scaling": null})"},
      {"llama-yarn", R"({"rope_scaling": {"attention_factor": 1.0}})"},
      {"llama-yarn", R"({"rope_scaling": {"original_max_position_embeddings": null}})"},
      {"llama-v5", R"({"rope_parameters": {"rope_theta": 10000.0}})"},
      {"llama-v5", R"({"rope_parameters": {"rope_type": "default"}})"},
      {"glm4-v5", R"({"rope_parameters": null})"},
      {"mistral", R"({"sliding_window": null})"},
      {"mistral", R"({"sliding_window": 8})"},
      {"qwen2-window", R"({"use_sliding_window": false})"},
      {"qwen2-window", R"({"max_window_layers": 2})"},
      {"qwen2-yarn", R"({"rope_scaling": null})"},
      {"phi3", R"({"sliding_window": null})"},
      {"phi3-longrope", R"({"rope_scaling": {"attention_factor": 1.0}})"},
      {"gemma2", R"({"attn_logit_softcapping": null})"},
      {"gemma2", R"({"final_logit_softcapping": null})"},
      {"gemma2", R"({"query_pre_attn_scalar": 20})"},
      {"gemma2", R"({"sliding_window": null})"},
      {"mixtral", R"({"num_experts_per_tok": 1})"},
      {"mixtral-window", R"({"sliding_window": null})"},
      {"qwen2_moe", R"({"norm_topk_prob": true})"},
      {"qwen2_moe-mixed", R"({"norm_topk_prob": false})"},
      {"chatglm-rope-ratio", R"({"rope_ratio": 1})"},
      {"glm", R"({"partial_rotary_factor": 1.0})"},
      {"glm4", R"({"partial_rotary_factor": 1.0})"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    CAPTURE(c.change);
    SampleModel changed = SampleOf(c.name);
    changed.config.merge_patch(json::parse(c.change));
    CHECK(MaxDifference(Logits(SampleOf(c.name)), Logits(changed)) > 0.02);
  }
  for (const char* name : {"llama-dynamic", "phi3-longrope", "phi3-partial"}) {
    CAPTURE(name);
    CHECK(MaxDifference(Logits(SampleOf(name), 64), Logits(SampleOf(name), 65)) > 0.005);
  }
}

// How many tokens an expert of the last layer gets: those whose logits change without it.
TEST_CASE("tokens go to the experts unevenly, and to each") {
  const struct {
    const char* name;
    const char* experts;
    const char* down;
    size_t n;
  } kCases[] = {{"mixtral", "model.layers.1.block_sparse_moe.experts.", ".w2.weight", 5},
                {"qwen2_moe", "model.layers.1.mlp.experts.", ".down_proj.weight", 6}};
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    const SampleModel sample = SampleOf(c.name);
    const std::vector<double> logits = Logits(sample);
    size_t most = 0, least = kTokens, all = 0;
    for (size_t e = 0; e < c.n; ++e) {
      SampleModel without = sample;
      std::vector<float>& down = without.tensors.at(c.experts + std::to_string(e) + c.down).values;
      std::fill(down.begin(), down.end(), 0.0f);
      const std::vector<double> other = Logits(without);
      size_t tokens = 0;
      for (size_t t = 0; t < kTokens; ++t) tokens += logits[t * kVocab] != other[t * kVocab];
      most = std::max(most, tokens);
      least = std::min(least, tokens);
      all += tokens;
    }
    CHECK(all == 2 * kTokens);
    CHECK(least > 0);
    CHECK(most >= 2 * least);
  }
}

TEST_CASE("weights are the same from folders of every type") {
  for (const char* name : {"gemma2", "qwen2_moe-mixed", "chatglm"}) {
    const SampleModel sample = SampleOf(name);
    for (const char* type : {"F32", "F16", "BF16"}) {
      CAPTURE(name);
      CAPTURE(type);
      const auto checkpoint = Checkpoint::Open(WriteFolder(sample, type));
      CHECK(checkpoint->config() == sample.config);
      REQUIRE(checkpoint->tensors().size() == sample.tensors.size());
      for (const SourceTensor& t : checkpoint->tensors()) {
        std::vector<float> values(t.elements);
        checkpoint->ReadF32(t, 0, t.elements, values.data());
        CHECK(values == sample.tensors.at(t.name).values);
        CHECK(Name(t.type) == std::string(type));
      }
    }
  }
}

namespace {

// Of all numbers of all tensors that are weights, in any order: how many, and the sums of their
// first three powers. Gemma's norms have 1 added.
struct Sums {
  double n = 0, first = 0, second = 0, third = 0;
  void Add(double v) {
    ++n;
    first += v;
    second += v * v;
    third += v * v * v;
  }
};

std::vector<float> Values(const Gguf& gguf, const std::string& name) {
  const GgufTensor* t = gguf.Find(name);
  REQUIRE(t != nullptr);
  std::vector<float> values(t->elements);
  gguf.ReadF32(*t, 0, t->elements, values.data());
  return values;
}

Sums SumsOf(const Gguf& gguf) {
  Sums sums;
  for (const GgufTensor& t : gguf.tensors()) {
    if (t.name.starts_with("rope")) continue;
    for (const float v : Values(gguf, t.name)) sums.Add(v);
  }
  return sums;
}
Sums SumsOf(const SampleModel& model) {
  Sums sums;
  for (const auto& [name, tensor] : model.tensors) {
    const bool more = model.config["model_type"] == "gemma2" && name.ends_with("norm.weight");
    for (const float v : tensor.values) sums.Add(more ? v + 1 : v);
  }
  return sums;
}

}  // namespace

TEST_CASE("GGUF files hold the weights that they are said to hold") {
  const std::string path = TempDir() + "/sample.gguf";
  for (const std::string& name : GgufSampleNames()) {
    const SampleModel sample = SampleOf(name);
    for (const std::string type : {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q8_0"}) {
      if (type != "Q8_0" && name.find('-') != std::string::npos && name != "llama-tails") continue;
      CAPTURE(name);
      CAPTURE(type);
      const SampleModel written = WriteGguf(sample, path, type);
      const auto gguf = Gguf::Open(path);
      const Sums in_file = SumsOf(*gguf), said = SumsOf(written);
      CHECK(in_file.n == said.n);
      const bool glm = sample.config["model_type"] == "chatglm";
      const char* embedding =
          glm ? "transformer.embedding.word_embeddings.weight" : "model.embed_tokens.weight";
      CHECK(Values(*gguf, "token_embd.weight") == written.tensors.at(embedding).values);
      CHECK(in_file.first == doctest::Approx(said.first).epsilon(1e-7));
      CHECK(in_file.second == doctest::Approx(said.second).epsilon(1e-7));
      CHECK(in_file.third == doctest::Approx(said.third).epsilon(1e-7));
      float change = 0;
      for (const auto& [tensor, plain] : sample.tensors) {
        const std::vector<float>& now = written.tensors.at(tensor).values;
        for (size_t i = 0; i < now.size(); ++i) {
          change = std::max(change, std::fabs(now[i] - plain.values[i]));
        }
      }
      const bool exact = type[0] != 'Q' || name == "llama-tails";
      CHECK((exact ? change == 0 : change > 1e-4f && change < 0.07f));
    }
  }
}

TEST_CASE("names, shapes and keys of GGUF files") {
  const std::string path = TempDir() + "/sample.gguf";
  WriteGguf(SampleOf("qwen2_moe"), path, "Q8_0");
  auto gguf = Gguf::Open(path);
  CHECK(gguf->metadata().String("general.architecture") == "qwen2moe");
  CHECK(gguf->metadata().Uint("qwen2moe.expert_count", 0, 99) == 6);
  const GgufTensor* experts = gguf->Find("blk.1.ffn_down_exps.weight");
  REQUIRE(experts != nullptr);
  CHECK(experts->shape == std::vector<uint64_t>{6, 64, 44});
  CHECK(experts->type->name == std::string("F16"));  // 44 are not whole blocks
  const std::vector<float> down = Values(*gguf, experts->name);
  const std::vector<float> third(down.begin() + 3 * 64 * 44, down.begin() + 4 * 64 * 44);
  const SampleModel moe = SampleOf("qwen2_moe");
  CHECK(third == moe.tensors.at("model.layers.1.mlp.experts.3.down_proj.weight").values);
  CHECK(gguf->Find("blk.1.ffn_gate_exps.weight")->type->name == std::string("Q8_0"));
  CHECK(gguf->Find("blk.1.attn_q.bias") != nullptr);
  CHECK(gguf->Find("blk.0.ffn_gate_inp.weight")->type->name == std::string("F32"));

  WriteGguf(SampleOf("phi3-longrope"), path, "Q4_0");
  gguf = Gguf::Open(path);
  CHECK(gguf->Find("rope_factors_long.weight")->shape == std::vector<uint64_t>{12});
  CHECK(gguf->Find("blk.0.attn_qkv.weight")->shape == std::vector<uint64_t>{288, 96});
  CHECK(gguf->metadata().Uint("phi3.rope.scaling.original_context_length", 0, 999) == 64);

  WriteGguf(SampleOf("glm4"), path, "F32");
  gguf = Gguf::Open(path);
  CHECK(gguf->Find("blk.0.post_ffw_norm.weight") != nullptr);
  CHECK(gguf->metadata().Uint("glm4.rope.dimension_count", 0, 99) == 12);
  CHECK(gguf->metadata().Array("tokenizer.ggml.tokens", GgufType::kString).count == kVocab);
}
