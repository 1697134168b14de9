// The C interface: version, statuses, what the build and the machine can do, and how failures are
// told.
#include "lib/c_api/c_api.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "lib/text/utf8.h"
#include "lib/version.h"
#include "simd/cpu.h"
#include "simd/cpu_info.h"
#include "simd/kernels.h"

namespace glint::c_api {
namespace {

// No version of a struct is larger; a size beyond it was never filled in.
constexpr size_t kMaxStructBytes = 4096;

struct StatusRow {
  int status;
  const char* name;
  const char* text;
};
#define GLINT_ROW(status, text) \
  { status, #status, text }
constexpr StatusRow kStatuses[] = {
    GLINT_ROW(GLINT_OK, "ok"),
    GLINT_ROW(GLINT_CANCELLED, "cancelled"),
    GLINT_ROW(GLINT_CONTEXT_FULL, "the context is full"),
    GLINT_ROW(GLINT_NON_FINITE,
              "the model produced numbers that are not finite; its weights may be damaged"),
    GLINT_ROW(GLINT_FILE_CHANGED, "the model file was changed while it was in use"),
    GLINT_ROW(GLINT_ERROR_ARGUMENT, "a null, a wrong value or size, or a call in the wrong order"),
    GLINT_ROW(GLINT_ERROR_MEMORY, "not enough memory"),
    GLINT_ROW(GLINT_ERROR_BUSY, "another thread is using the session"),
    GLINT_ROW(GLINT_ERROR_BUFFER, "the buffer is too small"),
    GLINT_ROW(GLINT_ERROR_FILE, "the file cannot be read or written, is damaged, or does not fit"),
    GLINT_ROW(GLINT_ERROR_UNSUPPORTED, "the model, the build or the machine cannot do this"),
    GLINT_ROW(GLINT_ERROR_INTERNAL, "an error inside the library"),
};
#undef GLINT_ROW

const StatusRow* FindStatus(int status) {
  for (const StatusRow& row : kStatuses) {
    if (row.status == status) return &row;
  }
  return nullptr;
}

// Cuts between words.
template <size_t kSize>
void JoinInto(const std::vector<std::string>& words, char (&out)[kSize]) {
  std::string joined;
  for (const std::string& word : words) {
    if (joined.size() + 1 + word.size() >= kSize) break;
    joined += (joined.empty() ? "" : " ") + word;
  }
  std::memcpy(out, joined.c_str(), joined.size() + 1);
}

}  // namespace

void ThrowArgument(const std::string& message) {
  throw StatusError(GLINT_ERROR_ARGUMENT, message);
}

void CheckNotNull(const void* pointer, const char* name) {
  if (!pointer) ThrowArgument(std::string(name) + " is null");
}

void MessageBuffer::Set(const char* message) const {
  if (!text || size == 0) return;
  size_t n = std::strlen(message);
  if (n >= size) {
    n = size - 1;
    while (n > 0 && IsContinuation(message[n])) --n;
  }
  std::memmove(text, message, n);
  text[n] = 0;
}

glint_status CurrentFailure(glint_status meaning, MessageBuffer message) noexcept {
  try {
    throw;
  } catch (const StatusError& error) {
    message.Set(error.what());
    return error.status();
  } catch (const Cancelled& error) {
    message.Set(error.what());
    return GLINT_CANCELLED;
  } catch (const DoesNotFit& error) {
    message.Set(error.what());
    return GLINT_CONTEXT_FULL;
  } catch (const OutOfMemory& error) {
    message.Set(error.what());
    return GLINT_ERROR_MEMORY;
  } catch (const Error& error) {
    message.Set(error.what());
    return meaning;
  } catch (const std::bad_alloc&) {
    return GLINT_ERROR_MEMORY;
  } catch (const std::length_error&) {  // a size beyond what a container can have
    return GLINT_ERROR_MEMORY;
  } catch (const std::exception& error) {
    message.Set(error.what());
    return GLINT_ERROR_INTERNAL;
  } catch (...) {
    return GLINT_ERROR_INTERNAL;
  }
}

glint_status FromStatus(Status status) {
  constexpr glint_status kAll[] = {GLINT_OK, GLINT_CANCELLED, GLINT_CONTEXT_FULL, GLINT_NON_FINITE,
                                   GLINT_FILE_CHANGED};
  return kAll[static_cast<size_t>(status)];
}

void CheckStructSize(size_t size, size_t alignment, const char* name) {
  if (size >= sizeof(size_t) && size <= kMaxStructBytes && size % alignment == 0) return;
  ThrowArgument(std::string(name) + ": its size is " + std::to_string(size) +
                ", which no version has; use " + name + "_init()");
}

void CheckUnknownMembers(const void* data, size_t begin, size_t end, const char* name) {
  const unsigned char* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = begin; i < end; ++i) {
    if (bytes[i] == 0) continue;
    ThrowArgument(std::string(name) + ": byte " + std::to_string(i) +
                  " belongs to a member that glint " + kVersion + " does not know, and is not 0");
  }
}

void CheckEnum(int value, int count, const char* name) {
  if (value >= 0 && value < count) return;
  ThrowArgument(std::string(name) + " is " + std::to_string(value) + "; expected 0 to " +
                std::to_string(count - 1));
}

std::string_view TextArgument(const char* text, size_t size, const char* name) {
  if (size != 0) CheckNotNull(text, name);
  return size == 0 ? std::string_view() : std::string_view(text, size);
}

std::span<const int32_t> IdsArgument(const int32_t* ids, size_t n) {
  if (n != 0) CheckNotNull(ids, "ids");
  return n == 0 ? std::span<const int32_t>() : std::span<const int32_t>(ids, n);
}

}  // namespace glint::c_api

using namespace glint;
using namespace glint::c_api;

const char* glint_version(void) {
  return kVersion;
}

int glint_version_number(void) {
  return GLINT_VERSION_MAJOR * 1000000 + GLINT_VERSION_MINOR * 1000 + GLINT_VERSION_PATCH;
}

int glint_numerics(void) {
  return kNumerics;
}

const char* glint_status_name(int status) {
  const StatusRow* row = FindStatus(status);
  return row ? row->name : "unknown";
}

const char* glint_status_text(int status) {
  const StatusRow* row = FindStatus(status);
  return row ? row->text : "unknown";
}

void glint_free(void* data) {
  std::free(data);
}

glint_status glint_get_capabilities(glint_capabilities* capabilities) {
  return Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    glint_capabilities result = glint_capabilities_init();
    result.default_threads = DefaultThreads();
    result.numerics = kNumerics;
#if !defined(_WIN32)
    result.can_open_descriptor = 1;
#endif
    std::vector<std::string> targets;
    for (const KernelTable* const* table = kKernelTables; *table; ++table) {
      targets.push_back((*table)->isa);
    }
    JoinInto(targets, result.targets);
    try {
      JoinInto({ChooseKernels().isa}, result.target);
    } catch (const Error&) {  // stays empty
    }
    JoinInto(CpuFeatureNames(CpuFeatures()), result.cpu_features);
    MessageBuffer{result.cpu, sizeof result.cpu}.Set(CpuModelName().c_str());
    WriteStruct(result, capabilities, "glint_capabilities");
    return GLINT_OK;
  });
}
