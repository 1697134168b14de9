#include "lib/adapter_set.h"

#include <algorithm>
#include <cmath>

#include "lib/error.h"

namespace glint {
namespace {

void AddPrefix(const AdapterUse& use, AdapterSet* set) {
  const std::string& path = use.adapter->file().path();
  if (use.scale != 1) {
    throw Error(path + ": a prefix has no scale but 1 (or 0), found " + std::to_string(use.scale));
  }
  if (set->prefix) {
    throw Error(path + ": a session has one prefix at most, and has " + set->prefix->file().path());
  }
  set->prefix = use.adapter;
}

void AddLora(const AdapterUse& use, AdapterSet* set) {
  for (const auto& [weight, changes] : use.adapter->low_rank()) {
    for (LowRank change : changes) {
      change.scale *= use.scale;
      if (!std::isfinite(change.scale)) {
        throw Error(use.adapter->file().path() + ": scale " + std::to_string(use.scale) +
                    " is too large for weight " + Quoted(weight));
      }
      set->low_rank[weight].push_back(change);
    }
  }
}

}  // namespace

AdapterSet MakeAdapterSet(std::span<const AdapterUse> uses, const Model& model) {
  AdapterSet set;
  for (const AdapterUse& use : uses) {
    if (!use.adapter) throw Error("an adapter is null");
    const std::string& path = use.adapter->file().path();
    if (&use.adapter->model() != &model) {
      throw Error(path + ": was opened for another model than " + model.file().path());
    }
    if (!std::isfinite(use.scale)) throw Error(path + ": its scale is not finite");
    if (use.scale == 0) continue;
    // A prefix is read now.
    if (!use.adapter->file().Unchanged()) throw Error(path + ": the file changed while it was open");
    set.active.push_back(use);
    use.adapter->is_prefix() ? AddPrefix(use, &set) : AddLora(use, &set);
  }
  return set;
}

AdapterBytes BytesOf(const Adapter& adapter) {
  AdapterBytes bytes{adapter.file().bytes(), 0};
  const std::span<const Tensor> tensors = adapter.file().tensors();
  for (const auto& [weight, changes] : adapter.low_rank()) {
    for (const LowRank& change : changes) {
      const bool is_of_file =
          std::any_of(tensors.begin(), tensors.end(),
                      [&](const Tensor& tensor) { return tensor.data == change.a.data; });
      if (!is_of_file) bytes.made += change.a.layout.bytes;
    }
  }
  return bytes;
}

}  // namespace glint
