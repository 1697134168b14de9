#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/glint_file.h"

// What `info` says about files of every kind, for people and for programs.
namespace glint {

struct TensorRow {
  std::string name, type;
  std::vector<uint64_t> shape;
  uint64_t elements = 0, bytes = 0;
  std::string remark;  // the shard it is in, or what it is tied to
};

double PerSecond(size_t n, double seconds);  // 0 in no time

// A text of the file's metadata ("name", "recipe"); "unknown" if it is not there.
std::string MetadataText(const GlintFile& file, const char* key);

// One JSON value on one line; invalid UTF-8 is replaced, never written.
void PrintJson(const nlohmann::ordered_json& value);

// A JSON array of the tensors; `remark` is the key for the remark, where there is one.
nlohmann::ordered_json TensorsJson(const std::vector<TensorRow>& rows, const char* remark);

// Aligned columns, then a line of totals.
void PrintTensors(const std::vector<TensorRow>& rows);

// The members of a JSON object, one per line under a title; nothing if there are none.
void PrintObject(const std::string& title, const nlohmann::json& object);

}  // namespace glint
