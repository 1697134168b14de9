// P-Tuning prefixes and LoRAs against plain implementations in double: a LoRA is judged by the
// merged weights, a prefix by what THUDM's code does with it (tests/plain_decoder.h,
// tests/plain_glm.h).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "formats/import/checkpoint.h"
#include "lib/adapter_set.h"
#include "tests/adapter_samples.h"
#include "tests/golden_cases.h"

using namespace glint;
using namespace glint::test;

namespace {

using Judge = std::function<std::vector<double>(std::span<const int32_t> ids)>;

SampleModel Sample(const std::string& name) {
  return name == "glm1" ? GlmSample() : SampleOf(name);
}
std::vector<int32_t> IdsOf(const SampleModel& sample, size_t n) {
  return sample.name == "glm1" ? GlmIds(n) : SampleIds(sample, n);
}
Judge JudgeOf(const SampleModel& sample, TensorMap tensors, size_t context,
              const PlainPrefix* prefix = nullptr) {
  return [=, config = sample.config, is_glm = sample.name == "glm1"](std::span<const int32_t> ids) {
    return is_glm ? PlainGlmLogits(config, tensors, ids, prefix)
                  : PlainLogits(config, tensors, ids, context, prefix);
  };
}

SessionOptions Exact(size_t context, size_t chunk = 7) {
  SessionOptions options = ExactSession();
  options.context = context;
  options.chunk = chunk;
  options.max_batch = 3;
  return options;
}

double Difference(std::span<const double> want, std::span<const float> got) {
  REQUIRE(want.size() == got.size());
  double difference = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double d = std::fabs(want[i] - static_cast<double>(got[i]));
    difference = std::isnan(d) ? INFINITY : std::max(difference, d);
  }
  return difference;
}

// Logits of a prompt and of greedy tokens after it, some of them taken back and appended again.
void CheckSession(Session& session, const Judge& judge, std::vector<int32_t> ids) {
  const size_t vocab = session.model().n_outputs(), prompt = ids.size();
  const std::vector<float> got = AllLogits(session, ids);
  CHECK(Difference(judge(ids), got) <= static_cast<double>(kTolerance));
  REQUIRE(session.Start(ids) == Status::kOk);
  for (size_t step = 0; step < 6; ++step) {
    CAPTURE(step);
    const std::vector<double> want = judge(ids);
    const double* last = want.data() + (ids.size() - 1) * vocab;
    CHECK(Difference({last, vocab}, session.logits()) <= static_cast<double>(kTolerance));
    const int32_t id = Sampler::Greedy(session.logits());
    CHECK(id == std::max_element(last, last + vocab) - last);
    if (step == 3) {
      // A batch of other tokens, taken back.
      const std::vector<int32_t> other = {5, 6, 7};
      REQUIRE(session.AppendBatch(other) == Status::kOk);
      session.Truncate(ids.size());
    }
    REQUIRE(session.Append(id) == Status::kOk);
    ids.push_back(id);
  }
  session.Truncate(prompt + 1);
  REQUIRE(session.Append(ids[prompt + 1]) == Status::kOk);
  ids.resize(prompt + 2);
  const std::vector<double> want = judge(ids);
  CHECK(Difference({want.data() + (ids.size() - 1) * vocab, vocab}, session.logits()) <=
        static_cast<double>(kTolerance));
}

std::vector<AdapterUse> Uses(std::initializer_list<AdapterUse> uses) {
  return uses;
}

const std::vector<std::string> kLlamaModules = {"q_proj",    "k_proj",  "v_proj",    "o_proj",
                                                "gate_proj", "up_proj", "down_proj", "lm_head"};

// The matrices of a sample's layers that PEFT would be told to change.
std::vector<std::string> ModulesOf(const std::string& sample) {
  if (sample == "glm1") {
    return {"attention.query_key_value", "attention.dense", "dense_h_to_4h", "dense_4h_to_h",
            "lm_head"};
  }
  if (sample.starts_with("chatglm")) {
    return {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "output_layer"};
  }
  if (sample.starts_with("phi3")) return {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"};
  if (sample.starts_with("glm")) return {"q_proj", "v_proj", "gate_up_proj", "down_proj"};
  return kLlamaModules;
}

std::vector<float> Prompt(Session& session, std::span<const int32_t> ids) {
  REQUIRE(session.Start(ids) == Status::kOk);
  return {session.logits().begin(), session.logits().end()};
}

}  // namespace

