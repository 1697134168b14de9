#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "quant/encode.h"
#include "quant/fit_table.h"
#include "tests/quant_samples.h"

// Encoding for columns that matter more or less, and tables fitted to a tensor.
using namespace glint;

namespace {

const DType kTypes[] = {DType::kInt8,  DType::kInt4, DType::kInt4x,
                        DType::kInt4a, DType::kInt3, DType::kInt6};

// e^(1.5 n) for a normal n, but for the exponential itself: its bits differ between C libraries.
std::vector<float> Importances(Random& random, size_t n) {
  std::vector<float> out(n);
  for (float& h : out) {
    const double x = 1.5 * random.Normal();
    double power = 1 + x / 256;
    for (int i = 0; i < 8; ++i) power *= power;
    h = static_cast<float>(power);
  }
  return out;
}

void Encode(const std::vector<float>& x, const float* importance, const Int4Table& table,
            Tensor* tensor) {
  EncodeOptions options;
  options.table = table;
  options.importance = importance;
  std::memset(tensor->data, 0, tensor->layout.bytes);  // the gaps between the parts
  if (Info(tensor->layout.dtype).has_table) WriteTable(table, tensor->data);
  REQUIRE(EncodeTiles(tensor->layout, options, x.data(), tensor->layout.rows,
                      PlanesAt(tensor->layout, tensor->data, 0)) == kEncoded);
}

void Encode(const std::vector<float>& x, const float* importance, Tensor* tensor) {
  Encode(x, importance, DefaultTable(tensor->layout.dtype), tensor);
}

// Weighted squared error by weighted squares, of columns [begin, end).
double ErrorOf(const Tensor& tensor, const std::vector<float>& x, const float* importance,
               uint64_t begin = 0, uint64_t end = UINT64_MAX) {
  double error = 0, squares = 0;
  const uint64_t cols = tensor.layout.cols;
  for (uint64_t r = 0; r < tensor.layout.rows; ++r) {
    const std::vector<float> got = tensor.Row(r);
    for (uint64_t c = begin; c < std::min(end, cols); ++c) {
      REQUIRE(std::isfinite(got[c]));
      const double want = x[r * cols + c], weight = importance ? importance[c] : 1.0;
      error += weight * (got[c] - want) * (got[c] - want);
      squares += weight * want * want;
    }
  }
  return error / squares;
}

}  // namespace

TEST_CASE("importance: the weighted error falls") {
  Random random{1};
  const uint64_t rows = 32, cols = 1024;
  const std::vector<float> x = random.Normals(rows * cols);
  const std::vector<float> importance = Importances(random, cols);
  // Of the weighted error without importance, what is left.
  const double shares[] = {0.9, 0.65, 0.6, 0.65, 0.6, 0.75};
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    CAPTURE(std::string(Info(kTypes[i]).name));
    Tensor plain(Layout(kTypes[i], rows, cols)), weighted(plain.layout);
    Encode(x, nullptr, &plain);
    Encode(x, importance.data(), &weighted);
    const double before = ErrorOf(plain, x, importance.data());
    const double after = ErrorOf(weighted, x, importance.data());
    CHECK(after <= shares[i] * before);
  }
}

TEST_CASE("importance: what is the same for all columns changes nothing, nor does a power of two") {
  Random random{2};
  const uint64_t rows = 20, cols = 172;
  const std::vector<float> x = random.Normals(rows * cols);
  std::vector<float> importance(cols);
  for (float& h : importance) h = static_cast<float>(std::floor(1 + random.Uniform() * 200));
  for (const DType dtype : kTypes) {
    CAPTURE(std::string(Info(dtype).name));
    Tensor plain(Layout(dtype, rows, cols)), other(plain.layout), again(plain.layout);
    Encode(x, nullptr, &plain);
    for (const float h : {0.0f, 1e-45f, 3.7f, 3e38f}) {
      Encode(x, std::vector<float>(cols, h).data(), &other);
      CHECK(plain == other);
    }
    Encode(x, importance.data(), &other);
    CHECK_FALSE(plain == other);
    for (const float factor : {0x1p-149f, 0x1p-126f, 0x1p-30f, 0x1p119f}) {
      std::vector<float> scaled = importance;
      for (float& h : scaled) h *= factor;
      Encode(x, scaled.data(), &again);
      CHECK(again == other);
    }
  }
}

