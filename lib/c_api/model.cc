// The C interface: models.
#include <algorithm>
#include <new>

#include "formats/json.h"
#include "lib/c_api/c_api.h"
#include "lib/version.h"

using namespace glint;
using namespace glint::c_api;

namespace glint::c_api {
namespace {

std::unique_ptr<glint_model> Wrap(std::unique_ptr<const Model> model) {
  auto wrapped = std::make_unique<glint_model>();
  const nlohmann::json& metadata = *model->file().header().metadata;
  wrapped->metadata = metadata.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto name = metadata.find("name");
  wrapped->name =
      name != metadata.end() && name->is_string() ? name->get<std::string>() : model->file().path();
  wrapped->model = std::move(model);
  return wrapped;
}

// Opens by open(options), which returns a Model.
template <class Fn>
glint_status OpenModel(const glint_model_options* given, glint_model** out, MessageBuffer error,
                       const Fn& open) {
  if (out) *out = nullptr;
  return Guard(GLINT_ERROR_FILE, error, [&] {
    CheckNotNull(out, "model");
    *out = Wrap(open(ModelOptionsFrom(given))).release();
    return GLINT_OK;
  });
}

// Tells the caller, once, that its memory is free. Also where opening fails.
class MemoryOwner {
 public:
  explicit MemoryOwner(const glint_model_options& options)
      : release_(options.release), user_(options.release_user) {}
  ~MemoryOwner() {
    if (release_) release_(user_);
  }
  MemoryOwner(const MemoryOwner&) = delete;

 private:
  void (*release_)(void* user);
  void* user_;
};

struct FreeAligned {
  void operator()(void* data) const { ::operator delete(data, std::align_val_t(64)); }
};

// A model over the caller's memory, or over a copy of it.
std::unique_ptr<Model> FromCallersMemory(const void* data, size_t size, const char* name,
                                         const LoadOptions& options,
                                         std::shared_ptr<const void> owner) {
  const std::string where = name ? name : "memory";
  if (options.mode == LoadMode::kMap) {
    return Model::FromMemory(data, size, where, std::move(owner), options);
  }
  std::unique_ptr<void, FreeAligned> copy(::operator new(size, std::align_val_t(64)));
  std::memcpy(copy.get(), data, size);
  const void* bytes = copy.get();
  return Model::FromMemory(bytes, size, where, std::shared_ptr<const void>(std::move(copy)),
                           options);
}

}  // namespace

LoadOptions LoadOptionsFrom(const glint_model_options& all) {
  CheckEnum(all.load, 2, "load");
  CheckEnum(all.verify, 2, "verify");
  LoadOptions options;
  options.mode = all.load == GLINT_LOAD_COPY ? LoadMode::kCopy : LoadMode::kMap;
  options.verify = all.verify != 0;
  if (all.progress) {
    options.progress = [call = all.progress, user = all.progress_user](double done) {
      return call(user, done) == 0;
    };
  }
  if (all.log) {
    options.log = [call = all.log, user = all.log_user](LogLevel level, std::string_view line) {
      // The callback wants a 0 at the end. A line that finds no memory is lost.
      try {
        call(user, static_cast<int>(level), std::string(line).c_str());
      } catch (const std::bad_alloc&) {
      }
    };
  }
  return options;
}

glint_model_options ModelOptionsFrom(const glint_model_options* given) {
  return ReadStruct(given, glint_model_options_init(), "glint_model_options");
}

}  // namespace glint::c_api

glint_status glint_model_open(const char* path, const glint_model_options* options,
                              glint_model** model, char* error, size_t error_size) {
  return OpenModel(options, model, {error, error_size}, [&](const glint_model_options& all) {
    CheckNotNull(path, "path");
    return Model::Open(path, LoadOptionsFrom(all));
  });
}

glint_status glint_model_open_descriptor(int descriptor, const char* name,
                                         const glint_model_options* options, glint_model** model,
                                         char* error, size_t error_size) {
  return OpenModel(options, model, {error, error_size}, [&](const glint_model_options& all) {
    if (descriptor < 0) ThrowArgument("descriptor is " + std::to_string(descriptor));
#if defined(_WIN32)
    (void)name;
    (void)all;
    throw StatusError(GLINT_ERROR_UNSUPPORTED, "on Windows models are opened by path");
    return std::unique_ptr<Model>();
#else
    return Model::OpenDescriptor(descriptor,
                                 name ? name : "descriptor " + std::to_string(descriptor),
                                 LoadOptionsFrom(all));
#endif
  });
}

glint_status glint_model_open_memory(const void* data, size_t data_size, const char* name,
                                     const glint_model_options* options, glint_model** model,
                                     char* error, size_t error_size) {
  return OpenModel(options, model, {error, error_size}, [&](const glint_model_options& all) {
    const auto owner = std::make_shared<const MemoryOwner>(all);
    CheckNotNull(data, "data");
    return FromCallersMemory(data, data_size, name, LoadOptionsFrom(all), owner);
  });
}

void glint_model_free(glint_model* model) {
  Release(model);
}

glint_status glint_model_get_info(const glint_model* model, glint_model_info* info) {
  if (!model) return GLINT_ERROR_ARGUMENT;
  return Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    const Model& m = *model->model;
    glint_model_info result = glint_model_info_init();
    result.name = model->name.c_str();
    result.metadata = model->metadata.c_str();
    result.path = m.file().path().c_str();
    result.file_bytes = m.file().bytes();
    result.vocab_size = m.vocab_size();
    result.n_logits = m.n_outputs();
    result.hidden_size = m.hidden_size();
    result.max_context = m.max_context();
    result.hash = m.file().Hash();
    result.causal = m.causal();
    result.has_tokenizer = m.tokenizer() != nullptr;
    result.has_chat = m.chat() != nullptr;
    const nlohmann::json& metadata = *m.file().header().metadata;
    const auto numerics = metadata.find("numerics");
    if (numerics != metadata.end() && numerics->is_number_integer()) {
      result.numerics = numerics->get<int>();
    }
    WriteStruct(result, info, "glint_model_info");
    return GLINT_OK;
  });
}

int glint_model_is_stop(const glint_model* model, int32_t id) {
  if (!model) return 0;
  const std::vector<int32_t>& stop = model->model->prompt_ids().stop;
  return std::find(stop.begin(), stop.end(), id) != stop.end();
}
