// The C interface: sessions as bytes and files, and embeddings.
#include <cstdlib>

#include "lib/c_api/c_api.h"
#include "lib/embedding.h"
#include "lib/session_file.h"

using namespace glint;
using namespace glint::c_api;

namespace glint::c_api {
namespace {

// A saved session has no place for a token that was drawn and not run: it is run first.
Status TakePending(glint_session& session) {
  if (session.pending < 0) return Status::kOk;
  const Status status = session.session->Append(session.pending);
  if (status == Status::kOk) session.pending = -1;
  return status;
}

// Calls save() on a session that is complete. The context may be full: then there is no token to
// come and the last one is of no use.
template <class Fn>
glint_status Save(glint_session* session, const Fn& save) {
  return WithSession(session, GLINT_ERROR_FILE, [&](glint_session& s) {
    if (s.session->length() == 0) ThrowArgument("there is no sequence to save");
    const Status status = TakePending(s);
    if (status != Status::kOk && status != Status::kContextFull) return FromStatus(status);
    return save(s);
  });
}

}  // namespace
}  // namespace glint::c_api

glint_status glint_session_save(glint_session* session, void** data, size_t* data_size) {
  if (data) *data = nullptr;
  if (data_size) *data_size = 0;
  return Save(session, [&](glint_session& s) {
    CheckNotNull(data, "data");
    CheckNotNull(data_size, "data_size");
    const std::vector<uint8_t> image = SaveSession(*s.session);
    *data = std::malloc(image.size());
    if (!*data) return GLINT_ERROR_MEMORY;
    std::memcpy(*data, image.data(), image.size());
    *data_size = image.size();
    return GLINT_OK;
  });
}

glint_status glint_session_restore(glint_session* session, const void* data, size_t data_size) {
  return WithSession(session, GLINT_ERROR_FILE, [&](glint_session& s) {
    CheckNotNull(data, "data");
    s.pending = -1;
    RestoreSession(*s.session, {static_cast<const uint8_t*>(data), data_size}, "session data");
    return GLINT_OK;
  });
}

glint_status glint_session_save_file(glint_session* session, const char* path, int overwrite) {
  return Save(session, [&](glint_session& s) {
    CheckNotNull(path, "path");
    CheckEnum(overwrite, 2, "overwrite");
    SaveSessionFile(*s.session, path, overwrite != 0);
    return GLINT_OK;
  });
}

glint_status glint_session_restore_file(glint_session* session, const char* path) {
  return WithSession(session, GLINT_ERROR_FILE, [&](glint_session& s) {
    CheckNotNull(path, "path");
    s.pending = -1;
    RestoreSessionFile(*s.session, path);
    return GLINT_OK;
  });
}

glint_status glint_embed(glint_session* session, const int32_t* ids, size_t n_ids, int pooling,
                         int normalize, float* values, size_t capacity, size_t* n_values) {
  if (n_values) *n_values = 0;
  return WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    CheckNotNull(n_values, "n_values");
    CheckEnum(pooling, 2, "pooling");
    CheckEnum(normalize, 2, "normalize");
    const size_t size = s.model->model->hidden_size();
    if (s.session->output() != SessionOutput::kHidden) {
      ThrowArgument("an embedding needs a session with GLINT_OUTPUT_HIDDEN");
    }
    *n_values = size;
    if (!values && capacity != 0) ThrowArgument("the buffer is null, its capacity is not 0");
    if (!values) return GLINT_OK;  // to count, nothing is computed
    if (capacity < size) return GLINT_ERROR_BUFFER;
    const std::span<const int32_t> text = IdsArgument(ids, n_ids);
    if (text.empty()) ThrowArgument("an embedding needs at least 1 id");
    const EmbeddingOptions options = {
        pooling == GLINT_POOLING_MEAN ? Pooling::kMean : Pooling::kLast, normalize != 0};
    std::vector<float> embedding;
    s.pending = -1;
    const Status status = Embed(*s.session, text, options, &embedding);
    if (status == Status::kOk) return WriteBuffer<float>(embedding, values, capacity, n_values);
    *n_values = 0;
    return FromStatus(status);
  });
}
