#pragma once
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "lib/plan.h"

namespace glint {

// What an op's `plan` works with: it appends steps, names where their inputs and outputs lie, and asks
// for scratch memory. Liveness and addresses are settled after the last node (lib/plan.cc).
class PlanBuilder {
 public:
  PlanBuilder(Plan& plan, const Graph& graph, const FindTensor& find_tensor,
              RopeTables& rope_tables);

  const PlanOptions& options() const { return plan_.options_; }

  // A new step of `node`: its activations, tensors and graph inputs resolved, its output not.
  Step& AddStep(const Node& node, Step::Run run);
  // Gives the step's output a buffer of its own, `width` floats a row, cut into equal heads.
  void SetOutput(Step& step, const Node& node, uint64_t width, uint64_t heads = 1);
  // Makes `name` a view of `base`, without a step.
  void SetView(const std::string& name, const ActivationRef& base) { places_[name] = base; }
  const ActivationRef& Place(const std::string& name) const { return places_.at(name); }
  const Tensor& TensorOf(const std::string& tensor) const { return *find_tensor_(tensor); }
  MatrixView Matrix(const std::string& tensor) const { return ViewOf(*find_tensor_(tensor)); }
  // `value`, which a linear of `reader` wants, as bytes: made once for all linears that read it with
  // weights of one type, by the step that makes the value if that makes whole rows.
  QuantizedRef Quantized(const Node& reader, const std::string& value, uint64_t cols,
                         DType weights);
  // The latest step if it is a linear that makes `value` for nobody else than the caller, who may
  // then set its epilogue instead of adding a step; null otherwise.
  Step* LinearToExtend(const std::string& value);
  // The changes that a matrix is to have.
  std::span<const LowRank> LowRankOf(const std::string& matrix) const;
  // Where `value` is, or if a gather has made it, what that has gathered from.
  const ActivationRef& BeforeGather(const std::string& value) const;
  // `node` is done by `step`, in place: its output is the step's.
  void Fuse(Step& step, const Node& node);
  // Scratch memory of the step that lives only while it runs.
  void SetScratch(Step& step, uint64_t bytes);
  // The following steps belong to a new segment.
  void CutSegment() { ++segment_; }
  // cos and sin tables for this session's context, shared by all steps that want the same.
  const RopeTable* RopeTableOf(RopeSpec spec);
  // Records what the attention of `layer` stores.
  void UseCache(size_t layer, size_t kv_heads, size_t head_dim, size_t window);

 private:
  friend class Plan;
  void AllocateArena();

  uint32_t AddPseudoBuffer(uint64_t bytes);

  Plan& plan_;
  const FindTensor& find_tensor_;
  std::map<std::string, size_t> readers_;  // of each value; the graph's caller is one
  std::map<std::string, ActivationRef> places_;
  std::map<std::tuple<std::string, uint32_t, DType>, QuantizedRef> quantized_;  // value, segment
  RopeTables& rope_tables_;
  std::map<uint32_t, uint64_t> scratch_bytes_;  // by buffer
  uint32_t segment_ = 0;
};

}  // namespace glint