TEST_CASE("the plain ChatGLM-6B gives what the published code gave") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const std::string folder = ReferenceDir() + "/goldens/chatglm1-tiny/";
  const auto checkpoint = Checkpoint::Open(folder + "model.safetensors");
  TensorMap tensors;
  for (const SourceTensor& t : checkpoint->tensors()) {
    PlainTensor& plain = tensors[t.name];
    plain.shape.assign(t.shape.begin(), t.shape.end());
    plain.values.resize(t.elements);
    checkpoint->ReadF32(t, 0, t.elements, plain.values.data());
  }
  for (const char* name : {"gmask12", "gmask_min", "gmask_answer", "mask_mid", "mask_and_gmask"}) {
    CAPTURE(std::string(name));
    const NpyArray logits = ReadNpy(folder + "cases/" + name + "/logits.npy");
    const std::vector<int32_t> ids = Ids(ReadNpy(folder + "cases/" + name + "/input_ids.npy"));
    const std::vector<double> plain = PlainGlmLogits(checkpoint->config(), tensors, ids);
    CHECK(Difference(plain, logits.floats) < 2e-4);
  }
}

TEST_CASE("a prefix is seen by every token and moves no position") {
  for (const std::string name : {"glm1", "chatglm", "chatglm-no-bias", "chatglm-rope-ratio"}) {
    CAPTURE(name);
    const SampleModel sample = Sample(name);
    const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
    const size_t width = 2 * 2 *
                         (name == "glm1" ? 64
                                         : sample.config["multi_query_group_num"].get<size_t>() *
                                               sample.config["kv_channels"].get<size_t>());
    for (const size_t length : {1, 19, 270}) {
      CAPTURE(length);
      const PlainPrefix prefix = MakePrefix(length, width, length);
      const auto adapter = ConvertAdapterAndOpen(*model, WritePrefix(sample.config, prefix));
      CHECK(adapter->kind() == "prefix");
      CHECK(adapter->prefix_length() == length);
      // The tokens have the whole context, whatever the prefix takes.
      const std::vector<int32_t> ids = IdsOf(sample, 30);
      const size_t context = ids.size() + 8;
      Session session(*model, Exact(context));
      session.SetAdapters(Uses({{adapter.get()}}));
      CheckSession(session, JudgeOf(sample, sample.tensors, context, &prefix), ids);
      session.SetAdapters({});
      CheckSession(session, JudgeOf(sample, sample.tensors, context), ids);
    }
  }
}

TEST_CASE("a context of prompt and reply is full with a prefix where it is without") {
  const SampleModel sample = GlmSample();
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const PlainPrefix prefix = MakePrefix(40, 256, 4);
  const auto adapter = ConvertAdapterAndOpen(*model, WritePrefix(sample.config, prefix));
  const std::vector<int32_t> ids = GlmIds(10);
  Session session(*model, Exact(ids.size() + 2));
  session.SetAdapters(Uses({{adapter.get()}}));
  REQUIRE(session.Start(ids) == Status::kOk);
  CHECK(session.Append(5) == Status::kOk);
  CHECK(session.Append(6) == Status::kOk);
  CHECK(session.Append(7) == Status::kContextFull);
}

