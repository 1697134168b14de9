// The C interface: sessions, and feeding them.
#include <algorithm>
#include <set>

#include "lib/c_api/c_api.h"
#include "lib/memory_estimate.h"
#include "lib/system/free_memory.h"

using namespace glint;
using namespace glint::c_api;

static_assert(std::atomic<bool>::is_always_lock_free, "cancel is called by signal handlers");

namespace glint::c_api {
namespace {

constexpr KvType kKvTypes[] = {KvType::kF32, KvType::kF16, KvType::kInt8};  // of glint_kv, from 1

// Larger numbers would overflow what is made of them; each is then refused with its own message.
size_t AtMost(size_t value) {
  return value < (size_t{1} << 30) ? value : size_t{1} << 30;
}

}  // namespace

SessionOptions SessionOptionsFrom(const Model& model, const glint_session_options& all,
                                  ExternalPool* pool) {
  CheckEnum(all.kv, 1 + std::size(kKvTypes), "kv");
  CheckEnum(all.output, 2, "output");
  SessionOptions options;
  options.context = AtMost(all.context);
  options.threads = AtMost(all.threads);
  options.kv = all.kv == GLINT_KV_DEFAULT ? DefaultKv(model) : kKvTypes[all.kv - 1];
  if (all.chunk != 0) options.chunk = AtMost(all.chunk);
  if (all.max_batch != 0) options.max_batch = AtMost(all.max_batch);
  if (all.output == GLINT_OUTPUT_HIDDEN) options.output = SessionOutput::kHidden;
  if (all.pool) {
    const glint_thread_pool threads =
        ReadStruct(all.pool, glint_thread_pool_init(), "glint_thread_pool");
    if (!threads.run || threads.threads == 0 || threads.threads > kMaxThreads) {
      ThrowArgument("glint_thread_pool: expected a function and 1 to " +
                    std::to_string(kMaxThreads) + " threads");
    }
    *pool = {threads.threads, threads.user, threads.run};
    options.pool = pool;
  }
  return options;
}

namespace {

glint_session_options ReadOptions(const glint_session_options* given) {
  return ReadStruct(given, glint_session_options_init(), "glint_session_options");
}

// What a call that feeds the session does: the last reply's last token is the caller's business from
// now on, unless the call failed and left the sequence as it was.
glint_status Feed(glint_session& session, Status status) {
  if (status == Status::kOk || session.session->length() == 0) session.pending = -1;
  return FromStatus(status);
}

}  // namespace
}  // namespace glint::c_api

glint_status glint_memory_estimate(const glint_model* model, const glint_session_options* options,
                                   glint_memory* memory, char* error, size_t error_size) {
  return Guard(GLINT_ERROR_UNSUPPORTED, {error, error_size}, [&] {
    CheckNotNull(model, "model");
    const Model& m = *model->model;
    ExternalPool pool;
    const glint_session_options given = ReadOptions(options);
    const SessionOptions all = SessionOptionsFrom(m, given, &pool);
    const std::vector<AdapterUse> adapters =
        AdapterUsesFrom(m, given.adapters, given.scales, given.n_adapters);
    const MemoryEstimate estimate = EstimateMemory(m, all, adapters);
    glint_memory result = glint_memory_init();
    result.total = estimate.Total();
    result.cache = estimate.cache;
    result.activations = estimate.activations;
    result.other = estimate.rope_tables + estimate.rows;
    result.weights = m.file().bytes() - m.file().data_offset();
    std::set<const Adapter*> counted;
    for (const AdapterUse& use : adapters) {
      if (!counted.insert(use.adapter).second) continue;
      const AdapterBytes bytes = BytesOf(*use.adapter);
      result.weights += bytes.file + bytes.made;
    }
    result.free = FreeMemory();
    result.longest_context = LongestContext(m, all, std::max(result.free, kAlwaysFits), adapters);
    WriteStruct(result, memory, "glint_memory");
    return GLINT_OK;
  });
}

