#pragma once
// What the files of the C interface share: its objects, and how failures become statuses. The
// interface itself is lib/glint.h.
#include <atomic>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/adapter_set.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/glint.h"
#include "lib/model.h"
#include "lib/session.h"

namespace glint::c_api {

// ---- Failures ------------------------------------------------------------------------------

// An Error that says which status it is.
class StatusError : public Error {
 public:
  StatusError(glint_status status, const std::string& message) : Error(message), status_(status) {}
  glint_status status() const { return status_; }

 private:
  glint_status status_;
};

[[noreturn]] void ThrowArgument(const std::string& message);
// Throws StatusError(GLINT_ERROR_ARGUMENT, "NAME is null") for a null.
void CheckNotNull(const void* pointer, const char* name);

// Where a message goes: the caller's buffer, or that of an object. May be none.
struct MessageBuffer {
  char* text = nullptr;
  size_t size = 0;

  bool empty() const { return size == 0 || text[0] == 0; }
  // Cuts between characters. Allocates nothing.
  void Set(const char* message) const;
};

// The status and message of the exception being handled. `meaning` is what an Error without a
// status of its own means here.
glint_status CurrentFailure(glint_status meaning, MessageBuffer message) noexcept;

// Calls fn, which returns a glint_status, and lets nothing through.
template <class Fn>
glint_status Guard(glint_status meaning, MessageBuffer message, const Fn& fn) noexcept {
  message.Set("");
  glint_status status;
  try {
    status = fn();
  } catch (...) {
    status = CurrentFailure(meaning, message);
  }
  if (status != GLINT_OK && message.empty()) message.Set(glint_status_text(status));
  return status;
}

glint_status FromStatus(Status status);

// ---- Structs with a size ----------------------------------------------------------------------

// Throws for a size that no version of the struct can have.
void CheckStructSize(size_t size, size_t alignment, const char* name);
// Throws if a byte of [begin, end) is not 0: a member that this version does not know.
void CheckUnknownMembers(const void* data, size_t begin, size_t end, const char* name);

// What the caller gave, as this version's struct; `defaults` where it is null or too small.
template <class T>
T ReadStruct(const T* given, T defaults, const char* name) {
  if (!given) return defaults;
  size_t size;
  std::memcpy(&size, given, sizeof size);
  CheckStructSize(size, alignof(T), name);
  CheckUnknownMembers(given, sizeof(T), size, name);
  std::memcpy(&defaults, given, size < sizeof(T) ? size : sizeof(T));
  defaults.size = sizeof(T);
  return defaults;
}

// Writes a result as far as the caller's struct holds it.
template <class T>
void WriteStruct(const T& value, T* out, const char* name) {
  CheckNotNull(out, name);
  size_t size;
  std::memcpy(&size, out, sizeof size);
  CheckStructSize(size, alignof(T), name);
  unsigned char* bytes = reinterpret_cast<unsigned char*>(out);
  const size_t known = size < sizeof(T) ? size : sizeof(T);
  std::memcpy(bytes + sizeof size, reinterpret_cast<const unsigned char*>(&value) + sizeof size,
              known - sizeof size);
  std::memset(bytes + known, 0, size - known);
}

// ---- Arguments and results ----------------------------------------------------------------------

// Throws unless `value` is one of 0 .. count - 1.
void CheckEnum(int value, int count, const char* name);
// Ids, text: null is allowed where there are none.
std::string_view TextArgument(const char* text, size_t size, const char* name);
std::span<const int32_t> IdsArgument(const int32_t* ids, size_t n);

// Copies what fits into the caller's buffer; *n (not null) gets the whole count.
template <class T>
glint_status WriteBuffer(std::span<const T> values, T* buffer, size_t capacity, size_t* n) {
  *n = values.size();
  if (!buffer) {
    if (capacity != 0) ThrowArgument("the buffer is null, its capacity is not 0");
    return GLINT_OK;
  }
  const size_t written = values.size() < capacity ? values.size() : capacity;
  if (written != 0) std::memcpy(buffer, values.data(), written * sizeof(T));
  return written == values.size() ? GLINT_OK : GLINT_ERROR_BUFFER;
}

// ---- Objects ------------------------------------------------------------------------------------

// Counts its users: the caller's handle, and what was made from it.
struct Counted {
  mutable std::atomic<size_t> users{1};
};

template <class T>
void Release(const T* object) {
  if (object && object->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object;
}

// A use of a counted object.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(const T* object) : object_(object) {
    object->users.fetch_add(1, std::memory_order_relaxed);
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Release(object_); }
  const T* get() const { return object_; }
  const T* operator->() const { return object_; }