TEST_CASE("importance: zeros, denormals, and ratios beyond 1e30") {
  Random random{3};
  const uint64_t rows = 16, cols = 172;
  const std::vector<float> x = random.Normals(rows * cols);
  for (const DType dtype : kTypes) {
    CAPTURE(std::string(Info(dtype).name));
    Tensor plain(Layout(dtype, rows, cols)), tensor(plain.layout);
    Encode(x, nullptr, &plain);
    const double whole = ErrorOf(plain, x, nullptr);
    // Columns that do not matter still get near values: their block, others' block, the tail.
    std::vector<float> importance(cols, 1.0f);
    for (uint64_t c = 0; c < 64; ++c) importance[c] = 0.0f;
    for (uint64_t c = 96; c < cols; c += 2) importance[c] = 0.0f;
    Encode(x, importance.data(), &tensor);
    CHECK(ErrorOf(tensor, x, nullptr, 0, 64) <= 1.1 * ErrorOf(plain, x, nullptr, 0, 64));
    CHECK(ErrorOf(tensor, x, importance.data()) < whole);
    CHECK(ErrorOf(tensor, x, nullptr) < 0.5);
    for (const float least : {1e-45f, 1e-38f, 1e-20f}) {
      for (const float ratio : {3.0f, 1e30f}) {
        for (uint64_t c = 0; c < cols; ++c) importance[c] = c % 3 == 0 ? least : least * ratio;
        Encode(x, importance.data(), &tensor);
        CHECK(ErrorOf(tensor, x, importance.data()) <= whole);
        // Blocks far apart in weight.
        for (uint64_t c = 0; c < cols; ++c) importance[c] = c < 96 ? least : least * ratio;
        Encode(x, importance.data(), &tensor);
        CHECK(ErrorOf(tensor, x, nullptr, 0, 96) <= 1.1 * ErrorOf(plain, x, nullptr, 0, 96));
      }
    }
  }
}

TEST_CASE("importance: the same bytes on every machine, however rows are grouped") {
  const uint64_t hashes[] = {14804259883208532445u, 14736013377888211186u, 14661157580695057655u,
                             1993441844150356997u,  7813635086207063077u,  11604708424639900930u};
  Random random{4};
  const uint64_t rows = 40, cols = 172;
  const std::vector<float> x = random.Normals(rows * cols);
  const std::vector<float> importance = Importances(random, cols);
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    CAPTURE(std::string(Info(kTypes[i]).name));
    Tensor whole(Layout(kTypes[i], rows, cols)), parts(whole.layout);
    Encode(x, importance.data(), &whole);
    std::memcpy(parts.data, whole.data, whole.layout.bytes);
    EncodeOptions options;
    options.table = DefaultTable(kTypes[i]);
    options.importance = importance.data();
    for (const uint64_t first : {32, 16, 0}) {
      const uint64_t n = std::min<uint64_t>(16, rows - first);
      const TilePlanes planes = PlanesAt(parts.layout, parts.data, first / 16);
      std::memset(planes.codes, 0x55, parts.layout.codes_tile);
      CHECK(EncodeTiles(parts.layout, options, x.data() + first * cols, n, planes) == kEncoded);
    }
    CHECK(whole == parts);
    CHECK(Hash(whole.data, whole.layout.bytes) == hashes[i]);
  }
}

TEST_CASE("importance: what cannot be stored is still reported") {
  Random random{5};
  const uint64_t rows = 20, cols = 40;
  std::vector<float> x = random.Normals(rows * cols);
  const std::vector<float> importance = Importances(random, cols);
  x[17 * cols + 3] = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : kTypes) {
    Tensor tensor(Layout(dtype, rows, cols));
    EncodeOptions options;
    options.importance = importance.data();
    CHECK(EncodeTiles(tensor.layout, options, x.data(), rows,
                      PlanesAt(tensor.layout, tensor.data, 0)) == 17 * cols + 3);
  }
}

TEST_CASE("encode: one outlier of 1e30 in a row") {
  Random random{6};
  const uint64_t rows = 16, cols = 128;
  std::vector<float> x = random.Normals(rows * cols);
  for (const DType dtype : kTypes) {
    if (dtype == DType::kInt8) continue;  // beyond its range
    CAPTURE(std::string(Info(dtype).name));
    Tensor before(Layout(dtype, rows, cols)), after(before.layout);
    Encode(x, nullptr, &before);
    std::vector<float> y = x;
    y[5 * cols + 40] = -1e30f;
    Encode(y, nullptr, &after);
    CHECK(std::fabs(after.Row(5)[40] / -1e30f - 1) < 0.05);
    for (uint64_t r = 0; r < rows; ++r) {
      if (r != 5) CHECK(before.Row(r) == after.Row(r));
    }
    for (uint64_t c = 64; c < cols; ++c) {
      CHECK(std::fabs(after.Row(5)[c]) <= 2 * std::fabs(x[5 * cols + c]) + 1);
    }
  }
}

