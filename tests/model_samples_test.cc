// The samples themselves: that their logits tell mistakes apart, and that their GGUF files hold
// what they are said to hold.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/model_samples.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "formats/import/checkpoint.h"
#include "formats/import/gguf.h"
#include "tests/test_util.h"

using namespace glint;
using namespace glint::test;

TEST_CASE("logits are well spread and the best one is clear") {
  for (const std::string& name : SampleNames()) {
    const SampleModel sample = SampleOf(name);
    const std::vector<int32_t> ids = SampleIds(sample, 40);
    const std::vector<double> logits = PlainLogits(sample.config, sample.tensors, ids);
    REQUIRE(logits.size() == 40 * 300);
    double largest = 0, gap = 1e9;
    for (size_t t = 0; t < 40; ++t) {
      std::vector<double> row(logits.begin() + static_cast<ptrdiff_t>(t * 300),
                              logits.begin() + static_cast<ptrdiff_t>(t * 300 + 300));
      std::partial_sort(row.begin(), row.begin() + 2, row.end(), std::greater<>());
      largest = std::max(largest, row[0]);
      gap = std::min(gap, row[0] - row[1]);
    }
    MESSAGE(name << " " << largest << " " << gap);
    CHECK(largest > 4);
    CHECK(largest < 14);
    CHECK(gap > 1e-3);
  }
}
