// LoRAs as PEFT writes them in PyTorch's format, and on a base whose columns GPTQ has put into
// another order.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/adapter_samples.h"
#include "tests/golden_cases.h"
#include "tests/packed_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

const std::vector<std::string> kModules = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                           "gate_proj", "up_proj", "down_proj"};

SessionOptions Exact() {
  SessionOptions options = ExactSession();
  options.context = 64;
  options.chunk = 7;
  return options;
}

std::vector<int32_t> SomeIds(size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(1 + i * 29 % 90));
  return ids;
}

std::vector<float> LogitsWith(const Model& model, const Adapter* adapter,
                              std::span<const int32_t> ids) {
  Session session(model, Exact());
  if (adapter) session.SetAdapters(std::vector<AdapterUse>{{adapter, 1}});
  return AllLogits(session, ids);
}

double RelativeError(std::span<const float> got, std::span<const double> want) {
  REQUIRE(got.size() == want.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - want[i], 2);
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

// adapter_model.bin with these tensors. Each two lie in one storage.
void WriteAsBin(const std::string& folder, const TensorMap& tensors) {
  const auto n = [](size_t size) { return static_cast<int64_t>(size); };
  std::string pickle;
  std::vector<std::string> storages;
  for (auto first = tensors.begin(); first != tensors.end();) {
    const auto second = std::next(first);
    REQUIRE(second != tensors.end());
    const size_t n_first = first->second.values.size(), n_second = second->second.values.size();
    const std::string storage =
        Storage("FloatStorage", std::to_string(storages.size()), n(n_first + n_second));
    for (const auto& [tensor, offset] : {std::pair{first, size_t{0}}, std::pair{second, n_first}}) {
      const size_t rows = tensor->second.shape[0], cols = tensor->second.shape[1];
      pickle += Str(tensor->first) +
                Rebuild(storage, n(offset), Longs({n(rows), n(cols)}), Longs({n(cols), 1}));
    }
    storages.push_back(Floats(first->second.values) + Floats(second->second.values));
    first = std::next(second);
  }
  WriteFile(folder + "/adapter_model.bin", Torch(DictPickle(pickle), storages));
}

}  // namespace

TEST_CASE("adapter_model.bin is what adapter_model.safetensors is") {
  const SampleModel sample = SampleOf("llama");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const LoraSample lora = MakeLora(sample.tensors, kModules, 4, 6, 11);
  const std::string folder = WriteLora(lora);
  const auto plain = ConvertAdapterAndOpen(*model, folder);
  std::filesystem::remove(folder + "/adapter_model.safetensors");
  WriteAsBin(folder, lora.tensors);
  const auto from_bin = ConvertAdapterAndOpen(*model, folder);
  REQUIRE(from_bin->file().tensors().size() == plain->file().tensors().size());
  CHECK(ReadFile(from_bin->file().path()) == ReadFile(plain->file().path()));
  const std::vector<int32_t> ids = SampleIds(sample, 20);
  CHECK(LogitsWith(*model, from_bin.get(), ids) == LogitsWith(*model, plain.get(), ids));
  CHECK(LogitsWith(*model, from_bin.get(), ids) != LogitsWith(*model, nullptr, ids));
}

TEST_CASE("on a base in act-order a LoRA reads the inputs as they were before they are gathered") {
  for (const bool shared_order : {false, true}) {
    CAPTURE(shared_order);
    LlamaShape shape;
    shape.hidden_dim = 176;
    PackedOptions options;
    options.act_order = true;
    options.shared_order = shared_order;
    const PackedFolder folder = PackedWriter(shape, options).Write();
    TensorMap tensors;
    ForLlamaTensors(shape, [&](const std::string& name, size_t rows, size_t cols) {
      if (name.ends_with("inv_freq")) return;
      tensors[name] = {cols == 0 ? std::vector{rows} : std::vector{rows, cols},
                       folder.weights.at(name)};
    });
    nlohmann::json config = nlohmann::json::parse(ReadFile(folder.path + "/config.json"));
    config["rms_norm_eps"] = 1e-6;  // transformers' default
    const LoraSample lora = MakeLora(tensors, kModules, 4, 6, 11);
    const std::string lora_folder = WriteLora(lora);
    const std::vector<int32_t> ids = SomeIds(30);
    const std::vector<double> base = PlainLogits(config, tensors, ids);
    const std::vector<double> want = PlainLogits(config, Merged(tensors, lora), ids);

    for (const bool packed : {false, true}) {
      CAPTURE(packed);
      ConvertOptions convert;
      convert.source = folder.path;
      convert.has_type = !packed;
      convert.type = DType::kF32;
      convert.write.output = TempDir() + "/model.glint";
      Convert(convert);
      const std::unique_ptr<Model> model = Model::Open(convert.write.output);
      size_t gathers = 0;
      for (const Node& node : model->graph().nodes) gathers += node.op == "gather";
      REQUIRE(gathers >= 4 * shape.n_layers);
      const auto adapter = ConvertAdapterAndOpen(*model, lora_folder);
      // Where the weights are packed, activations are bytes: packed_import_test has 0.02 to 0.05.
      const double tolerance = packed ? 0.08 : 1e-5;
      CHECK(RelativeError(LogitsWith(*model, nullptr, ids), base) < tolerance);
      const std::vector<float> got = LogitsWith(*model, adapter.get(), ids);
      CHECK(RelativeError(got, want) < tolerance);
      CHECK(RelativeError(got, base) > 0.3);
    }
  }
}