TEST_CASE("caches of other types hold a prefix as they hold tokens") {
  const SampleModel sample = SampleOf("chatglm");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const PlainPrefix prefix = MakePrefix(20, 128, 9);
  const auto adapter = ConvertAdapterAndOpen(*model, WritePrefix(sample.config, prefix));
  const std::vector<int32_t> ids = SampleIds(sample, 30);
  const std::vector<double> want = JudgeOf(sample, sample.tensors, 64, &prefix)(ids);
  for (const auto& [type, tolerance] : {std::pair{KvType::kF16, 2e-2}, {KvType::kInt8, 0.25}}) {
    SessionOptions options = Exact(64);
    options.kv = type;
    Session session(*model, options);
    session.SetAdapters(Uses({{adapter.get()}}));
    CHECK(Difference(want, AllLogits(session, ids)) < tolerance);
  }
  // Half floats of the file: as the published code computes it for a model in half.
  const auto half = ConvertAdapterAndOpen(*model, WritePrefix(sample.config, prefix), DType::kF16);
  CHECK(half->PrefixKeys(0).dtype == DType::kF16);
  Session session(*model, Exact(64));
  session.SetAdapters(Uses({{half.get()}}));
  CHECK(Difference(want, AllLogits(session, ids)) < 2e-2);
}

TEST_CASE("what a later prompt shares with the sequence is kept behind a prefix") {
  const SampleModel sample = SampleOf("chatglm");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kInt4);
  const auto adapter =
      ConvertAdapterAndOpen(*model, WritePrefix(sample.config, MakePrefix(20, 128, 9)));
  SessionOptions options = Exact(64);
  options.kv = KvType::kF16;
  Session session(*model, options);
  session.SetAdapters(Uses({{adapter.get()}}));
  std::vector<int32_t> ids = SampleIds(sample, 30);
  Prompt(session, ids);
  ids.insert(ids.end(), {4, 5, 6});
  const std::vector<float> kept = Prompt(session, ids);
  CHECK(session.kept() == 30);
  session.Forget();
  CHECK(Prompt(session, ids) == kept);
  CHECK(session.kept() == 0);
  // Keys and values of another prefix, or of none, serve nobody.
  session.SetAdapters({});
  CHECK(Prompt(session, ids) != kept);
  CHECK(session.kept() == 0);
}

TEST_CASE("prefix_projection is computed at conversion") {
  const SampleModel sample = SampleOf("chatglm");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  SampleNumbers numbers(3);
  const size_t length = 5, hidden = 64, width = 128;
  TensorMap tensors;
  const auto add = [&](const char* name, std::vector<size_t> shape) -> const PlainTensor& {
    return tensors["transformer.prefix_encoder." + std::string(name)] =
               numbers.Tensor(std::move(shape), 0.5f);
  };
  const PlainTensor e = add("embedding.weight", {length, width});
  const PlainTensor w0 = add("trans.0.weight", {hidden, width}), b0 = add("trans.0.bias", {hidden});
  const PlainTensor w2 = add("trans.2.weight", {width, hidden}), b2 = add("trans.2.bias", {width});
  const auto linear = [](const std::vector<double>& x, const PlainTensor& w, const PlainTensor& b) {
    std::vector<double> y;
    for (size_t r = 0; r < w.shape[0]; ++r) {
      double sum = b.values[r];
      for (size_t c = 0; c < x.size(); ++c) sum += x[c] * w.values[r * x.size() + c];
      y.push_back(sum);
    }
    return y;
  };
  PlainPrefix prefix{length, {}};
  for (size_t i = 0; i < length; ++i) {
    std::vector<double> x(e.values.begin() + static_cast<ptrdiff_t>(i * width),
                          e.values.begin() + static_cast<ptrdiff_t>((i + 1) * width));
    x = linear(x, w0, b0);
    for (double& v : x) v = std::tanh(v);
    for (const double v : linear(x, w2, b2)) prefix.rows.push_back(static_cast<float>(v));
  }
  nlohmann::json config = sample.config;
  config["pre_seq_len"] = length;
  config["prefix_projection"] = true;
  const std::string folder = TempDir();
  WriteFile(folder + "/config.json", config.dump());
  WriteTensors(folder + "/model.safetensors", tensors);
  const auto adapter = ConvertAdapterAndOpen(*model, folder);
  for (size_t layer = 0; layer < 2; ++layer) {
    for (size_t i = 0; i < length; ++i) {
      for (size_t j = 0; j < 32; ++j) {
        const float* row = prefix.rows.data() + i * width + layer * 64;
        CHECK(std::fabs(adapter->PrefixKeys(layer).As<float>()[i * 32 + j] - row[j]) < 2e-6f);
        CHECK(std::fabs(adapter->PrefixValues(layer).As<float>()[i * 32 + j] - row[32 + j]) <
              2e-6f);
      }
    }
  }
}

