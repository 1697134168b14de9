#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "formats/glint_file.h"
#include "lib/low_rank.h"
#include "lib/model.h"

namespace glint {

// What a small file adds to a model without touching it (docs/ADAPTERS.md): a P-Tuning v2 prefix (Liu et
// al. 2021), keys and values of each layer that every token sees; or a LoRA (Hu et al. 2021), changes of
// low rank to matrices. Immutable; sessions on any threads may share it. It must outlive those that use
// it, and the model must outlive it.
class Adapter {
 public:
  enum class Kind : uint8_t { kPrefix, kLora };

  // Opens a .glint file of a prefix or a LoRA, and checks that it fits the model and that all its numbers
  // are finite. Throws Error.
  static std::unique_ptr<Adapter> Open(const Model& model, const std::string& path,
                                       LoadMode mode = LoadMode::kMap);
  static std::unique_ptr<Adapter> FromMemory(const Model& model, const void* data, uint64_t size,
                                             const std::string& name,
                                             std::shared_ptr<const void> owner = nullptr);

  const std::string& kind() const;  // "prefix" or "lora"
  bool is_prefix() const { return kind_ == Kind::kPrefix; }
  const Model& model() const { return model_; }
  const GlintFile& file() const { return *file_; }

  // Of a prefix: its entries, and what they are in a layer: (length, kv_heads, head_dim), keys rotated
  // already, if they are at all.
  size_t prefix_length() const { return prefix_length_; }
  const Tensor& PrefixKeys(size_t layer) const { return *prefix_[layer].keys; }
  const Tensor& PrefixValues(size_t layer) const { return *prefix_[layer].values; }

  // Of a LoRA: by the names of the model's matrices.
  const LowRankMap& low_rank() const { return low_rank_; }

 private:
  struct PrefixLayer {
    const Tensor *keys, *values;
  };
  Adapter(const Model& model, std::unique_ptr<GlintFile> file);
  void CheckBase() const;
  void CheckNumbers() const;
  void ReadPrefix();
  void ReadLora();
  void AddTarget(const nlohmann::json& target, const std::string& where);
  const Tensor& TensorOf(const std::string& name, const char* what) const;
  const Node& LinearOf(const std::string& weight, const std::string& where) const;
  const Tensor* FoldedScales(const Node& linear) const;
  MatrixView TimesColumns(const MatrixView& a, const float* scales);

  const Model& model_;
  std::unique_ptr<GlintFile> file_;
  Kind kind_ = Kind::kPrefix;
  size_t prefix_length_ = 0;
  std::vector<PrefixLayer> prefix_;  // (n_layers)
  LowRankMap low_rank_;
  // Matrices of f32 that are not those of the file.
  struct alignas(64) Line {
    float lanes[kTileRows];
  };
  std::vector<std::vector<Line>> made_;
};

// One adapter of those that a session has (Session::SetAdapters). A LoRA's own scale is multiplied by
// `scale`; 0 is as if it were not there. A prefix has 1, or 0.
struct AdapterUse {
  const Adapter* adapter = nullptr;
  float scale = 1;
};

// The kind of adapter that a file is, by its header: "prefix", "lora", or "" for a model.
std::string AdapterKindOf(const GlintFile& file);

}  // namespace glint
