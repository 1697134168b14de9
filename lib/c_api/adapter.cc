// The C interface: adapters.
#include "lib/adapter.h"

#include "lib/c_api/c_api.h"

using namespace glint;
using namespace glint::c_api;

struct glint_adapter : Counted {
  Ref<glint_model> model;
  std::unique_ptr<const Adapter> adapter;
};

namespace glint::c_api {

void AdapterRelease::operator()(const glint_adapter* adapter) const {
  Release(adapter);
}

std::vector<AdapterUse> AdapterUsesFrom(const Model& model, const glint_adapter* const* adapters,
                                        const float* scales, size_t n) {
  std::vector<AdapterUse> uses;
  if (n == 0) return uses;
  CheckNotNull(adapters, "adapters");
  for (size_t i = 0; i < n; ++i) {
    CheckNotNull(adapters[i], "an adapter");
    CheckUnchanged(adapters[i]->adapter->file());
    uses.push_back({adapters[i]->adapter.get(), scales ? scales[i] : 1.0f});
  }
  try {
    MakeAdapterSet(uses, model);
  } catch (const Error& error) {
    ThrowArgument(error.what());
  }
  return uses;
}

std::vector<AdapterPointer> KeepAdapters(const glint_adapter* const* adapters, size_t n) {
  std::vector<AdapterPointer> kept;
  for (size_t i = 0; i < n; ++i) {
    kept.emplace_back(nullptr);
    adapters[i]->users.fetch_add(1, std::memory_order_relaxed);
    kept.back().reset(adapters[i]);
  }
  return kept;
}

}  // namespace glint::c_api

glint_status glint_adapter_open(const glint_model* model, const char* path,
                                const glint_model_options* options, glint_adapter** adapter,
                                char* error, size_t error_size) {
  if (adapter) *adapter = nullptr;
  return Guard(GLINT_ERROR_FILE, {error, error_size}, [&] {
    CheckNotNull(model, "model");
    CheckNotNull(path, "path");
    CheckNotNull(adapter, "adapter");
    CheckUnchanged(model->model->file());
    const LoadOptions all = LoadOptionsFrom(ModelOptionsFrom(options));
    auto made = std::make_unique<glint_adapter>();
    made->model = Ref<glint_model>(model);
    made->adapter = Adapter::Open(*model->model, path, all.mode);
    *adapter = made.release();
    return GLINT_OK;
  });
}

void glint_adapter_free(glint_adapter* adapter) {
  Release(adapter);
}

const char* glint_adapter_kind(const glint_adapter* adapter) {
  return adapter ? adapter->adapter->kind().c_str() : "";
}

glint_status glint_session_set_adapters(glint_session* session,
                                        const glint_adapter* const* adapters, const float* scales,
                                        size_t n_adapters) {
  return WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    CheckUnchanged(s.model->model->file());
    const std::vector<AdapterUse> uses =
        AdapterUsesFrom(*s.model->model, adapters, scales, n_adapters);
    std::vector<AdapterPointer> kept = KeepAdapters(adapters, n_adapters);
    s.session->SetAdapters(uses);
    s.adapters.swap(kept);  // those of before are freed after the session has let go of them
    s.pending = -1;
    return GLINT_OK;
  });
}
