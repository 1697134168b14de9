#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "formats/glint_writer.h"

namespace glint {

// A small model with every type, tie, section and kind of attribute, for the tests of the file.
struct Sample {
  ModelHeader header;
  std::vector<TensorPlan> plan;
  std::vector<std::string> data;  // per tensor of the plan; empty for tied ones
};

Sample SampleModel();
void WriteSample(const Sample& sample, const std::string& path, bool overwrite = false);

// The head of a file with these tensors, checksums all zero.
std::string SparseHead(const ModelHeader& header, const std::vector<TensorPlan>& plan);

// The header's text in a file's bytes, and the same file with another text and a right checksum.
std::string HeaderTextOf(const std::string& file);
std::string WithHeaderText(const std::string& file, std::string_view text);

// `file` with the checksum of its head made right again.
std::string WithChecksum(std::string file);

}  // namespace glint
