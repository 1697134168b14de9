#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/system/file.h"

namespace glint {

// The weight files of a Hugging Face folder, in the order in which their names sort.
struct WeightFiles {
  std::string index;  // path of the index.json; empty if there is a single file
  std::vector<std::string> paths;
  std::map<std::string, size_t> file_of;  // the index's weight_map: tensor to place in `paths`
};

// Looks for weights in the folder: safetensors before PyTorch, sharded before single. The shards
// that an index names exist and are plain names in the folder. Throws Error.
WeightFiles FindWeightFiles(const std::string& folder);

// The last part of a path.
std::string BaseName(const std::string& path);

// config.json and others like it. Throws Error: what it is instead, if that can be told.
inline constexpr uint64_t kMaxJsonFileBytes = uint64_t{64} << 20;
nlohmann::json ReadJsonFile(const std::string& path, uint64_t max_bytes = kMaxJsonFileBytes);
// Null if there is no such file.
nlohmann::json ReadJsonIfThere(const std::string& path);

}  // namespace glint