TEST_CASE("a LoRA is the merged weights") {
  for (const std::string name :
       {"llama", "qwen2", "phi3", "chatglm", "gemma2", "glm4", "glm1", "qwen3"}) {
    CAPTURE(name);
    const SampleModel sample = Sample(name);
    const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
    const LoraSample lora = MakeLora(sample.tensors, ModulesOf(name), 4, 6, 11);
    REQUIRE(lora.scales.size() >= 8);
    const auto adapter = ConvertAdapterAndOpen(*model, WriteLora(lora));
    CHECK(adapter->kind() == "lora");
    const std::vector<int32_t> ids = IdsOf(sample, 20);
    const size_t context = ids.size() + 8;
    Session session(*model, Exact(context));
    session.SetAdapters(Uses({{adapter.get()}}));
    CheckSession(session, JudgeOf(sample, Merged(sample.tensors, lora), context), ids);
    session.SetAdapters(Uses({{adapter.get(), -0.5f}}));
    CheckSession(session, JudgeOf(sample, Merged(sample.tensors, lora, -0.5), context), ids);
  }
}

TEST_CASE("patterns of ranks and alphas, and rank-stabilized scales") {
  const SampleModel sample = SampleOf("llama");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  LoraSample lora = MakeLora(sample.tensors, {"q_proj", "down_proj"}, 4, 6, 5);
  const LoraSample wide = MakeLora(sample.tensors, {"v_proj"}, 20, 6, 6);
  lora.tensors.insert(wide.tensors.begin(), wide.tensors.end());
  lora.config["use_rslora"] = true;
  lora.config["rank_pattern"] = {{"v_proj", 20}};
  lora.config["alpha_pattern"] = {{"layers.1.mlp.down_proj", 3}};
  for (const auto& [module, scale] : wide.scales) lora.scales[module] = 6 / std::sqrt(20.0);
  for (auto& [module, scale] : lora.scales) {
    if (!module.ends_with("v_proj")) scale = 3;  // 6 / sqrt(4)
  }
  lora.scales["model.layers.1.mlp.down_proj"] = 1.5;
  const auto adapter = ConvertAdapterAndOpen(*model, WriteLora(lora));
  const std::vector<int32_t> ids = SampleIds(sample, 20);
  Session session(*model, Exact(32));
  session.SetAdapters(Uses({{adapter.get()}}));
  CheckSession(session, JudgeOf(sample, Merged(sample.tensors, lora), 32), ids);
}

TEST_CASE("several at once, in any order, and a prefix with them") {
  const SampleModel sample = SampleOf("chatglm");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const LoraSample one = MakeLora(sample.tensors, ModulesOf("chatglm"), 4, 6, 11);
  const LoraSample two = MakeLora(sample.tensors, {"query_key_value"}, 9, 9, 12);
  const PlainPrefix prefix = MakePrefix(12, 128, 2);
  const auto a = ConvertAdapterAndOpen(*model, WriteLora(one));
  const auto b = ConvertAdapterAndOpen(*model, WriteLora(two), DType::kF32);
  const auto p = ConvertAdapterAndOpen(*model, WritePrefix(sample.config, prefix));
  const std::vector<int32_t> ids = SampleIds(sample, 20);
  const TensorMap merged = Merged(Merged(sample.tensors, one, 0.5), two, 2);
  Session session(*model, Exact(32));
  session.SetAdapters(Uses({{a.get(), 0.5f}, {p.get()}, {b.get(), 2}}));
  CHECK(session.adapters().size() == 3);
  CheckSession(session, JudgeOf(sample, merged, 32, &prefix), ids);
  session.SetAdapters(Uses({{b.get(), 2}, {a.get(), 0.5f}}));
  CheckSession(session, JudgeOf(sample, merged, 32), ids);
}

