// The C interface: models.
#include <algorithm>

#include "formats/json.h"
#include "lib/c_api.h"
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
  wrapped->name = name != metadata.end() && name->is_string() ? name->get<std::string>()
                                                              : model->file().path();
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
    const glint_model_options options =
        ReadStruct(given, glint_model_options_init(), "glint_model_options");
    CheckEnum(options.load, 2, "load");
    CheckEnum(options.verify, 2, "verify");
    *out = Wrap(open(options)).release();
    return GLINT_OK;
  });
}

LoadMode LoadModeOf(const glint_model_options& options) {
  return options.load == GLINT_LOAD_COPY ? LoadMode::kCopy : LoadMode::kMap;
}

}  // namespace
}  // namespace glint::c_api

glint_status glint_model_open(const char* path, const glint_model_options* options,
                              glint_model** model, char* error, size_t error_size) {
  return OpenModel(options, model, {error, error_size}, [&](const glint_model_options& all) {
    CheckNotNull(path, "path");
    return Model::Open(path, LoadModeOf(all));
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
    result.max_context = m.max_context();
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
