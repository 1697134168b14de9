#include "formats/header.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "formats/checksum.h"
#include "formats/graph_json.h"
#include "formats/json.h"
#include "formats/prefix.h"
#include "lib/error.h"

namespace glint {
namespace {

using nlohmann::json;

constexpr size_t kMaxTensors = 1 << 17;
constexpr size_t kMaxGraphs = 64;

constexpr const char* kHeaderKeys[] = {"metadata", "config",  "graphs", "tokenizer",
                                       "prompt",   "tensors", nullptr};
constexpr const char* kTensorKeys[] = {"name",   "dtype", "block_offset", "shape",
                                       "offset", "bytes", "xxh3",         nullptr};
constexpr const char* kTiedKeys[] = {"name", "tied_to", nullptr};

using Index = std::map<std::string_view, const TensorEntry*>;

std::string TensorWhere(const std::string& path, std::string_view name) {
  return path + ": tensor " + Quoted(name);
}

std::string ShapeText(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const uint64_t n : shape) text += (text.empty() ? "(" : ", ") + std::to_string(n);
  return text.empty() ? "()" : text + ")";
}

std::string TypeText(const Tensor& tensor) {
  std::string text = Info(tensor.dtype).name;
  if (tensor.offset != BlockOffset::kNone) text += std::string(" (") + Name(tensor.offset) + ")";
  return text + " " + ShapeText(tensor.shape);
}

void ParseTypeAndShape(const json& object, Tensor* tensor, const std::string& where) {
  const std::string dtype = GetString(object, "dtype", where);
  if (!ParseDType(dtype, &tensor->dtype)) {
    throw Error(where + ": unknown dtype " + Quoted(dtype));
  }
  if (object.contains("block_offset")) {
    const std::string offset = GetString(object, "block_offset", where);
    if (!ParseBlockOffset(offset, &tensor->offset)) {
      throw Error(where + ": unknown block_offset " + Quoted(offset));
    }
  }
  const json& shape = GetArray(object, "shape", where);
  if (shape.empty() || shape.size() > 2) {
    throw Error(where + ": expected a shape of 1 or 2 dimensions, got " +
                std::to_string(shape.size()));
  }
  for (const json& n : shape) {
    if (!n.is_number_unsigned() || n.get<uint64_t>() == 0) {
      throw Error(where + ": every dimension of the shape must be a positive integer");
    }
    tensor->shape.push_back(n.get<uint64_t>());
  }
}

TensorEntry ParseEntry(const json& object, const std::string& path) {
  const std::string list = path + ": tensors";
  TensorEntry entry;
  entry.tensor.name = GetString(object, "name", list);
  CheckName(entry.tensor.name, "a tensor", list);
  const std::string where = TensorWhere(path, entry.tensor.name);
  if (object.contains("tied_to")) {
    CheckKeys(object, kTiedKeys, where);
    entry.tied_to = GetString(object, "tied_to", where);
    if (entry.tied_to.empty()) throw Error(where + ": 'tied_to' is empty");
    return entry;
  }
  CheckKeys(object, kTensorKeys, where);
  ParseTypeAndShape(object, &entry.tensor, where);
  const uint64_t any = UINT64_MAX;
  entry.offset = GetUint(object, "offset", 0, any, where);
  entry.tensor.bytes = GetUint(object, "bytes", 0, any, where);
  const std::string checksum = GetString(object, "xxh3", where);
  if (!ParseChecksum(checksum, &entry.xxh3)) {
    throw Error(where + ": 'xxh3': expected 16 lower-case hexadecimal digits, got " +
                Quoted(checksum));
  }
  return entry;
}

// Adds `entry` to the index of names and, if it is tied, copies what it shares.
void Resolve(TensorEntry* entry, Index* index, const std::string& path) {
  Tensor& tensor = entry->tensor;
  const std::string where = TensorWhere(path, tensor.name);
  if (!entry->tied_to.empty()) {
    const auto found = index->find(entry->tied_to);
    if (found == index->end() || !found->second->tied_to.empty()) {
      throw Error(where + ": tied to " + Quoted(entry->tied_to) +
                  ", which is no earlier tensor with data of its own");
    }
    const TensorEntry& source = *found->second;
    const std::string name = tensor.name;
    tensor = source.tensor;
    tensor.name = name;
    entry->offset = source.offset;
    entry->xxh3 = source.xxh3;
  }
  if (!index->emplace(tensor.name, entry).second) throw Error(where + ": appears twice");
}

// Where the tensor must lie and how long it must be; returns the end of its padding.
uint64_t PlaceOne(uint64_t begin, Tensor* tensor, const std::string& path) {
  const std::string where = TensorWhere(path, tensor->name);
  if (!TensorBytes(tensor->dtype, tensor->offset, tensor->shape, &tensor->bytes)) {
    throw Error(where + ": there is no tensor " + TypeText(*tensor));
  }
  // Both summands are at most 2^62, so the sum does not wrap.
  const uint64_t end = begin + RoundUp(tensor->bytes, kTensorAlignment);
  if (end > uint64_t{1} << 62)
    throw Error(where + ": the tensors before its end exceed 2^62 bytes");
  return end;
}

// The offsets in the file must be those that the order of the list implies: then nothing overlaps,
// nothing is misaligned and no byte is unaccounted for.
void CheckPlace(const TensorEntry& listed, const TensorEntry& expected, const std::string& path) {
  const std::string where = TensorWhere(path, listed.tensor.name);
  if (listed.tensor.bytes != expected.tensor.bytes) {
    throw Error(where + ": " + TypeText(listed.tensor) + " takes " +
                std::to_string(expected.tensor.bytes) + " bytes, the header says " +
                std::to_string(listed.tensor.bytes));
  }
  if (listed.offset == expected.offset) return;
  const char* kind = listed.offset % kTensorAlignment  ? "not a multiple of 64"
                     : listed.offset < expected.offset ? "overlaps the tensor before it"
                                                       : "leaves a hole before it";
  throw Error(where + ": expected offset " + std::to_string(expected.offset) + ", got " +
              std::to_string(listed.offset) + " (" + kind + ")");
}

std::vector<Graph> ParseGraphs(const json& root, const std::string& path) {
  const json& array = GetArray(root, "graphs", path + ": header");
  if (array.size() > kMaxGraphs) {
    throw Error(path + ": " + std::to_string(array.size()) + " graphs, at most " +
                std::to_string(kMaxGraphs) + " allowed");
  }
  std::vector<Graph> graphs;
  for (const json& graph : array) graphs.push_back(ParseGraph(graph, path + ": graph"));
  return graphs;
}

void CheckGraphs(const std::vector<Graph>& graphs, const std::vector<TensorEntry>& tensors,
                 const std::string& path) {
  std::set<std::string_view> names;
  for (const TensorEntry& entry : tensors) names.insert(entry.tensor.name);
  const auto is_tensor = [&names](std::string_view name) { return names.count(name) != 0; };
  std::set<std::string_view> seen;
  for (const Graph& graph : graphs) {
    CheckGraph(graph, is_tensor, path + ": graph");
    if (!seen.insert(graph.name).second) {
      throw Error(path + ": graph " + Quoted(graph.name) + " appears twice");
    }
  }
}

std::vector<TensorEntry> ParseTensors(const json& root, uint64_t* data_bytes,
                                      const std::string& path) {
  const json& array = GetArray(root, "tensors", path + ": header");
  if (array.size() > kMaxTensors) {
    throw Error(path + ": " + std::to_string(array.size()) + " tensors, at most " +
                std::to_string(kMaxTensors) + " allowed");
  }
  std::vector<TensorEntry> tensors;
  tensors.reserve(array.size());
  for (const json& object : array) tensors.push_back(ParseEntry(object, path));
  std::vector<TensorEntry> expected = tensors;
  *data_bytes = LayOut(&expected, path);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].tied_to.empty()) CheckPlace(tensors[i], expected[i], path);
  }
  return expected;
}