namespace {

struct Weights {
  const char* name;
  std::vector<float> x;
};

std::vector<Weights> WeightsOfEachKind(uint64_t n) {
  Random random{7};
  std::vector<Weights> kinds = {{"normal", random.Normals(n)}, {"t5", {}}, {"flat", {}}};
  for (uint64_t i = 0; i < n; ++i) {
    kinds[1].x.push_back(static_cast<float>(random.Student5()));
    kinds[2].x.push_back(static_cast<float>(random.Uniform() - 0.5));
  }
  return kinds;
}

bool IsTable(const Int4Table& table, size_t n) {
  for (size_t i = 0; i < table.size(); ++i) {
    if (i >= n && table[i] != 0) return false;
    if (table[i] < -63 || table[i] > 63) return false;
    if (i > 0 && i < n && table[i] <= table[i - 1]) return false;
  }
  return true;
}

constexpr DType kTableTypes[] = {DType::kInt4, DType::kInt4x, DType::kInt3};

}  // namespace

TEST_CASE("fitted tables: less error, the same on every machine") {
  const uint64_t rows = 48, cols = 1000;
  // What is left of the default table's error, at most: normal, t5, flat by int4, int4x, int3.
  const double shares[3][3] = {{1.001, 1.001, 0.99}, {0.95, 0.97, 0.99}, {0.9, 0.92, 0.8}};
  const uint64_t hashes[3][3] = {
      {9508331699029025744u, 6918545002629512160u, 10167263655225631963u},
      {3211245971450981088u, 3211245971450981088u, 14483495372627981057u},
      {15885263391068438226u, 10726635809858419038u, 6284384890880659336u}};
  Random random{8};
  const std::vector<float> importance = Importances(random, cols);
  const std::vector<Weights> kinds = WeightsOfEachKind(rows * cols);
  for (size_t k = 0; k < kinds.size(); ++k) {
    for (size_t i = 0; i < 3; ++i) {
      CAPTURE(std::string(kinds[k].name));
      CAPTURE(std::string(Info(kTableTypes[i]).name));
      uint64_t hash = 0;
      for (const float* weights : {static_cast<const float*>(nullptr), importance.data()}) {
        const Int4Table table = FitTable(kTableTypes[i], kinds[k].x.data(), rows, cols, weights);
        CHECK(IsTable(table, kTableTypes[i] == DType::kInt3 ? 8 : 16));
        Tensor tensor(Layout(kTableTypes[i], rows, cols));
        Encode(kinds[k].x, weights, &tensor);
        const double before = ErrorOf(tensor, kinds[k].x, weights);
        Encode(kinds[k].x, weights, table, &tensor);
        CHECK(ErrorOf(tensor, kinds[k].x, weights) <= shares[k][i] * before);
        hash = hash * 31 + Hash(reinterpret_cast<const uint8_t*>(table.data()), table.size());
      }
      CHECK(hash == hashes[k][i]);
    }
  }
}

TEST_CASE("fitted tables: nothing to fit") {
  Random random{9};
  const std::vector<float> zeros(40 * 172, 0.0f), few = {1.0f, -2.0f, 3.0f};
  std::vector<float> bad = random.Normals(40 * 172);
  for (float& x : bad) x *= 1e38f;
  for (uint64_t r = 0; r < 40; ++r) bad[r * 172 + r] = std::numeric_limits<float>::infinity();
  bad[3] = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : kTableTypes) {
    const size_t n = dtype == DType::kInt3 ? 8 : 16;
    CHECK(FitTable(dtype, nullptr, 0, 172, nullptr) == DefaultTable(dtype));
    CHECK(FitTable(dtype, zeros.data(), 40, 172, nullptr) == DefaultTable(dtype));
    CHECK(FitTable(dtype, zeros.data(), 40, 172, zeros.data()) == DefaultTable(dtype));
    CHECK(IsTable(FitTable(dtype, bad.data(), 40, 172, nullptr), n));
    CHECK(IsTable(FitTable(dtype, few.data(), 3, 1, nullptr), n));
    CHECK(IsTable(FitTable(dtype, few.data(), 1, 3, zeros.data()), n));
  }
  CHECK(FitTable(DType::kInt6, zeros.data(), 40, 172, nullptr) == kDefaultInt4Table);
}