TEST_CASE("without adapters, and with scales of 0, every bit is the model's") {
  const SampleModel sample = SampleOf("chatglm");
  for (const DType type : {DType::kF32, DType::kInt4}) {
    const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), type);
    const auto lora = ConvertAdapterAndOpen(
        *model, WriteLora(MakeLora(sample.tensors, ModulesOf("chatglm"), 4, 6, 1)));
    const auto prefix =
        ConvertAdapterAndOpen(*model, WritePrefix(sample.config, MakePrefix(20, 128, 9)));
    const std::vector<int32_t> ids = SampleIds(sample, 40);
    Session session(*model, Exact(64));
    const std::vector<float> base = AllLogits(session, ids);
    session.SetAdapters(Uses({{lora.get()}, {prefix.get()}}));
    CHECK(AllLogits(session, ids) != base);
    session.SetAdapters(Uses({{lora.get(), 0}, {prefix.get(), 0}}));
    CHECK(session.adapters().empty());
    CHECK(AllLogits(session, ids) == base);
    session.SetAdapters(Uses({{lora.get()}, {prefix.get()}}));
    session.SetAdapters({});
    CHECK(AllLogits(session, ids) == base);
  }
}

TEST_CASE("on quantized weights a LoRA adds what it adds to their floats") {
  for (const std::string name : {"llama", "chatglm", "glm1"}) {
    for (const DType type : {DType::kInt8, DType::kInt4, DType::kInt4x, DType::kF16}) {
      CAPTURE(name);
      CAPTURE(std::string(Info(type).name));
      const SampleModel sample = Sample(name);
      const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), type);
      // The same numbers in f32: what is left is that activations are bytes.
      const std::unique_ptr<Model> floats = ConvertAndOpen(model->file().path(), DType::kF32);
      const std::string folder = WriteLora(MakeLora(sample.tensors, ModulesOf(name), 4, 6, 21));
      const auto lora = ConvertAdapterAndOpen(*model, folder, DType::kF16);
      const auto float_lora = ConvertAdapterAndOpen(*floats, folder, DType::kF16);
      const std::vector<int32_t> ids = IdsOf(sample, 30);
      Session session(*model, Exact(64)), float_session(*floats, Exact(64));
      const auto error = [&] {
        const std::vector<float> got = AllLogits(session, ids),
                                 want = AllLogits(float_session, ids);
        double sum = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          REQUIRE(std::isfinite(got[i]));
          sum += std::pow(static_cast<double>(got[i]) - static_cast<double>(want[i]), 2);
        }
        return std::sqrt(sum / static_cast<double>(got.size()));
      };
      const double without = error();
      session.SetAdapters(Uses({{lora.get()}}));
      float_session.SetAdapters(Uses({{float_lora.get()}}));
      const double with = error();
      CAPTURE(without);
      CHECK(with <= 2 * without + 1e-5);
    }
  }
}