std::string EntryText(const TensorEntry& entry) {
  const Tensor& tensor = entry.tensor;
  const std::string name = "{\"name\": " + json(tensor.name).dump();
  if (!entry.tied_to.empty()) return name + ", \"tied_to\": " + json(entry.tied_to).dump() + "}";
  std::string text = name + ", \"dtype\": " + json(Info(tensor.dtype).name).dump();
  if (tensor.offset != BlockOffset::kNone) {
    text += ", \"block_offset\": " + json(Name(tensor.offset)).dump();
  }
  return text + ", \"shape\": " + json(tensor.shape).dump() +
         ", \"offset\": " + std::to_string(entry.offset) +
         ", \"bytes\": " + std::to_string(tensor.bytes) + ", \"xxh3\": \"" +
         ChecksumText(entry.xxh3) + "\"}";
}

// A section that the file keeps as it is: an object, or null where there is none.
std::string SectionText(const JsonSection& section, const char* absent) {
  return section && !section->is_null() ? section->dump() : absent;
}

// Taken out of the root.
JsonSection TakeSection(json* root, const char* key, const std::string& path) {
  GetObject(*root, key, path + ": header");
  JsonSection section(new json);
  section->swap((*root)[key]);
  return section;
}

}  // namespace

uint64_t LayOut(std::vector<TensorEntry>* tensors, const std::string& path) {
  Index index;
  uint64_t end = 0;
  for (TensorEntry& entry : *tensors) {
    CheckName(entry.tensor.name, "a tensor", path + ": tensors");
    if (entry.tied_to.empty()) {
      entry.offset = end;
      end = PlaceOne(end, &entry.tensor, path);
    }
    Resolve(&entry, &index, path);
  }
  return end;
}

