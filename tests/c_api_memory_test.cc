// Memory that runs out inside the library: at the k-th allocation of opening a model, creating a
// session and a chat, generating, saving. Every call must end with a status, say GLINT_ERROR_MEMORY
// where it failed, give back what it took, and leave the objects usable.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(_WIN32)
#include <malloc.h>
#endif

#include "tests/c_api_samples.h"

namespace {

// Allocations until one fails, on the thread that asked for it; 0: none does. And how many are
// alive, of all threads.
thread_local size_t t_until_failure = 0;
std::atomic<long> g_alive{0};

// Windows has a heap of its own for aligned memory.
#if defined(_WIN32)
void* AlignedMemory(size_t size, size_t alignment) { return _aligned_malloc(size, alignment); }
void FreeAligned(void* data) { _aligned_free(data); }
#else
void* AlignedMemory(size_t size, size_t alignment) { return std::aligned_alloc(alignment, size); }
void FreeAligned(void* data) { std::free(data); }
#endif

// An alignment of 0: that of malloc.
void* Allocate(size_t size, size_t alignment) {
  if (t_until_failure != 0 && --t_until_failure == 0) return nullptr;
  void* data = nullptr;
  if (alignment == 0) {
    data = std::malloc(size == 0 ? 1 : size);
  } else {
    const size_t rounded = (size + alignment - 1) / alignment * alignment;
    data = AlignedMemory(rounded == 0 ? alignment : rounded, alignment);
  }
  if (data) ++g_alive;
  return data;
}

void* AllocateOrThrow(size_t size, size_t alignment) {
  if (void* data = Allocate(size, alignment)) return data;
  throw std::bad_alloc();
}

void Deallocate(void* data) {
  if (data) --g_alive;
  std::free(data);
}

void DeallocateAligned(void* data) {
  if (data) --g_alive;
  FreeAligned(data);
}

}  // namespace

void* operator new(size_t size) {
  return AllocateOrThrow(size, 0);
}
void* operator new[](size_t size) {
  return AllocateOrThrow(size, 0);
}
void* operator new(size_t size, std::align_val_t a) {
  return AllocateOrThrow(size, static_cast<size_t>(a));
}
void* operator new[](size_t size, std::align_val_t a) {
  return AllocateOrThrow(size, static_cast<size_t>(a));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return Allocate(size, 0);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return Allocate(size, 0);
}
void operator delete(void* data) noexcept {
  Deallocate(data);
}
void operator delete[](void* data) noexcept {
  Deallocate(data);
}
void operator delete(void* data, size_t) noexcept {
  Deallocate(data);
}
void operator delete[](void* data, size_t) noexcept {
  Deallocate(data);
}
void operator delete(void* data, std::align_val_t) noexcept {
  DeallocateAligned(data);
}
void operator delete[](void* data, std::align_val_t) noexcept {
  DeallocateAligned(data);
}
void operator delete(void* data, size_t, std::align_val_t) noexcept {
  DeallocateAligned(data);
}
void operator delete[](void* data, size_t, std::align_val_t) noexcept {
  DeallocateAligned(data);
}

namespace {

// Calls fn(), which returns a status, with the k-th allocation failing, for k = 1, 2, ... (after 64
// in growing steps), until it has no k-th one. `check` looks after each failure whether all is as
// before.
template <class Fn, class Check>
void FailAtEach(const char* what, const Fn& fn, const Check& check) {
  size_t failures = 0;
  for (size_t k = 1;; k += 1 + k / 64) {
    const long before = g_alive;
    t_until_failure = k;
    const glint_status status = fn();
    const bool failed = t_until_failure == 0;
    t_until_failure = 0;
    const long after = g_alive;
    CAPTURE(what);
    CAPTURE(k);
    if (!failed) {
      CHECK(status == GLINT_OK);
      break;
    }
    ++failures;
    // What was not needed may be lost without a failure: a line of the log, a cache of something.
    if (status != GLINT_OK) {
      CHECK(status == GLINT_ERROR_MEMORY);
      // Fewer: the thread that reads a model ahead has just ended.
      CHECK(after <= before);
    }
    check(status);
  }
  MESSAGE(std::string(what) << ": " << failures << " failures");
}

}  // namespace