glint_status glint_session_create(const glint_model* model, const glint_session_options* options,
                                  glint_session** session, char* error, size_t error_size) {
  if (session) *session = nullptr;
  return Guard(GLINT_ERROR_UNSUPPORTED, {error, error_size}, [&] {
    CheckNotNull(model, "model");
    CheckNotNull(session, "session");
    CheckUnchanged(model->model->file());
    auto made = std::make_unique<glint_session>();
    made->model = Ref<glint_model>(model);
    ExternalPool pool;
    const glint_session_options given = ReadOptions(options);
    const SessionOptions all = SessionOptionsFrom(*model->model, given, &pool);
    const std::vector<AdapterUse> adapters =
        AdapterUsesFrom(*model->model, given.adapters, given.scales, given.n_adapters);
    made->adapters = KeepAdapters(given.adapters, given.n_adapters);
    made->session = std::make_unique<Session>(*model->model, all, adapters);
    *session = made.release();
    return GLINT_OK;
  });
}

void glint_session_free(glint_session* session) {
  Release(session);
}

const char* glint_session_error(const glint_session* session) {
  return session ? session->message : "";
}

glint_status glint_session_get_info(glint_session* session, glint_session_info* info) {
  return WithSession(session, GLINT_ERROR_INTERNAL, [&](glint_session& s) {
    glint_session_info result = glint_session_info_init();
    result.length = s.session->length();
    result.kept = s.session->kept();
    result.context = s.session->context();
    result.max_batch = s.session->max_batch();
    result.chunk = s.session->chunk();
    result.threads = s.session->pool().size();
    result.cache_bytes = s.session->cache_bytes();
    result.output = static_cast<int>(s.session->output());
    result.kv = 1 + static_cast<int>(s.session->cache().type());
    WriteStruct(result, info, "glint_session_info");
    return GLINT_OK;
  });
}

void glint_session_cancel(glint_session* session) {
  if (session) session->session->Cancel();
}

void glint_session_clear_cancel(glint_session* session) {
  if (session) session->session->ClearCancel();
}

glint_status glint_session_start(glint_session* session, const int32_t* ids, size_t n_ids) {
  return WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    const std::span<const int32_t> prompt = IdsArgument(ids, n_ids);
    if (prompt.empty()) ThrowArgument("a sequence starts with at least 1 id");
    return Feed(s, s.session->Start(prompt));
  });
}

glint_status glint_session_append(glint_session* session, const int32_t* ids, size_t n_ids) {
  return WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    return Feed(s, s.session->AppendBatch(IdsArgument(ids, n_ids)));
  });
}

glint_status glint_session_truncate(glint_session* session, size_t length) {
  return WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    s.session->Truncate(length);
    return Feed(s, Status::kOk);
  });
}

glint_status glint_session_ids(glint_session* session, int32_t* ids, size_t capacity,
                               size_t* n_ids) {
  if (n_ids) *n_ids = 0;
  return WithSession(session, GLINT_ERROR_INTERNAL, [&](glint_session& s) {
    CheckNotNull(n_ids, "n_ids");
    return WriteBuffer(s.session->ids(), ids, capacity, n_ids);
  });
}

glint_status glint_session_logits(glint_session* session, const float** logits, size_t* n_logits) {
  if (logits) *logits = nullptr;
  if (n_logits) *n_logits = 0;
  return WithSession(session, GLINT_ERROR_INTERNAL, [&](glint_session& s) {
    CheckNotNull(logits, "logits");
    const std::span<const float> row = s.session->logits();
    if (s.session->length() == 0 || row.empty()) ThrowArgument("the session has no logits");
    *logits = row.data();
    if (n_logits) *n_logits = row.size();
    return GLINT_OK;
  });
}

glint_status glint_session_batch_logits(glint_session* session, size_t row, const float** logits,
                                        size_t* n_logits) {
  if (logits) *logits = nullptr;
  if (n_logits) *n_logits = 0;
  return WithSession(session, GLINT_ERROR_INTERNAL, [&](glint_session& s) {
    CheckNotNull(logits, "logits");
    if (row >= s.session->batch_size()) {
      ThrowArgument("there are no logits of row " + std::to_string(row) + ": the last batch has " +
                    std::to_string(s.session->batch_size()));
    }
    const std::span<const float> values = s.session->BatchLogits(row);
    *logits = values.data();
    if (n_logits) *n_logits = values.size();
    return GLINT_OK;
  });
}
