#include "tests/io_shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <mutex>

namespace glint::test {
namespace {

struct State {
  std::mutex mutex;
  std::string folder;
  size_t calls = 0, fail_at = SIZE_MAX, writes = 0;
  int error = 0;
  std::string fail_name, failed;
  bool cuts = false;
  std::map<int, std::string> files;  // open ones under the folder
  std::vector<IoEvent> events;
};
State* g_state = nullptr;  // while an IoShim lives

// The C library's (or the sanitizer's) own function.
template <class Fn>
Fn* Real(const char* name) {
  return reinterpret_cast<Fn*>(dlsym(RTLD_NEXT, name));
}

bool Below(const std::string& path) {
  return g_state && path.starts_with(g_state->folder);
}

// Under the lock: whether this call is to fail, with errno set.
bool Fails(const char* name) {
  State& state = *g_state;
  const bool hit = state.calls++ == state.fail_at || state.fail_name == name;
  if (!hit) return false;
  state.failed = name;
  errno = state.error;
  return true;
}

// A call on the open file `fd`, or on `path`: `run` does it, and `event` is what it then has done.
template <class Run>
auto Intercept(const char* name, const std::string& path, IoEvent event, const Run& run)
    -> decltype(run()) {
  if (!Below(path)) return run();
  const std::lock_guard lock(g_state->mutex);
  if (Fails(name)) return -1;
  const auto result = run();
  if (result < 0) return result;
  event.path = path;
  g_state->events.push_back(std::move(event));
  return result;
}

std::string PathOf(int fd) {
  if (!g_state) return "";
  const std::lock_guard lock(g_state->mutex);
  const auto found = g_state->files.find(fd);
  return found == g_state->files.end() ? "" : found->second;
}

}  // namespace

IoShim::IoShim(const std::string& folder) {
  g_state = new State;
  g_state->folder = folder;
}

IoShim::~IoShim() {
  delete g_state;
  g_state = nullptr;
}

void IoShim::FailCall(size_t number, int error) {
  g_state->fail_at = number;
  g_state->error = error;
}

void IoShim::FailAll(const std::string& name, int error) {
  g_state->fail_name = name;
  g_state->error = error;
}

void IoShim::CutWrites() { g_state->cuts = true; }
size_t IoShim::calls() const { return g_state->calls; }
std::string IoShim::failed() const { return g_state->failed; }
const std::vector<IoEvent>& IoShim::events() const { return g_state->events; }

}  // namespace glint::test

using namespace glint::test;

// With 64-bit offsets the headers give these the names open64, pwrite64, ...
extern "C" int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list list;
    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
  }
  const auto real = [&] { return Real<int(const char*, int, ...)>("open64")(path, flags, mode); };
  if (!Below(path)) return real();
  const bool creates = (flags & O_CREAT) != 0;
  const int fd = creates ? Intercept("open", path, {IoEvent::kCreate, "", "", 0, ""}, real) : real();
  if (fd < 0) return fd;
  const std::lock_guard lock(g_state->mutex);
  g_state->files[fd] = path;
  return fd;
}

extern "C" ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  const auto real = [&] {
    return Real<ssize_t(int, const void*, size_t, off_t)>("pwrite64")(fd, data, size, offset);
  };
  const std::string path = PathOf(fd);
  if (path.empty()) return real();
  if (g_state->cuts && size > 1) {
    const size_t n = g_state->writes++;
    if (n % 2 == 0) {
      errno = EINTR;
      return -1;
    }
    size = std::max<size_t>(1, size * 2 / 3);
  }
  const std::string bytes(static_cast<const char*>(data), size);
  return Intercept("pwrite", path, {IoEvent::kWrite, "", "", static_cast<uint64_t>(offset), bytes},
                   real);
}

extern "C" int fsync(int fd) {
  const auto real = [&] { return Real<int(int)>("fsync")(fd); };
  const std::string path = PathOf(fd);
  if (path.empty()) return real();
  const bool is_folder = (path + "/").starts_with(g_state->folder + "/") &&
                         path.find_first_not_of('/', g_state->folder.size()) == std::string::npos;
  return Intercept("fsync", path,
                   {is_folder ? IoEvent::kSyncFolder : IoEvent::kSync, "", "", 0, ""}, real);
}

extern "C" int ftruncate(int fd, off_t size) noexcept {
  const auto real = [&] { return Real<int(int, off_t)>("ftruncate64")(fd, size); };
  return Intercept("ftruncate", PathOf(fd),
                   {IoEvent::kResize, "", "", static_cast<uint64_t>(size), ""}, real);
}

extern "C" int fallocate(int fd, int mode, off_t offset, off_t size) {
  const auto real = [&] { return Real<int(int, int, off_t, off_t)>("fallocate64")(fd, mode, offset, size); };
  return Intercept("fallocate", PathOf(fd),
                   {IoEvent::kResize, "", "", static_cast<uint64_t>(offset + size), ""}, real);
}

extern "C" int flock(int fd, int operation) noexcept {
  const auto real = [&] { return Real<int(int, int)>("flock")(fd, operation); };
  if (PathOf(fd).empty()) return real();
  const std::lock_guard lock(g_state->mutex);
  return Fails("flock") ? -1 : real();
}

extern "C" int close(int fd) {
  const auto real = [&] { return Real<int(int)>("close")(fd); };
  if (PathOf(fd).empty()) return real();
  const std::lock_guard lock(g_state->mutex);
  g_state->files.erase(fd);
  if (!Fails("close")) return real();
  const int error = errno;
  real();
  errno = error;
  return -1;
}

extern "C" int rename(const char* from, const char* to) noexcept {
  const auto real = [&] { return Real<int(const char*, const char*)>("rename")(from, to); };
  return Intercept("rename", from, {IoEvent::kRename, "", to, 0, ""}, real);
}

extern "C" int link(const char* from, const char* to) noexcept {
  const auto real = [&] { return Real<int(const char*, const char*)>("link")(from, to); };
  return Intercept("link", from, {IoEvent::kLink, "", to, 0, ""}, real);
}

extern "C" int unlink(const char* path) noexcept {
  const auto real = [&] { return Real<int(const char*)>("unlink")(path); };
  return Intercept("unlink", path, {IoEvent::kUnlink, "", "", 0, ""}, real);
}