TEST_CASE("c api: out of memory at any allocation") {
  const std::string path = c_api_test::TinyPath();
  char error[GLINT_ERROR_SIZE];
  glint_model* model = nullptr;
  // Once in peace: the C++ library keeps some things that it makes on first use.
  const glint_session_options options = c_api_test::Options(64, 4, 2);
  glint_session* session = nullptr;
  glint_chat* chat = nullptr;
  REQUIRE(glint_model_open(path.c_str(), nullptr, &model, error, sizeof error) == GLINT_OK);
  REQUIRE(glint_session_create(model, &options, &session, error, sizeof error) == GLINT_OK);
  REQUIRE(glint_chat_create(session, nullptr, &chat, error, sizeof error) == GLINT_OK);
  CHECK(glint_chat_ask(chat, nullptr, "?", 1, nullptr, nullptr) == GLINT_OK);
  glint_chat_free(chat);
  glint_session_free(session);
  glint_model_free(model);
  CHECK(glint_model_open("no such file", nullptr, &model, error, sizeof error) == GLINT_ERROR_FILE);
  const long alive = g_alive;
  const auto free_model = [&](glint_status status) {
    if (status == GLINT_OK) glint_model_free(model);
    CHECK((status == GLINT_OK) == (model != nullptr));
    model = nullptr;
  };
  FailAtEach(
      "open", [&] { return glint_model_open(path.c_str(), nullptr, &model, error, sizeof error); },
      free_model);
  REQUIRE(model);
  FailAtEach(
      "session",
      [&] { return glint_session_create(model, &options, &session, error, sizeof error); },
      [&](glint_status status) {
        if (status == GLINT_OK) glint_session_free(session);
        session = nullptr;
      });
  REQUIRE(session);
  FailAtEach(
      "chat", [&] { return glint_chat_create(session, nullptr, &chat, error, sizeof error); },
      [&](glint_status status) {
        if (status == GLINT_OK) glint_chat_free(chat);
        chat = nullptr;
      });
  REQUIRE(chat);
  glint_sampler_options sampler = glint_sampler_options_init();
  sampler.temperature = 0;
  glint_generate_options generate = glint_generate_options_init();
  generate.sampler = &sampler;
  const auto ask = [&](glint_reply* reply) {
    return glint_chat_ask(chat, nullptr, c_api_test::kQuestion, sizeof c_api_test::kQuestion - 1,
                          &generate, reply);
  };
  // Once in peace: buffers that the session keeps have grown.
  REQUIRE(ask(nullptr) == GLINT_OK);
  REQUIRE(glint_chat_set_history(chat, nullptr, 0) == GLINT_OK);
  glint_reply reply = glint_reply_init();
  size_t k = 0;
  for (bool done = false; !done; k += 1 + k / 32) {
    t_until_failure = k + 1;
    const glint_status status = ask(&reply);
    done = t_until_failure != 0;
    t_until_failure = 0;
    CAPTURE(k);
    CHECK((status == GLINT_OK || status == GLINT_ERROR_MEMORY));
    if (done) CHECK(std::string(reply.text) == c_api_test::kAnswer);
    REQUIRE(glint_chat_set_history(chat, nullptr, 0) == GLINT_OK);
  }
  MESSAGE("ask: up to allocation " << k);
  void* data = nullptr;
  size_t size = 0;
  FailAtEach(
      "save", [&] { return glint_session_save(session, &data, &size); },
      [&](glint_status status) {
        if (status == GLINT_OK) glint_free(data);
      });
  REQUIRE(data);
  FailAtEach(
      "restore", [&] { return glint_session_restore(session, data, size); }, [](glint_status) {});
  glint_free(data);
  REQUIRE(ask(&reply) == GLINT_OK);
  CHECK(std::string(reply.text) == c_api_test::kAnswer);
  glint_chat_free(chat);
  glint_session_free(session);
  glint_model_free(model);
  // Of some 600 failed calls nothing is left. doctest keeps a few things of its messages.
  CHECK(g_alive <= alive + 8);
}
