#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "formats/checksum.h"
#include "lib/sampler.h"
#include "lib/session.h"
#include "simd/cpu.h"
#include "tests/system.h"
#include "tests/test_util.h"

// Hashes of files and logits, to be compared with a record in tests/data on every target.
namespace glint::test {

// Of every byte of the file but the header, whose metadata changes with the version.
inline std::string DataHash(const std::string& path) {
  const std::unique_ptr<GlintFile> file = GlintFile::Open(path);
  const std::string bytes = ReadFile(path);
  return ChecksumText(
      ChecksumOf(bytes.data() + file->data_offset(), bytes.size() - file->data_offset()));
}

// Of a prompt and of 12 greedy tokens after it.
inline std::vector<float> PromptAndGreedyLogits(Session& session, std::span<const int32_t> ids) {
  const Model& model = session.model();
  std::vector<float> all;
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i) {
      all.insert(all.end(), rows + i * stride, rows + i * stride + model.n_outputs());
    }
  };
  const OutputSink sink(collect);
  REQUIRE(session.Start(ids, &sink) == Status::kOk);
  for (int i = 0; i < 12; ++i) {
    REQUIRE(session.Append(Sampler::Greedy(session.logits())) == Status::kOk);
    all.insert(all.end(), session.logits().begin(), session.logits().end());
  }
  return all;
}

inline std::string HashOf(std::span<const float> values) {
  return ChecksumText(ChecksumOf(values.data(), values.size_bytes()));
}

inline std::string LogitsHash(const Model& model, std::span<const int32_t> ids, size_t threads,
                              size_t chunk, KvType kv) {
  SessionOptions options;
  options.threads = threads;
  options.chunk = chunk;
  options.kv = kv;
  Session session(model, options);
  return HashOf(PromptAndGreedyLogits(session, ids));
}

// Calls fn with GLINT_ISA set to each target of this build that the CPU can run.
inline void ForEachTarget(const std::function<void(const std::string& isa)>& fn) {
  for (const KernelTable* const* table = kKernelTables; *table; ++table) {
    const std::string isa = (*table)->isa;
    if (((*table)->requires_ & ~CpuFeatures()) != 0) continue;
    CAPTURE(isa);
    SetVariable("GLINT_ISA", isa);
    fn(isa);
  }
  ClearVariable("GLINT_ISA");
}

// A line of a record: a name, a hash of the file's data, one of the logits.
struct Expected {
  std::string file, logits;
};

inline std::map<std::string, Expected> ReadExpected(const char* record) {
  std::istringstream lines(ReadFile(SourceDir() + "/tests/data/" + record));
  std::map<std::string, Expected> expected;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string type;
    Expected row;
    if (words >> type >> row.file >> row.logits) expected[type] = row;
  }
  return expected;
}

}  // namespace glint::test