 private:
  const T* object_ = nullptr;
};

// Ends a session's use of an adapter, which adapter.cc alone knows.
struct AdapterRelease {
  void operator()(const glint_adapter* adapter) const;
};
using AdapterPointer = std::unique_ptr<const glint_adapter, AdapterRelease>;

}  // namespace glint::c_api

struct glint_model : glint::c_api::Counted {
  std::unique_ptr<const glint::Model> model;
  std::string name, metadata;
};

struct glint_session : glint::c_api::Counted {
  glint::c_api::Ref<glint_model> model;
  std::vector<glint::c_api::AdapterPointer> adapters;  // in use; outlive `session`
  std::unique_ptr<glint::Session> session;
  std::atomic<bool> busy{false};
  char message[2 * GLINT_ERROR_SIZE] = "";
  glint::Reply reply;
  // A token of the last reply that the model has not seen yet; -1: none.
  int32_t pending = -1;
};

namespace glint::c_api {

// Throws StatusError where the model has none.
const Tokenizer& TokenizerOf(const glint_model& model);
// Throws StatusError(GLINT_FILE_CHANGED) if the mapped file of a model, where the tokenizer's tables lie
// too, or of an adapter is no longer what it was.
void CheckUnchanged(const GlintFile& file);
const ChatFormat& ChatFormatOf(const glint_model& model);

// Calls fn(session) with the session to itself.
template <class Fn>
glint_status WithSession(glint_session* session, glint_status meaning, const Fn& fn) noexcept {
  if (!session) return GLINT_ERROR_ARGUMENT;
  if (session->busy.exchange(true, std::memory_order_acquire)) return GLINT_ERROR_BUSY;
  const glint_status status =
      Guard(meaning, {session->message, sizeof session->message}, [&] { return fn(*session); });
  session->busy.store(false, std::memory_order_release);
  return status;
}

// C++ options for the caller's. Throw.
// *pool is where the options' pool, if there is one, comes to lie.
SessionOptions SessionOptionsFrom(const Model& model, const glint_session_options& all,
                                  ExternalPool* pool);
glint_model_options ModelOptionsFrom(const glint_model_options* given);
LoadOptions LoadOptionsFrom(const glint_model_options& all);
SamplerOptions SamplerOptionsFrom(const glint_sampler_options* given);
ContextPolicy PolicyFrom(int policy);  // a glint_context_policy
GenerateOptions GenerateOptionsFrom(const glint_generate_options* given);
std::vector<ChatMessage> MessagesFrom(const glint_message* messages, size_t n);
// Those of a session's options. They outlive what is made of the result. Throws StatusError, with
// GLINT_ERROR_ARGUMENT if they cannot be used together or with this model, or GLINT_FILE_CHANGED.
std::vector<AdapterUse> AdapterUsesFrom(const Model& model, const glint_adapter* const* adapters,
                                        const float* scales, size_t n);
// Keeps them alive.
std::vector<AdapterPointer> KeepAdapters(const glint_adapter* const* adapters, size_t n);
// Makes a reply. `pending`: the session's. *forgotten: turns of a chat that had to go, if any.
using MakeReply = std::function<Reply(int32_t pending, size_t* forgotten)>;
// What a call that makes a reply does: the reply stays in the session and is written to *out if that is
// not null, also where a prompt does not fit; the token that was drawn last and not run becomes the
// session's `pending`. A failure that leaves the old sequence leaves its pending token. Throws Error.
glint_status Answer(glint_session& session, const MakeReply& make, glint_reply* out);

}  // namespace glint::c_api
