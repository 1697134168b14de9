// A session's adapters.
#include <new>

#include "lib/adapter_set.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "lib/session.h"
#include "lib/system/free_memory.h"
#include "quant/f16.h"

namespace glint {
namespace {

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
  try {
    Use(MakeAdapterSet(adapters, model_));
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(model_.file().path() + ": out of memory for the adapters of a session");
  }
  profile_ = nullptr;
  // What the cache holds was computed with other weights, and sees another prefix.
  held_ = written_ = kept_ = floor_ = 0;
  length_ = prompt_length_ = batch_size_ = 0;
}

void Session::Use(AdapterSet set) {
  const size_t prefix = set.prefix_length();
  std::unique_ptr<Plan> prompt_plan =
      MakePlan(PromptPlanOptions(model_, options_), set.low_rank, prefix);
  std::unique_ptr<Plan> batch_plan =
      MakePlan(BatchPlanOptions(model_, options_), set.low_rank, prefix);
  std::unique_ptr<KvCache> cache;
  if (!cache_ || prefix != prefix_length_) {
    cache = std::make_unique<KvCache>(CacheShape(*prompt_plan, options_));
  }
  if (set.prefix) StorePrefix(*set.prefix, *prompt_plan, cache ? *cache : *cache_);
  prompt_plan_ = std::move(prompt_plan);
  batch_plan_ = std::move(batch_plan);
  if (cache) cache_ = std::move(cache);
  adapters_ = std::move(set.active);
  prefix_length_ = prefix;
}

// Entry i of the prefix is entry i of the cache. Keys go in as they are: they have no position.
void Session::StorePrefix(const Adapter& prefix, const Plan& plan,
                          const KvCache& cache) const {
  const size_t heads = plan.kv_heads(), head_dim = plan.head_dim();
  const auto store = kernels_.kv_store[static_cast<size_t>(cache.type())];
  std::vector<float> key(head_dim), value(head_dim);
  for (size_t layer = 0; layer < plan.n_layers(); ++layer) {
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
