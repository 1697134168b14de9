// The C interface: text to ids and back.
#include "lib/c_api/c_api.h"
#include "lib/text/tokenizer.h"

using namespace glint;
using namespace glint::c_api;

struct glint_detokenizer {
  explicit glint_detokenizer(const glint_model* from)
      : model(from), detokenizer(TokenizerOf(*from)) {}
  Ref<glint_model> model;
  Detokenizer detokenizer;
  std::string text;  // of the last call
};

namespace glint::c_api {

const Tokenizer& TokenizerOf(const glint_model& model) {
  if (const Tokenizer* tokenizer = model.model->tokenizer()) return *tokenizer;
  throw StatusError(GLINT_ERROR_UNSUPPORTED,
                    model.model->file().path() + ": the model has no tokenizer");
}

void CheckUnchanged(const GlintFile& file) {
  if (file.Unchanged()) return;
  throw StatusError(GLINT_FILE_CHANGED,
                    file.path() + ": " + glint_status_text(GLINT_FILE_CHANGED));
}

namespace {

const Tokenizer& UnchangedTokenizerOf(const glint_model& model) {
  const Tokenizer& tokenizer = TokenizerOf(model);
  CheckUnchanged(model.model->file());
  return tokenizer;
}

using Encode = std::vector<int32_t> (Tokenizer::*)(std::string_view) const;
// By glint_tokenize_mode.
constexpr Encode kEncode[] = {&Tokenizer::Encode, &Tokenizer::EncodeWithSpecial,
                              &Tokenizer::EncodePlain, &Tokenizer::EncodeParsed};

// One step of a detokenizer: next() returns the text.
template <class Fn>
glint_status NextText(glint_detokenizer* detokenizer, const char** text, size_t* text_size,
                      const Fn& next) {
  if (text) *text = "";
  if (text_size) *text_size = 0;
  if (!detokenizer || !text) return GLINT_ERROR_ARGUMENT;
  return Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    CheckUnchanged(detokenizer->model->model->file());
    detokenizer->text = next(detokenizer->detokenizer);
    *text = detokenizer->text.c_str();
    if (text_size) *text_size = detokenizer->text.size();
    return GLINT_OK;
  });
}

}  // namespace
}  // namespace glint::c_api

glint_status glint_tokenize(const glint_model* model, const char* text, size_t text_size, int mode,
                            int32_t* ids, size_t capacity, size_t* n_ids) {
  if (n_ids) *n_ids = 0;
  return Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    CheckNotNull(model, "model");
    CheckNotNull(n_ids, "n_ids");
    CheckEnum(mode, std::size(kEncode), "mode");
    const Tokenizer& tokenizer = UnchangedTokenizerOf(*model);
    const std::string_view whole = TextArgument(text, text_size, "text");
    const Encode encode = kEncode[mode];
    const std::vector<int32_t> all = (tokenizer.*encode)(whole);
    return WriteBuffer(std::span<const int32_t>(all), ids, capacity, n_ids);
  });
}

glint_status glint_detokenize(const glint_model* model, const int32_t* ids, size_t n_ids,
                              char* text, size_t capacity, size_t* text_size) {
  if (text_size) *text_size = 0;
  return Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    CheckNotNull(model, "model");
    CheckNotNull(text_size, "text_size");
    const std::string all = UnchangedTokenizerOf(*model).Decode(IdsArgument(ids, n_ids));
    return WriteBuffer(std::span<const char>(all), text, capacity, text_size);
  });
}

int32_t glint_find_token(const glint_model* model, const char* token) {
  int32_t id = -1;
  if (!model || !token || !model->model->tokenizer()) return id;
  Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    id = UnchangedTokenizerOf(*model).FindToken(token);
    return GLINT_OK;
  });
  return id;
}

glint_status glint_detokenizer_create(const glint_model* model, glint_detokenizer** detokenizer,
                                      char* error, size_t error_size) {
  if (detokenizer) *detokenizer = nullptr;
  return Guard(GLINT_ERROR_INTERNAL, {error, error_size}, [&] {
    CheckNotNull(model, "model");
    CheckNotNull(detokenizer, "detokenizer");
    *detokenizer = std::make_unique<glint_detokenizer>(model).release();
    return GLINT_OK;
  });
}

void glint_detokenizer_free(glint_detokenizer* detokenizer) {
  delete detokenizer;
}

glint_status glint_detokenizer_add(glint_detokenizer* detokenizer, int32_t id, const char** text,
                                   size_t* text_size) {
  return NextText(detokenizer, text, text_size, [id](Detokenizer& d) { return d.Add(id); });
}

glint_status glint_detokenizer_finish(glint_detokenizer* detokenizer, const char** text,
                                      size_t* text_size) {
  return NextText(detokenizer, text, text_size, [](Detokenizer& d) { return d.Finish(); });
}
