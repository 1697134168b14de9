#include "tests/npy.h"

#include <cstring>
#include <sstream>
#include <stdexcept>

#include "tests/test_util.h"

namespace glint {
namespace {

// The text after `key` in the header's dictionary.
std::string After(const std::string& header, const std::string& key) {
  const size_t at = header.find(key);
  if (at == std::string::npos) throw std::runtime_error("npy: no " + key);
  return header.substr(at + key.size());
}

template <class T, class Out>
void Append(const std::string& bytes, std::vector<Out>* out) {
  for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + i, sizeof value);
    out->push_back(static_cast<Out>(value));
  }
}

}  // namespace

NpyArray ReadNpy(const std::string& path) {
  const std::string file = ReadFile(path);
  if (file.size() < 10 || file.compare(0, 6, "\x93NUMPY") != 0) {
    throw std::runtime_error(path + ": not an npy file");
  }
  const size_t length = static_cast<uint8_t>(file[8]) + 256u * static_cast<uint8_t>(file[9]);
  const std::string header = file.substr(10, length), bytes = file.substr(10 + length);
  NpyArray array;
  std::string shape = After(header, "'shape': (");
  std::istringstream dims(shape.substr(0, shape.find(')')));
  for (std::string dim; std::getline(dims, dim, ',');) {
    if (dim.find_first_of("0123456789") != std::string::npos) array.shape.push_back(std::stoull(dim));
  }
  const std::string type = After(header, "'descr': '").substr(0, 3);
  if (type == "<f4") Append<float>(bytes, &array.floats);
  if (type == "<i4") Append<int32_t>(bytes, &array.integers);
  if (type == "<i8") Append<int64_t>(bytes, &array.integers);
  if (array.floats.empty() && array.integers.empty()) {
    throw std::runtime_error(path + ": type " + type + " is not supported");
  }
  return array;
}

}  // namespace glint
