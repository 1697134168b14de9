#include <algorithm>
#include <nlohmann/json.hpp>

#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "examples/commands/report.h"
#include "formats/import/gguf.h"
#include "formats/import/hf_folder.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

// A vocabulary has hundreds of thousands of items: of a longer array its beginning is shown.
constexpr uint64_t kWholeArray = 32, kBeginning = 8;

nlohmann::json Items(const GgufValue& value, uint64_t count) {
  nlohmann::json items = nlohmann::json::array();
  for (uint64_t i = 0; i < std::min(count, value.count); ++i) items.push_back(value.Item(i));
  return items;
}

Json ValueJson(const GgufValue& value) {
  if (!value.is_array) return value.Item();
  if (value.count <= kWholeArray) return Items(value, value.count);
  return {{"array", Name(value.type)}, {"count", value.count}, {"first", Items(value, kBeginning)}};
}

// For people: what an array is comes before its items, since long lines are cut.
nlohmann::json ValueText(const GgufValue& value) {
  if (!value.is_array) return value.Item();
  const std::string items =
      Items(value, kBeginning).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (value.count <= kBeginning) return value.TypeName() + ": " + items;
  return value.TypeName() + ": " + items.substr(0, items.size() - 1) + ",...]";
}

}  // namespace

void PrintGguf(const std::string& path, bool as_json) {
  const std::unique_ptr<Gguf> gguf = Gguf::Open(path);
  std::vector<TensorRow> rows;
  for (const GgufTensor& tensor : gguf->tensors()) {
    rows.push_back({tensor.name, tensor.type->name, tensor.shape, tensor.elements, tensor.bytes,
                    gguf->parts() > 1 ? BaseName(gguf->FileName(tensor)) : ""});
  }
  if (as_json) {
    Json metadata = Json::object();
    for (const GgufPair& pair : gguf->metadata().pairs()) {
      metadata[pair.key] = ValueJson(pair.value);
    }
    return PrintJson({{"file", path},
                      {"format", "gguf"},
                      {"version", gguf->version()},
                      {"parts", gguf->parts()},
                      {"metadata", metadata},
                      {"tensors", TensorsJson(rows, "file")}});
  }
  nlohmann::json metadata = nlohmann::json::object();
  for (const GgufPair& pair : gguf->metadata().pairs()) metadata[pair.key] = ValueText(pair.value);
  Print(OneLine(path) + ": GGUF version " + std::to_string(gguf->version()) +
        (gguf->parts() > 1 ? ", " + std::to_string(gguf->parts()) + " parts" : "") + "\n");
  PrintObject("metadata", metadata);
  PrintTensors(rows);
}

}  // namespace glint
