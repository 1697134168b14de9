#include "examples/commands/report.h"

#include "examples/commands/console.h"

namespace glint {
namespace {

constexpr size_t kMaxValueBytes = 100;

std::string Dump(const auto& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

double PerSecond(size_t n, double seconds) {
  return seconds > 0 ? static_cast<double>(n) / seconds : 0;
}

std::string MetadataText(const GlintFile& file, const char* key) {
  const nlohmann::json& metadata = *file.header().metadata;
  const auto found = metadata.find(key);
  return found != metadata.end() && found->is_string() ? found->get<std::string>() : "unknown";
}

void PrintJson(const nlohmann::ordered_json& value) {
  Print(Dump(value) + "\n");
}

nlohmann::ordered_json TensorsJson(const std::vector<TensorRow>& rows, const char* remark) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const TensorRow& row : rows) {
    out.push_back(
        {{"name", row.name}, {"type", row.type}, {"shape", row.shape}, {"bytes", row.bytes}});
    if (!row.remark.empty()) out.back()[remark] = row.remark;
  }
  return out;
}

void PrintTensors(const std::vector<TensorRow>& rows) {
  std::vector<std::vector<std::string>> table;
  uint64_t elements = 0, bytes = 0;
  for (const TensorRow& row : rows) {
    elements += row.elements;
    bytes += row.bytes;
    table.push_back({"  " + OneLine(row.name), row.type, ShapeText(row.shape),
                     HumanBytes(row.bytes), OneLine(row.remark)});
  }
  Print("tensors\n");
  PrintColumns(table, {false, false, true, true, false});
  Print(std::to_string(rows.size()) + " tensors, " + HumanCount(elements) + " numbers, " +
        HumanBytes(bytes) + "\n");
}

void PrintObject(const std::string& title, const nlohmann::json& object) {
  if (!object.is_object() || object.empty()) return;
  Print(title + "\n");
  std::vector<std::vector<std::string>> table;
  for (const auto& [key, value] : object.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : Dump(value);
    if (text.size() > kMaxValueBytes) {
      size_t cut = kMaxValueBytes;
      while ((static_cast<uint8_t>(text[cut]) & 0xC0) == 0x80) --cut;  // not inside a character
      text = text.substr(0, cut) + " ...";
    }
    table.push_back({"  " + OneLine(key), OneLine(text)});
  }
  PrintColumns(table, {});
}

}  // namespace glint