namespace {

// The checkpoint that a LLaMA in f32 is, with what a recipe has folded into its norms taken out
// again.
TensorMap Unfolded(const GlintFile& file, TensorMap tensors) {
  const auto decoded = [&](const std::string& name) {
    const Tensor& tensor = *file.Find(name);
    std::vector<float> values(tensor.shape[0] * (tensor.IsMatrix() ? tensor.shape[1] : 1));
    if (!tensor.IsMatrix()) {
      std::copy_n(tensor.As<float>(), values.size(), values.begin());
      return values;
    }
    for (uint64_t r = 0; r < tensor.shape[0]; ++r) {
      DecodeRow(ViewOf(tensor), r, values.data() + r * tensor.shape[1]);
    }
    return values;
  };
  // Takes the next rows of `ours`, their columns divided by s.
  const auto take = [&](const std::string& theirs, const std::string& ours, const std::string& norm,
                        size_t first_row = 0) {
    PlainTensor& tensor = tensors.at(theirs + ".weight");
    const std::vector<float> values = decoded(ours);
    const Tensor* scales = file.Find(norm + ".folded");
    const size_t cols = tensor.shape.back(), begin = first_row * cols;
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      const float s = scales ? scales->As<float>()[i % cols] : 1;
      tensor.values[i] = tensor.shape.size() == 1 ? values[i] * s : values[begin + i] / s;
    }
    return first_row + tensor.shape[0];
  };
  take("model.embed_tokens", "embedding", "");
  take("lm_head", "lm_head", "");
  for (size_t i = 0; i < 2; ++i) {
    const std::string theirs = "model.layers." + std::to_string(i) + ".";
    const std::string ours = "layer." + std::to_string(i) + ".";
    const std::string attn = ours + "attn_norm.weight", ffn = ours + "ffn_norm.weight";
    take(theirs + "input_layernorm", attn, attn);
    take(theirs + "post_attention_layernorm", ffn, ffn);
    size_t row = 0;
    for (const char* part : {"q", "k", "v"}) {
      row = take(theirs + "self_attn." + part + "_proj", ours + "qkv.weight", attn, row);
    }
    take(theirs + "self_attn.o_proj", ours + "attn_out.weight", "");
    take(theirs + "mlp.gate_proj", ours + "ffn_gate.weight", ffn);
    take(theirs + "mlp.up_proj", ours + "ffn_up.weight", ffn);
    take(theirs + "mlp.down_proj", ours + "ffn_down.weight", "");
  }
  return tensors;
}

}  // namespace

TEST_CASE("norms that hold scales of a recipe give a LoRA the numbers that it was trained on") {
  // The norms' outputs differ in size, so that scales are worth while.
  SampleModel sample = SampleOf("llama");
  for (auto& [name, tensor] : sample.tensors) {
    if (name.find("layernorm") == std::string::npos) continue;
    for (size_t i = 0; i < tensor.values.size(); i += 31) tensor.values[i] *= 32;
  }
  const std::string windows = TempDir() + "/ids.npy";
  std::string data;
  for (const int32_t id : SampleIds(sample, 64)) data += Bytes(id);
  std::string head = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 32), }";
  head.append(117 - head.size(), ' ');
  WriteFile(windows, "\x93NUMPY\x01"s + std::string(1, '\0') + U16(118) + head + "\n" + data);
  ConvertOptions convert;
  convert.source = WriteFolder(sample);
  convert.has_type = true;
  convert.type = DType::kInt3;
  convert.recipe = Recipe::kBalanced;
  convert.calibrate = windows;
  convert.write.output = TempDir() + "/balanced.glint";
  Convert(convert);
  // A later conversion keeps what was folded; in f32 nothing is lost any more.
  const std::unique_ptr<Model> model = ConvertAndOpen(convert.write.output, DType::kF32);
  REQUIRE(model->file().Find("layer.0.attn_norm.weight.folded"));
  REQUIRE(model->file().Find("layer.1.ffn_norm.weight.folded"));
  const TensorMap tensors = Unfolded(model->file(), sample.tensors);
  const LoraSample lora = MakeLora(sample.tensors, kLlamaModules, 4, 6, 3);
  const auto adapter = ConvertAdapterAndOpen(*model, WriteLora(lora));
  const std::vector<int32_t> ids = SampleIds(sample, 20);
  Session session(*model, Exact(32));
  CheckSession(session, JudgeOf(sample, tensors, 32), ids);
  session.SetAdapters(Uses({{adapter.get()}}));
  CheckSession(session, JudgeOf(sample, Merged(tensors, lora), 32), ids);
  // On the model itself, whose activations are bytes.
  const std::unique_ptr<Model> balanced = Model::Open(convert.write.output);
  const auto same = Adapter::Open(*balanced, adapter->file().path());
  CHECK(BytesOf(*same).made > 0);  // A, times the scales
  Session low(*balanced, Exact(32));
  low.SetAdapters(Uses({{same.get()}}));
  for (const float logit : AllLogits(low, ids)) REQUIRE(std::isfinite(logit));
}
