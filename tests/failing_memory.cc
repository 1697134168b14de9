#include "tests/failing_memory.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

namespace glint::test {
namespace {

std::atomic<bool> g_counts{false}, g_failed{false}, g_goes_on{false};
std::atomic<size_t> g_requests{0}, g_fail_at{SIZE_MAX};
std::atomic<int64_t> g_blocks{0}, g_mapped{0};

// Counts a request; whether it is to fail.
bool Fails() {
  if (!g_counts.load()) return false;
  const size_t number = g_requests.fetch_add(1), at = g_fail_at.load();
  if (number != at && !(g_goes_on.load() && number > at)) return false;
  g_failed.store(true);
  return true;
}

void* New(size_t size, size_t alignment) {
  if (Fails()) return nullptr;
  void* block = nullptr;
  if (alignment <= alignof(std::max_align_t)) {
    block = std::malloc(size == 0 ? 1 : size);
  } else if (posix_memalign(&block, alignment, size) != 0) {
    block = nullptr;
  }
  if (block) g_blocks.fetch_add(1);
  return block;
}

void* NewOrThrow(size_t size, size_t alignment) {
  void* const block = New(size, alignment);
  if (!block) throw std::bad_alloc();
  return block;
}

void Delete(void* block) {
  if (!block) return;
  g_blocks.fetch_sub(1);
  std::free(block);
}

int64_t WholePages(size_t size) {
  constexpr size_t kPage = 4096;
  return static_cast<int64_t>((size + kPage - 1) / kPage * kPage);
}

template <class Fn>
Fn* Real(const char* name) {
  return reinterpret_cast<Fn*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

MemoryScope::MemoryScope(size_t fail_at, bool goes_on) {
  g_requests.store(0);
  g_failed.store(false);
  g_fail_at.store(fail_at);
  g_goes_on.store(goes_on);
  g_counts.store(true);
}

MemoryScope::~MemoryScope() { g_counts.store(false); }
size_t MemoryScope::requests() const { return g_requests.load(); }
bool MemoryScope::failed() const { return g_failed.load(); }
Live LiveMemory() { return {g_blocks.load(), g_mapped.load()}; }

}  // namespace glint::test

using namespace glint::test;

// The forms that are not here call these. (Those of arrays would too, but for a sanitizer, which has its own.)
void* operator new(size_t size) { return NewOrThrow(size, 1); }
void* operator new[](size_t size) { return NewOrThrow(size, 1); }
void operator delete[](void* block) noexcept { Delete(block); }
void operator delete[](void* block, size_t) noexcept { Delete(block); }
void* operator new(size_t size, std::align_val_t alignment) {
  return NewOrThrow(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return New(size, 1); }
void operator delete(void* block) noexcept { Delete(block); }
void operator delete(void* block, size_t) noexcept { Delete(block); }
void operator delete(void* block, std::align_val_t) noexcept { Delete(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { Delete(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { Delete(block); }

// With 64-bit offsets the header gives this the name mmap64.
extern "C" void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  if (Fails()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* const map =
      Real<void*(void*, size_t, int, int, int, off_t)>("mmap64")(at, size, protection, flags, fd, offset);
  if (map != MAP_FAILED) g_mapped.fetch_add(WholePages(size));
  return map;
}

extern "C" int munmap(void* at, size_t size) noexcept {
  const int result = Real<int(void*, size_t)>("munmap")(at, size);
  if (result == 0) g_mapped.fetch_sub(WholePages(size));
  return result;
}

// For std::thread, which is in a library of its own.
extern "C" __attribute__((visibility("default"))) int pthread_create(
    pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
    void* argument) noexcept {
  if (Fails()) return EAGAIN;
  return Real<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create")(
      thread, attributes, start, argument);
}
