#pragma once
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checksum.h"
#include "formats/glint_writer.h"
#include "formats/header.h"
#include "formats/prefix.h"

namespace glint {

// A small model with every type, tie, section and kind of attribute, for the tests of the file.
struct Sample {
  ModelHeader header;
  std::vector<TensorPlan> plan;
  std::vector<std::string> data;  // per tensor of the plan; empty for tied ones
};

inline uint64_t HeadSize(const std::string& file) {
  uint64_t text_bytes;
  std::memcpy(&text_bytes, file.data() + 16, 8);
  return RoundUp(kPrefixBytes + text_bytes, kDataAlignment);
}

inline Graph MainGraph() {
  Graph graph;
  graph.name = "main";
  graph.inputs = {"ids", "position.0"};
  graph.outputs = {"logits"};
  graph.nodes.push_back({"embedding", {"ids", "vocabulary"}, {"x"}, {}});
  graph.nodes.push_back({"linear", {"x", "layer.int4", "layer.bias"}, {"y", "z"}, {}});
  graph.nodes.push_back({"linear", {"y", "lm_head"}, {"logits"}, {}});
  graph.nodes[0].attributes = {
      {"count", int64_t{7}},
      {"smallest", std::numeric_limits<int64_t>::min()},
      {"largest", std::numeric_limits<int64_t>::max()},
      {"whole", 7.0},
      {"minus_zero", -0.0},
      {"tenth", 0.1},
      {"huge", 1e300},
      {"tiny", std::numeric_limits<double>::denorm_min()},
      {"text", std::string("quote \" backslash \\ newline \n \u4f60\u597d")},
      {"no_text", std::string()},
      {"list", std::vector<int64_t>{1, -2, std::numeric_limits<int64_t>::max()}},
      {"no_list", std::vector<int64_t>{}},
  };
  return graph;
}

inline Sample SampleModel() {
  Sample sample;
  ModelHeader& header = sample.header;
  *header.metadata = {{"name", "sample"}, {"licence", "MIT"}, {"numerics", 1}};
  *header.config = {{"architecture", "chatglm"}, {"dim", 64}, {"norm_eps", 1e-5}};
  *header.prompt = {{"format", "chatglm-6b"}, {"stop_ids", {5, 6}}};
  header.tokenizer.reset(new nlohmann::json{{"algorithm", "unigram"}});
  header.graphs.push_back(MainGraph());
  Graph encoder;
  encoder.name = "encoder";
  encoder.inputs = {"ids"};
  encoder.outputs = {"x"};
  encoder.nodes.push_back({"embedding", {"ids", "lm_head"}, {"x"}, {}});
  header.graphs.push_back(encoder);

  const BlockOffset none = BlockOffset::kNone;
  sample.plan = {
      {"vocabulary", DType::kInt8, none, {50, 64}, ""},
      {"lm_head", DType::kF32, none, {}, "vocabulary"},
      {"layer.bias", DType::kF32, none, {5}, ""},
      {"layer.int4", DType::kInt4, none, {16, 32}, ""},
      {"layer.int4x", DType::kInt4x, none, {17, 43}, ""},
      {"layer.int4a", DType::kInt4a, none, {3, 33}, ""},
      {"layer.zero", DType::kInt4a, BlockOffset::kZero, {20, 65}, ""},
      {"layer.min", DType::kInt4a, BlockOffset::kMin, {20, 65}, ""},
      {"layer.f32", DType::kF32, none, {3, 7}, ""},
      {"layer.f16", DType::kF16, none, {1, 1}, ""},
      {"layer.bf16", DType::kBF16, none, {20, 2}, ""},
      {"half", DType::kF16, none, {9}, ""},
      {"brain", DType::kBF16, none, {1}, ""},
      {"tokenizer.piece_bytes", DType::kU8, none, {65}, ""},
      {"tokenizer.piece_ends", DType::kI32, none, {3}, ""},
      {"tokenizer.again", DType::kF32, none, {}, "tokenizer.piece_ends"},
  };
  std::mt19937 random(1);
  for (const TensorPlan& plan : sample.plan) {
    uint64_t bytes = 0;
    if (plan.tied_to.empty()) TensorBytes(plan.dtype, plan.offset, plan.shape, &bytes);
    std::string data(bytes, '\0');
    for (char& c : data) c = static_cast<char>(random());
    sample.data.push_back(data);
  }
  return sample;
}

inline void WriteSample(const Sample& sample, const std::string& path, bool overwrite = false) {
  GlintWriter writer(path, sample.header, sample.plan, overwrite);
  for (size_t i = 0; i < sample.plan.size(); ++i) {
    if (sample.plan[i].tied_to.empty()) {
      writer.Write(i, 0, sample.data[i].data(), sample.data[i].size());
    }
  }
  writer.Finish();
}

// The head of a file with these tensors, checksums all zero.
inline std::string SparseHead(const ModelHeader& header, const std::vector<TensorPlan>& plan) {
  std::vector<TensorEntry> entries(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    entries[i].tensor.name = plan[i].name;
    entries[i].tensor.dtype = plan[i].dtype;
    entries[i].tensor.offset = plan[i].offset;
    entries[i].tensor.shape = plan[i].shape;
    entries[i].tied_to = plan[i].tied_to;
  }
  LayOut(&entries, "sample");
  return HeadBytes(HeaderText(header, entries, "sample"));
}

// The header's text in a file's bytes.
inline std::string HeaderTextOf(const std::string& file) {
  uint64_t text_bytes;
  std::memcpy(&text_bytes, file.data() + 16, 8);
  return file.substr(kPrefixBytes, text_bytes);
}

// The same file with another header and a right checksum of it.
inline std::string WithHeaderText(const std::string& file, std::string_view text) {
  return HeadBytes(text) + file.substr(HeadSize(file));
}

// `file` with the checksum of its head made right again.
inline std::string WithChecksum(std::string file) {
  std::memset(file.data() + kChecksumAt, 0, 8);
  const uint64_t checksum = ChecksumOf(file.data(), HeadSize(file));
  std::memcpy(file.data() + kChecksumAt, &checksum, 8);
  return file;
}

}  // namespace glint