std::string HeaderText(const ModelHeader& model, const std::vector<TensorEntry>& tensors,
                       const std::string& path) {
  try {
    std::string text = "{\"metadata\": " + SectionText(model.metadata, "{}") +
                       ",\n\"config\": " + SectionText(model.config, "{}") +
                       ",\n\"tokenizer\": " + SectionText(model.tokenizer, "null") +
                       ",\n\"prompt\": " + SectionText(model.prompt, "{}") + ",\n\"graphs\": [";
    for (size_t i = 0; i < model.graphs.size(); ++i) {
      text += (i ? ",\n" : "\n") + GraphText(model.graphs[i], path + ": graph");
    }
    text += "],\n\"tensors\": [";
    for (size_t i = 0; i < tensors.size(); ++i) text += (i ? ",\n" : "\n") + EntryText(tensors[i]);
    return text + "]}\n";
  } catch (const json::exception&) {
    // dump() throws for one reason only.
    throw Error(path + ": header: a string is not valid UTF-8");
  }
}

FileHeader ParseHeader(std::string_view text, const std::string& path) {
  json root = ParseJson(text, path + ": header");
  const JsonScope scope(&root);
  CheckKeys(root, kHeaderKeys, path + ": header");
  FileHeader header;
  header.model.metadata = TakeSection(&root, "metadata", path);
  header.model.config = TakeSection(&root, "config", path);
  header.model.prompt = TakeSection(&root, "prompt", path);
  const auto tokenizer = root.find("tokenizer");
  if (tokenizer == root.end() || !tokenizer->is_null()) {
    header.model.tokenizer = TakeSection(&root, "tokenizer", path);
  }
  header.tensors = ParseTensors(root, &header.data_bytes, path);
  header.model.graphs = ParseGraphs(root, path);
  CheckGraphs(header.model.graphs, header.tensors, path);
  return header;
}

}  // namespace glint
