// A session's adapters.
#include <cmath>
#include <new>

#include "lib/error.h"
#include "lib/fp_mode.h"
#include "lib/free_memory.h"
#include "lib/session.h"
#include "quant/f16.h"

namespace glint {
namespace {

// What the uses come to: the changes of each matrix, in their order, and at most one prefix.
struct Uses {
  std::vector<AdapterUse> active;
  LowRankMap low_rank;
  const Adapter* prefix = nullptr;
};

void AddPrefix(const AdapterUse& use, Uses* uses) {
  const std::string& path = use.adapter->file().path();
  if (use.scale != 1) {
    throw Error(path + ": a prefix has no scale but 1 (or 0), found " + std::to_string(use.scale));
  }
  if (uses->prefix) {
    throw Error(path + ": a session has one prefix at most, and has " +
                uses->prefix->file().path());
  }
  uses->prefix = use.adapter;
}

void AddLora(const AdapterUse& use, Uses* uses) {
  for (const auto& [weight, changes] : use.adapter->low_rank()) {
    for (LowRank change : changes) {
      change.scale *= use.scale;
      if (!std::isfinite(change.scale)) {
        throw Error(use.adapter->file().path() + ": scale " + std::to_string(use.scale) +
                    " is too large for weight " + Quoted(weight));
      }
      uses->low_rank[weight].push_back(change);
    }
  }
}

Uses Collect(std::span<const AdapterUse> adapters, const Model& model) {
  Uses uses;
  for (const AdapterUse& use : adapters) {
    if (!use.adapter) throw Error("an adapter is null");
    const std::string& path = use.adapter->file().path();
    if (&use.adapter->model() != &model) {
      throw Error(path + ": was opened for another model than " + model.file().path());
    }
    if (!std::isfinite(use.scale)) throw Error(path + ": its scale is not finite");
    if (use.scale == 0) continue;
    // A prefix is read now.
    if (!use.adapter->file().Unchanged()) throw Error(path + ": the file changed while it was open");
    uses.active.push_back(use);
    use.adapter->is_prefix() ? AddPrefix(use, &uses) : AddLora(use, &uses);
  }
  return uses;
}

// `count` elements from element `begin` of a plain vector of floats.
void ReadElements(const Tensor& tensor, size_t begin, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    const size_t at = begin + i;
    out[i] = tensor.dtype == DType::kF32   ? tensor.As<float>()[at]
             : tensor.dtype == DType::kF16 ? F16ToF32(tensor.As<uint16_t>()[at])
                                           : BF16ToF32(tensor.As<uint16_t>()[at]);
  }
}

}  // namespace

void Session::SetAdapters(std::span<const AdapterUse> adapters) {
  const FpModeScope fp_mode;
  Uses uses = Collect(adapters, model_);
  const size_t prefix = uses.prefix ? uses.prefix->prefix_length() : 0;
  try {
    std::unique_ptr<Plan> prompt_plan =
        MakePlan(PromptPlanOptions(model_, options_), uses.low_rank, prefix);
    std::unique_ptr<Plan> batch_plan =
        MakePlan(BatchPlanOptions(model_, options_), uses.low_rank, prefix);
    std::unique_ptr<KvCache> cache;
    // Tokens have as much room as without a prefix.
    if (prefix != prefix_length_) {
      KvShape shape = CacheShape(*prompt_plan, options_);
      shape.capacity += prefix;
      cache = std::make_unique<KvCache>(shape);
    }
    if (uses.prefix) StorePrefix(*uses.prefix, cache ? *cache : *cache_);
    prompt_plan_ = std::move(prompt_plan);
    batch_plan_ = std::move(batch_plan);
    if (cache) cache_ = std::move(cache);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(model_.file().path() + ": out of memory for the adapters of a session");
  }
  adapters_ = std::move(uses.active);
  prefix_length_ = prefix;
  profile_ = nullptr;
  // What the cache holds was computed with other weights, and sees another prefix.
  held_ = written_ = kept_ = floor_ = 0;
  length_ = prompt_length_ = batch_size_ = 0;
}

// Entry i of the prefix is entry i of the cache. Keys go in as they are: they have no position.
void Session::StorePrefix(const Adapter& prefix, const KvCache& cache) const {
  const size_t heads = prompt_plan_->kv_heads(), head_dim = prompt_plan_->head_dim();
  const auto store = kernels_.kv_store[static_cast<size_t>(cache.type())];
  std::vector<float> key(head_dim), value(head_dim);
  for (size_t layer = 0; layer < prompt_plan_->n_layers(); ++layer) {
    for (size_t i = 0; i < prefix.prefix_length(); ++i) {
      for (size_t h = 0; h < heads; ++h) {
        const size_t begin = (i * heads + h) * head_dim;
        ReadElements(prefix.PrefixKeys(layer), begin, head_dim, key.data());
        ReadElements(prefix.PrefixValues(layer), begin, head_dim, value.data());
        store(key.data(), value.data(), head_dim, cache.Block(layer, h, i / kKeyBlock),
              i % kKeyBlock);
      }
    }
  }
}

}  // namespace glint
