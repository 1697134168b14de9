#include "lib/memory_estimate.h"

#include <algorithm>
#include <cstdio>

#include "lib/adapter_set.h"
#include "lib/checked_math.h"
#include "lib/error.h"

namespace glint {
namespace {

// Contexts are proposed in steps of this.
constexpr size_t kStep = 100;

std::string BytesText(uint64_t bytes) {
  constexpr double kMib = 1 << 20, kGib = 1 << 30;
  const auto value = static_cast<double>(bytes);
  char text[32];
  std::snprintf(text, sizeof text, value < kGib ? "%.0f MiB" : "%.1f GiB",
                value / (value < kGib ? kMib : kGib));
  return text;
}

// "a context of 5000 would fit"
std::string WayOut(const Model& model, const SessionOptions& options, uint64_t room,
                   std::span<const AdapterUse> adapters) {
  const size_t longest = LongestContext(model, options, room, adapters);
  if (longest == 0) return "";
  if (longest == options.context) return "it would fit";
  return "a context of " + std::to_string(longest) + " would fit";
}

}  // namespace

MemoryEstimate EstimateMemory(const Model& model, const SessionOptions& options,
                              std::span<const AdapterUse> adapters) {
  const SessionOptions all = WithDefaults(model, options);
  const AdapterSet set = MakeAdapterSet(adapters, model);
  const FindTensor find = [&](const std::string& name) { return model.file().Find(name); };
  RopeTables rope_tables;
  PlanOptions prompt_options = PromptPlanOptions(model, all);
  PlanOptions batch_options = BatchPlanOptions(model, all);
  for (PlanOptions* plan : {&prompt_options, &batch_options}) {
    plan->sizes_only = true;
    plan->low_rank = set.low_rank.empty() ? nullptr : &set.low_rank;
    plan->prefix = set.prefix_length();
  }
  const Graph& graph = model.graph(all.output);
  const Plan prompt(graph, find, prompt_options, &rope_tables);
  const Plan batch(graph, find, batch_options, &rope_tables);
  KvShape shape = CacheShape(prompt, all);
  MemoryEstimate estimate;
  estimate.cache = KvLayout(shape).bytes();
  shape.windows.clear();
  estimate.cache_without_windows = KvLayout(shape).bytes();
  estimate.activations = CheckedPlus(prompt.arena_bytes(), batch.arena_bytes(), "activations");
  for (const auto& [name, table] : rope_tables) estimate.rope_tables += table->bytes;
  estimate.rows = (shape.run * model.positions().n_positions + all.context) * sizeof(int32_t) +
                  model.OutputSize(all.output) * sizeof(float);
  return estimate;
}

size_t LongestContext(const Model& model, const SessionOptions& options, uint64_t bytes,
                      std::span<const AdapterUse> adapters) {
  SessionOptions tried = WithDefaults(model, options);
  const auto fits = [&](size_t context) {
    tried.context = context;
    return EstimateMemory(model, tried, adapters).Total() <= bytes;
  };
  const size_t wanted = tried.context;
  if (fits(wanted)) return wanted;
  size_t low = 0, high = (wanted + kStep - 1) / kStep;  // in steps: fits, and does not
  while (low + 1 < high) {
    const size_t middle = (low + high) / 2;
    (fits(middle * kStep) ? low : high) = middle;
  }
  return low * kStep;
}

void CheckMemory(const Model& model, const SessionOptions& options, uint64_t free,
                 std::span<const AdapterUse> adapters) {
  const MemoryEstimate estimate = EstimateMemory(model, options, adapters);
  const uint64_t room = std::max(free, kAlwaysFits);
  if (estimate.Total() <= room) return;
  SessionOptions all = WithDefaults(model, options);
  std::string message = "needs " + BytesText(estimate.Total()) + " (cache " +
                        BytesText(estimate.cache) + " of " + std::to_string(all.context) +
                        " tokens, activations " + BytesText(estimate.activations) +
                        ", rotary tables " + BytesText(estimate.rope_tables) +
                        "); this machine has " + BytesText(free) + " free";
  const std::string shorter = WayOut(model, all, room, adapters);
  if (!shorter.empty()) message += "; " + shorter;
  if (all.kv != KvType::kInt8) {
    all.kv = KvType::kInt8;
    const std::string smaller = WayOut(model, all, room, adapters);
    if (!smaller.empty()) message += "; with a cache in int8 " + smaller;
  }
  throw OutOfMemory(message);
}

}  // namespace glint
