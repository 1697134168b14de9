#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <vector>

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

// `folder`/`name`.
std::string JoinPath(const std::string& folder, const std::string& name);

}  // namespace glint
