// Files of every version of the format that was ever released open for ever, and compute what they
// computed. A file in tests/data is never made anew: a new version adds one.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>
#include <set>

#include "formats/checksum.h"
#include "lib/session.h"
#include "tests/test_util.h"

namespace glint {
namespace {

// The logits after the prompt 1, 90, 17, 5 and the token 200, f32 cache; numerics 1.
struct Fixture {
  const char* name;
  std::set<DType> matrices;
  uint64_t logits;  // XXH3 of their bytes
};
const Fixture kFixtures[] = {
    // glint convert goldens/llama-tiny-gqa of 24 Nov 2026, a type for each matrix.
    {"version1.glint",
     {DType::kF32, DType::kF16, DType::kBF16, DType::kInt8, DType::kInt6, DType::kInt4, DType::kInt4x,
      DType::kInt3},
     0x38a4e9bcc276453e},
};

TEST_CASE("old files open, are whole, and compute what they did") {
  for (const Fixture& fixture : kFixtures) {
    const std::string path = SourceDir() + "/tests/data/" + fixture.name;
    CAPTURE(path);
    const auto model = Model::Open(path);
    model->file().Verify();
    std::set<DType> matrices;
    for (const Tensor& tensor : model->file().tensors()) {
      if (tensor.IsMatrix()) matrices.insert(tensor.dtype);
    }
    CHECK(matrices == fixture.matrices);
    SessionOptions options;
    options.threads = 2;
    options.kv = KvType::kF32;
    Session session(*model, options);
    const std::vector<int32_t> prompt = {1, 90, 17, 5};
    REQUIRE(session.Start(prompt) == Status::kOk);
    REQUIRE(session.Append(200) == Status::kOk);
    const uint64_t hash = ChecksumOf(session.logits().data(), session.logits().size_bytes());
    CHECK(ChecksumText(hash) == ChecksumText(fixture.logits));
  }
}

}  // namespace
}  // namespace glint
