#include "lib/profile.h"

#include <algorithm>
#include <chrono>

namespace glint {
namespace {

// "layer.*.qkv.weight" of "layer.3.qkv.weight".
std::string WithoutNumber(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return name;
  const size_t end = std::min(name.find_first_not_of("0123456789", dot + 1), name.size());
  return end > dot + 1 ? name.substr(0, dot + 1) + "*" + name.substr(end) : name;
}

bool HasMatrix(const Step& step) {
  return step.matrix.layout.rows != 0;
}
// An embedding has a matrix, but no activation that meets it.
bool Multiplies(const Step& step) {
  return HasMatrix(step) && (step.quantized_in || !step.in.empty());
}
// The step that stores keys and values has no output.
bool ReadsCache(const Step& step) {
  return step.kv_heads != 0 && step.out.width != 0;
}

ProfileEntry Describe(const Step& step) {
  ProfileEntry entry;
  const Node& node = *step.node;
  entry.op = step.label;
  entry.what = WithoutNumber(step.label == "quantize" ? node.inputs[0] : node.outputs[0]);
  if (HasMatrix(step)) {
    const MatrixLayout& layout = step.matrix.layout;
    const std::span<const std::string> weights = WeightsOf(node);
    entry.what = WithoutNumber(weights.empty() ? node.inputs[1] : weights[0]);
    entry.type =
        std::string(Info(layout.dtype).name) + " " +
        ToString(Shape{static_cast<int64_t>(layout.rows), static_cast<int64_t>(layout.cols)});
  }
  return entry;
}

void Add(const Step& step, const Profile::Row& row, double cache_row_bytes, ProfileEntry* entry) {
  if (Multiplies(step)) {
    const MatrixLayout& layout = step.matrix.layout;
    const auto matrices = static_cast<double>(std::max<size_t>(1, step.top_k));
    entry->macs += static_cast<double>(layout.rows) * static_cast<double>(layout.cols) * matrices *
                   static_cast<double>(row.tokens);
    // Which experts several tokens meet is not recorded.
    if (step.top_k == 0 || row.tokens == row.calls) {
      entry->bytes += static_cast<double>(layout.bytes) * matrices * static_cast<double>(row.calls);
    }
  }
  // Many tokens read the cache once per group of queries, mostly from the processor's caches.
  if (ReadsCache(step) && row.tokens == row.calls) {
    entry->bytes += cache_row_bytes * static_cast<double>(row.cache_rows);
  }
}

}  // namespace

int64_t Profile::Clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Profile::End(size_t index, uint64_t tokens, uint64_t cache_rows) {
  Row& row = rows_[index];
  const int64_t now = Clock(), busy = busy_.load(std::memory_order_relaxed);
  ++row.calls;
  row.tokens += tokens;
  row.cache_rows += cache_rows;
  row.ns += now - at_;
  row.busy_ns += busy - busy_at_;
  at_ = now;
  busy_at_ = busy;
}

std::vector<ProfileEntry> Summarize(const Profile& profile, const KvCache& cache) {
  const std::vector<Step>& steps = profile.plan().steps();
  const auto cache_row_bytes = static_cast<double>(cache.position_bytes());
  std::vector<ProfileEntry> entries;
  for (size_t i = 0; i < profile.rows().size(); ++i) {
    const Profile::Row& row = profile.rows()[i];
    if (row.calls == 0) continue;
    ProfileEntry own;
    own.op = i == profile.InputsRow() ? "inputs" : "outputs";
    if (i < steps.size()) own = Describe(steps[i]);
    const auto same = std::find_if(entries.begin(), entries.end(), [&](const ProfileEntry& entry) {
      return entry.op == own.op && entry.what == own.what && entry.type == own.type;
    });
    ProfileEntry& entry = same != entries.end() ? *same : entries.emplace_back(own);
    entry.calls += row.calls;
    entry.seconds += static_cast<double>(row.ns) * 1e-9;
    entry.busy_seconds += static_cast<double>(row.busy_ns) * 1e-9;
    if (i < steps.size()) Add(steps[i], row, cache_row_bytes, &entry);
  }
  return entries;
}

}  // namespace glint
