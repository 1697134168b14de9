#pragma once
#include <memory>
#include <string>
#include <vector>

#include "formats/glint_writer.h"
#include "lib/model.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"

namespace glint::test {

// A LLaMA-type model whose layers have these windows (0: none).
inline std::unique_ptr<Model> WindowModel(const std::vector<int64_t>& windows, DType type = DType::kInt8) {
  LlamaShape shape;
  shape.n_layers = windows.size();
  const std::unique_ptr<Model> model = ConvertAndOpen(LlamaFolder(shape), type, false);
  const GlintFile& file = model->file();
  ModelHeader header = file.header();
  for (Node& node : header.graphs[0].nodes) {
    if (node.op != "attention") continue;
    const auto layer = static_cast<size_t>(std::get<int64_t>(node.attributes.at("layer")));
    if (windows[layer] != 0) node.attributes["window"] = windows[layer];
  }
  std::vector<TensorPlan> plan;
  for (const Tensor& tensor : file.tensors()) {
    plan.push_back({tensor.name, tensor.dtype, tensor.offset, tensor.shape, ""});
  }
  const std::string path = TempDir() + "/windows.glint";
  GlintWriter writer(path, header, plan, false);
  for (size_t i = 0; i < plan.size(); ++i) {
    writer.Write(i, 0, file.tensors()[i].data, file.tensors()[i].bytes);
  }
  writer.Finish();
  return Model::Open(path);
}

}  // namespace glint::test
