#include "formats/import/source_tensor.h"

#include <iterator>

#include "lib/checked_math.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

struct TypeRow {
  const char* name;
  uint64_t bytes;
};

// In the order of SourceType.
constexpr TypeRow kTypes[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
                              {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1}};

}  // namespace

const char* Name(SourceType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

uint64_t ElementBytes(SourceType type) {
  return kTypes[static_cast<size_t>(type)].bytes;
}

bool ParseSourceType(std::string_view name, SourceType* type) {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (name != kTypes[i].name) continue;
    *type = static_cast<SourceType>(i);
    return true;
  }
  return false;
}

bool CountElements(std::span<const uint64_t> shape, uint64_t* elements) {
  *elements = 1;
  // A zero would hide an overflow of the other sizes, so they are multiplied without it first.
  bool empty = false;
  for (const uint64_t size : shape) {
    if (size == 0) {
      empty = true;
    } else if (!CheckedMul(*elements, size, elements)) {
      return false;
    }
  }
  if (empty) *elements = 0;
  return true;
}

void CheckTensorName(std::string_view name, const std::string& where) {
  const char* reason = nullptr;
  if (name.empty()) reason = "is empty";
  if (!IsUtf8(name)) reason = "is not UTF-8";
  if (name.find('\0') != std::string_view::npos) reason = "holds a NUL";
  if (reason == nullptr) return;
  throw Error(where + ": the tensor name " + Quoted(name) + " " + reason);
}

}  // namespace glint
