#include "tests/fuzz/bases.h"

#include <array>

#include "formats/glint_writer.h"
#include "tests/fuzz/folder_parts.h"
#include "tests/fuzz/fuzz_samples.h"
#include "tests/fuzz/target.h"
#include "tests/test_util.h"

namespace glint::fuzz {
namespace {

constexpr const char* kNames[kBases] = {"llama", "chatglm", "gemma2"};

test::SampleModel SampleOf(Base base) {
  return base == Base::kGlm ? test::GlmSample() : TinyModel(kNames[static_cast<size_t>(base)]);
}

// The same model with scales beside each norm of a layer's input, as calibration leaves them.
std::unique_ptr<Model> WithFoldedScales(const Model& model) {
  std::vector<TensorPlan> plan;
  std::vector<std::string> data;
  for (const Tensor& tensor : model.file().tensors()) {
    plan.push_back({tensor.name, tensor.dtype, tensor.offset, tensor.shape, ""});
    data.emplace_back(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
  }
  for (const Node& node : model.graph().nodes) {
    if (node.op != "rms_norm") continue;
    const Tensor& norm = *model.file().Find(node.inputs[1]);
    plan.push_back({norm.name + kFoldedEnding, DType::kF32, BlockOffset::kNone, norm.shape, ""});
    data.push_back(test::Floats(std::vector<float>(norm.shape[0], 1.25f)));
  }
  const std::string path = Folder() + "/folded.glint";
  GlintWriter writer(path, model.file().header(), plan, true);
  for (size_t i = 0; i < plan.size(); ++i) writer.Write(i, 0, data[i].data(), data[i].size());
  writer.Finish();
  return Model::Open(path);
}

std::unique_ptr<Model> MakeModel(Base base) {
  auto model = test::ConvertAndOpen(test::WriteFolder(SampleOf(base), "F16"), DType::kInt4, false);
  return base == Base::kLlama ? WithFoldedScales(*model) : std::move(model);
}

std::string PartsOf(const std::string& folder, const std::vector<std::string>& names) {
  std::string input;
  for (const std::string& name : names) {
    input += (input.empty() ? "" : "\n") + std::string(kPartMark) + name + "\n" +
             ReadFile(folder + "/" + name);
  }
  return input;
}

}  // namespace

const Model& ModelOf(Base base) {
  static std::array<std::unique_ptr<Model>, kBases> models;
  std::unique_ptr<Model>& model = models[static_cast<size_t>(base)];
  if (!model) model = MakeModel(base);
  return *model;
}

const Adapter& AdapterOf(Base base) {
  static std::array<std::unique_ptr<Adapter>, kBases> adapters;
  std::unique_ptr<Adapter>& adapter = adapters[static_cast<size_t>(base)];
  if (!adapter) {
    const std::string path = TempDir() + "/adapter.glint";
    WriteFile(path, ConvertedAdapter(base == Base::kGlm ? PrefixFolder(false) : PeftFolder(base),
                                     DType::kF16));
    adapter = Adapter::Open(ModelOf(base), path);
  }
  return *adapter;
}

Base BaseOf(std::string_view text) {
  for (const Base base : {Base::kGlm, Base::kGemma2}) {
    if (text.find(kNames[static_cast<size_t>(base)]) != text.npos) return base;
  }
  return Base::kLlama;
}

std::string PeftFolder(Base base) {
  test::LoraSample lora = test::MakeLora(
      SampleOf(base).tensors, {"layers.0.self_attn.q_proj", "v_proj", "mlp.down_proj"}, 2, 3, 1);
  lora.config["base_model_name_or_path"] = kNames[static_cast<size_t>(base)];
  return PartsOf(test::WriteLora(lora), {"adapter_config.json", "adapter_model.safetensors"});
}

std::string PrefixFolder(bool projects) {
  nlohmann::json config = test::GlmSample().config;
  constexpr size_t kLength = 3, kWidth = 2 * 2 * 64, kInner = 4;
  const std::string folder = test::WritePrefix(config, test::MakePrefix(kLength, kWidth, 1));
  if (projects) {
    config["pre_seq_len"] = kLength;
    config["prefix_projection"] = true;
    WriteFile(folder + "/config.json", config.dump(2));
    test::SampleNumbers numbers(2);
    const std::string at = "transformer.prefix_encoder.";
    test::WriteTensors(folder + "/model.safetensors",
                       {{at + "embedding.weight", numbers.Tensor({kLength, kWidth}, 0.5f)},
                        {at + "trans.0.weight", numbers.Tensor({kInner, kWidth}, 0.5f)},
                        {at + "trans.0.bias", numbers.Tensor({kInner}, 0.5f)},
                        {at + "trans.2.weight", numbers.Tensor({kWidth, kInner}, 0.5f)},
                        {at + "trans.2.bias", numbers.Tensor({kWidth}, 0.5f)}});
  }
  return PartsOf(folder, {"config.json", "model.safetensors"});
}

std::string ConvertedAdapter(const std::string& input, DType type) {
  AdapterConvertOptions options;
  options.source = Folder() + "/adapter";
  WriteParts(input, options.source);
  options.base = &ModelOf(BaseOf(input)).file();
  options.type = type;
  options.write.output = Folder() + "/adapter.glint";
  options.write.overwrite = true;
  options.write.threads = 1;
  ConvertAdapter(options);
  return ReadFile(options.write.output);
}

std::string ConvertedModel(const std::string& name, DType type) {
  const std::string bytes = TinyGguf(TinyModel(name), "F16");
  ConvertOptions options;
  options.source = AsFile({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "m.gguf");
  options.write.output = Folder() + "/m.glint";
  options.write.overwrite = true;
  options.write.threads = 1;
  options.has_type = true;
  options.type = type;
  Convert(options);
  return ReadFile(options.write.output);
}

}  // namespace glint::fuzz
