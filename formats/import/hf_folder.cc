#include "formats/import/hf_folder.h"

#include <iterator>
#include <set>
#include <string_view>

#include "formats/import/input_file.h"
#include "formats/json.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

using nlohmann::json;

struct Form {
  const char* name;
  const char* shard_suffix;  // null: the weights themselves
};

// What a folder may hold, the first that exists is taken. Safetensors come first because they need
// no pickle; an index before the single file, as who splits a model keeps the index up to date.
constexpr Form kForms[] = {
    {"model.safetensors.index.json", ".safetensors"},
    {"model.safetensors", nullptr},
    {"pytorch_model.bin.index.json", ".bin"},
    {"pytorch_model.bin", nullptr},
};

// A shard name comes from a stranger and becomes a path: it may only mean a file of this folder.
void CheckShardName(const std::string& shard, std::string_view suffix, const std::string& where) {
  const bool ends_well = shard.size() > suffix.size() && shard.ends_with(suffix);
  if (!IsPlainFileName(shard) || !IsUtf8(shard) || shard.front() == '.' || !ends_well) {
    throw Error(where + ": expected a plain file name that ends in " + std::string(suffix) +
                ", got " + Quoted(shard));
  }
}

WeightFiles ReadIndex(const std::string& folder, const Form& form) {
  WeightFiles files;
  files.index = JoinPath(folder, form.name);
  const json index = ReadJsonFile(files.index);
  const json& map = GetObject(index, "weight_map", files.index);
  if (map.empty()) throw Error(files.index + ": 'weight_map' names no tensor");

  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map.items()) {
    const std::string where = files.index + ": weight_map: " + Quoted(tensor);
    if (!shard.is_string()) {
      throw Error(where + ": expected a string, got " + shard.type_name());
    }
    CheckShardName(shard.get_ref<const std::string&>(), form.shard_suffix, where);
    shards.insert(shard.get<std::string>());
  }
  std::map<std::string, size_t> place_of;
  for (const std::string& shard : shards) {
    place_of[shard] = files.paths.size();
    files.paths.push_back(JoinPath(folder, shard));
    if (!FileExists(files.paths.back())) {
      throw Error(files.index + ": the shard " + Quoted(shard) + " is missing in " +
                  Quoted(folder));
    }
  }
  for (const auto& [tensor, shard] : map.items()) {
    files.file_of[tensor] = place_of[shard.get_ref<const std::string&>()];
  }
  return files;
}

}  // namespace

std::string BaseName(const std::string& path) {
  return path.substr(NameBegin(path));
}

json ReadJsonFile(const std::string& path, uint64_t max_bytes) {
  const InputFile file(path);
  const std::vector<uint8_t> bytes = ReadWholeFile(file, max_bytes);
  const std::string kind = DescribeKind(file);
  if (!kind.empty()) throw Error(path + ": this looks like " + kind);
  return ParseJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

json ReadJsonIfThere(const std::string& path) {
  return FileExists(path) ? ReadJsonFile(path) : json();
}

WeightFiles FindWeightFiles(const std::string& folder) {
  std::string looked_for;
  for (const Form& form : kForms) {
    const std::string path = JoinPath(folder, form.name);
    looked_for += std::string(looked_for.empty() ? "" : ", ") + form.name;
    if (!FileExists(path)) continue;
    if (form.shard_suffix != nullptr) return ReadIndex(folder, form);
    WeightFiles files;
    files.paths.push_back(path);
    return files;
  }
  throw Error(folder + ": no weights in this folder: looked for " + looked_for);
}

}  // namespace glint
