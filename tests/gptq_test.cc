// The Hessian, its factor and GPTQ against plain arithmetic in double, and against encoders that
// know nothing of the activations.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/convert/gptq.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "lib/error.h"
#include "quant/codebook.h"
#include "quant/encode.h"

using namespace glint;

namespace {

// Numbers (rows, cols).
struct Matrix {
  size_t rows, cols;
  std::vector<float> v;
  Matrix(size_t r, size_t c) : rows(r), cols(c), v(r * c) {}
  float& At(size_t r, size_t c) { return v[r * cols + c]; }
  const float* Row(size_t r) const { return &v[r * cols]; }
};

Matrix Weights(size_t rows, size_t cols) {
  std::mt19937 random(1);
  std::student_t_distribution<float> heavy(5);
  Matrix w(rows, cols);
  for (float& x : w.v) x = 0.02f * heavy(random);
  return w;
}

// `rank` common causes and noise; columns of very different sizes.
Matrix Correlated(size_t tokens, size_t n, size_t rank, float noise) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  Matrix causes(rank, n), x(tokens, n);
  std::vector<float> sizes(n), cause(rank);
  for (float& c : causes.v) c = normal(random);
  for (float& s : sizes) s = std::exp(1.5f * normal(random));
  for (size_t t = 0; t < tokens; ++t) {
    for (float& c : cause) c = normal(random);
    for (size_t i = 0; i < n; ++i) {
      float sum = noise * normal(random);
      for (size_t k = 0; k < rank; ++k) sum += cause[k] * causes.At(k, i);
      x.At(t, i) = sizes[i] * sum;
    }
  }
  return x;
}

Matrix White(size_t tokens, size_t n) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Matrix x(tokens, n);
  for (float& v : x.v) v = normal(random);
  return x;
}

// The sum of x x^T in double: (n, n).
std::vector<double> Gram(const Matrix& x) {
  const size_t n = x.cols;
  std::vector<double> h(n * n);
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) h[i * n + j] += double{x.Row(t)[i]} * x.Row(t)[j];
    }
  }
  return h;
}

// A tensor in aligned memory, filled with what nobody should leave.
struct Encoded {
  MatrixLayout layout;
  std::vector<uint8_t> storage;
  uint8_t* data;

  Encoded(DType dtype, const Matrix& w) {
    REQUIRE(ComputeLayout(dtype, BlockOffset::kNone, w.rows, w.cols, &layout));
    storage.assign(layout.bytes + 64, 0xaa);
    data = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  }
  bool operator==(const Encoded& other) const {
    return std::memcmp(data, other.data, layout.bytes) == 0;
  }
  // The squared error of the outputs that x gives, in double.
  double Error(const Matrix& w, const Matrix& x) const {
    double error = 0;
    std::vector<float> rounded(w.cols);
    for (size_t r = 0; r < w.rows; ++r) {
      DecodeRow({layout, data}, r, rounded.data());
      for (size_t t = 0; t < x.rows; ++t) {
        double sum = 0;
        for (size_t c = 0; c < w.cols; ++c) sum += (double{w.Row(r)[c]} - rounded[c]) * x.Row(t)[c];
        error += sum * sum;
      }
    }
    return error;
  }
};

struct Setting {
  size_t threads = 2, sweeps = 1, batch = 100;
  FactorOptions factor{};
};

double Gptq(const Matrix& w, const Matrix& x, const Setting& setting, Encoded& out) {
  ThreadPool pool(setting.threads);
  Hessian hessian(x.cols);
  for (size_t t = 0; t < x.rows; t += setting.batch) {
    hessian.Add(x.Row(t), x.cols, std::min(setting.batch, x.rows - t), pool);
  }
  const InverseFactor factor(hessian, setting.factor, "tensor 'w'", pool);
  const ReadMatrixRows read = [&](uint64_t row, uint64_t n_rows, float* to) {
    std::copy_n(w.Row(row), n_rows * w.cols, to);
  };
  EncodeOptions encode;
  encode.table = DefaultTable(out.layout.dtype);
  return GptqEncode(out.layout, encode, {setting.sweeps}, read, factor, "tensor 'w'", pool,
                    out.data)
      .error;
}

// The best that an encoder does which knows each column's importance, but not what columns have in
// common.
double PlainError(DType dtype, const Matrix& w, const Matrix& x) {
  std::vector<float> importance(w.cols, 0.0f);
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t c = 0; c < x.cols; ++c) importance[c] += x.Row(t)[c] * x.Row(t)[c];
  }
  double best = INFINITY;
  const float* const kinds[] = {importance.data(), nullptr};
  for (const float* weights : kinds) {
    Encoded plain(dtype, w);
    EncodeOptions options;
    options.table = DefaultTable(dtype);
    options.importance = weights;
    if (Info(dtype).has_table) WriteTable(options.table, plain.data + plain.layout.table);
    REQUIRE(EncodeTiles(plain.layout, options, w.v.data(), w.rows,
                        PlanesAt(plain.layout, plain.data, 0)) == kEncoded);
    best = std::min(best, plain.Error(w, x));
  }
  return best;
}

// Codes, scales and row scales of what fills up the last tile and the last blocks.
bool PaddingIsZero(const Encoded& e) {
  MatrixLayout whole = e.layout;
  whole.cols = whole.padded_cols;
  const MatrixView view{whole, e.data};
  const size_t block = Info(whole.dtype).block;
  const float first = Codebook::Of(whole.dtype, DefaultTable(whole.dtype)).first;
  std::vector<float> row(whole.cols);
  bool zero = true;
  for (size_t r = 0; r < whole.row_tiles * kTileRows; ++r) {
    const bool is_row = r < whole.rows;
    const float row_scale = view.RowScales(r / kTileRows)[r % kTileRows];
    zero &= is_row || row_scale == 0;
    DecodeRow(view, r, row.data());
    for (size_t c = is_row ? e.layout.cols : 0; c < whole.cols; ++c) {
      const uint8_t byte = view.BlockScales(r / kTileRows)[c / block * kTileRows + r % kTileRows];
      const int scale = static_cast<int8_t>(byte);
      zero &= (is_row && c / block * block < e.layout.cols) || scale == 0;
      zero &= row[c] == first * static_cast<float>(scale) * row_scale;  // code 0
    }
  }
  // What a missing row's scales of 0 hide: its codes.
  for (size_t at = 0; at < whole.codes_tile; ++at) {
    const size_t lane = at % 64 / 4;
    const size_t last = (whole.rows - 1) % kTileRows;
    if (lane > last) zero &= view.Codes(whole.row_tiles - 1)[at] == 0;
  }
  return zero;
}

std::string ErrorOf(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

constexpr DType kTypes[] = {DType::kInt3, DType::kInt4, DType::kInt4x, DType::kInt6};

}  // namespace

TEST_CASE("the Hessian is the sum of the products, whatever the number of threads") {
  const Matrix x = Correlated(70, 600, 5, 1.0f);
  const std::vector<double> want = Gram(x);
  for (const size_t threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Hessian h(x.cols), first(x.cols);
    h.Add(x.Row(0), x.cols, 50, pool);
    h.Add(x.Row(50), x.cols, 20, pool);
    ThreadPool one(1);
    first.Add(x.Row(0), x.cols, 50, one);
    first.Add(x.Row(50), x.cols, 20, one);
    CHECK(h.n_tokens() == 70);
    double worst = 0;
    bool same = true;
    for (size_t i = 0; i < x.cols; ++i) {
      for (size_t j = 0; j < x.cols; ++j) {
        const double size = std::sqrt(want[i * x.cols + i] * want[j * x.cols + j]);
        worst = std::max(worst, std::fabs(h.At(i, j) - want[i * x.cols + j]) / size);
        same &= h.At(i, j) == first.At(i, j);
      }
    }
    CHECK(worst < 1e-6);
    CHECK(same);
  }
}

// H (M D M^T) is the identity: checked column by column through M D M^T e, with H damped in the
// order of the walk.
TEST_CASE("the factor is that of the inverse") {
  for (const size_t n : {1, 5, 172, 300, 520}) {
    const Matrix x = Correlated(2 * n + 20, n, std::max<size_t>(1, n / 8), 0.3f);
    ThreadPool pool(2);
    Hessian h(n);
    h.Add(x.Row(0), n, x.rows, pool);
    const InverseFactor f(h, {}, "x", pool);
    CHECK(f.damping_share() == 0.01 + 0.7 * static_cast<double>(n) / static_cast<double>(2 * n + 20));
    const std::vector<double> gram = Gram(x);
    std::vector<bool> seen(n);
    double worst = 0;
    for (size_t i = 0; i < n; ++i) {
      seen[f.Column(i)] = true;
      // Column i of M^T H M is D^-1 there and 0 elsewhere: H taken from both sides.
      std::vector<double> m(n), hm(n);
      const auto element = [&](size_t r, size_t c) {
        return r == c ? 1.0 : r > c ? double{f.Row(r)[c]} : 0.0;
      };
      for (size_t r = i; r < n; ++r) m[r] = element(r, i);
      for (size_t r = 0; r < n; ++r) {
        for (size_t c = i; c < n; ++c) {
          const size_t row = f.Column(r), col = f.Column(c);
          hm[r] += (gram[row * n + col] + (r == c ? f.Damping(row) : 0.0)) * m[c];
        }
      }
      for (size_t j = std::max<size_t>(i, 3) - 3; j < std::min(n, i + 3); ++j) {
        double sum = 0;
        for (size_t r = j; r < n; ++r) sum += element(r, j) * hm[r];
        const double want = i == j ? f.weights()[i] : 0.0;
        worst = std::max(
            worst, std::fabs(sum - want) / std::sqrt(double{f.weights()[i]} * f.weights()[j]));
      }
    }
    CAPTURE(n);
    CHECK(std::count(seen.begin(), seen.end(), true) == static_cast<long>(n));
    CHECK(worst < 2e-3);
  }
}

TEST_CASE("the factor has the same bits with any number of threads") {
  const size_t n = 600;
  const Matrix x = Correlated(700, n, 3, 1.0f);
  std::vector<float> first;
  for (const size_t threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Hessian h(n);
    h.Add(x.Row(0), n, x.rows, pool);
    const InverseFactor f(h, {}, "x", pool);
    std::vector<float> bits(f.weights(), f.weights() + n);
    for (size_t i = 0; i < n; ++i) bits.insert(bits.end(), f.Row(i), f.Row(i) + i);
    if (threads == 1) first = bits;
    CHECK(bits == first);
  }
}

TEST_CASE("the walk keeps blocks and their halves together") {
  for (const size_t n : {16, 172, 300}) {
    const Matrix x = Correlated(400, n, 4, 1.0f);
    ThreadPool pool(1);
    Hessian h(n);
    h.Add(x.Row(0), n, x.rows, pool);
    const InverseFactor f(h, {}, "x", pool);
    for (const size_t size : {16, 32}) {
      size_t changes = 1;
      for (size_t i = 1; i < n; ++i) changes += f.Column(i) / size != f.Column(i - 1) / size;
      CHECK(changes == (n + size - 1) / size);
    }
  }
}

TEST_CASE("outputs come closer than by the best encoder of weights") {
  struct Case {
    const char* name;
    Matrix x;
    double most;  // of the plain encoder's error
  };
  const Case cases[] = {{"correlated", Correlated(600, 172, 20, 0.3f), 0.45},
                        {"few causes", Correlated(600, 256, 4, 0.1f), 0.45},
                        {"white", White(2000, 128), 1.0}};
  for (const Case& c : cases) {
    const Matrix w = Weights(40, c.x.cols);
    for (const DType dtype : kTypes) {
      CAPTURE(c.name);
      CAPTURE(Info(dtype).name);
      const double plain = PlainError(dtype, w, c.x);
      double last = plain * c.most;
      for (const size_t sweeps : {0, 1, 2}) {
        Encoded out(dtype, w);
        const double error = Gptq(w, c.x, {2, sweeps}, out);
        CHECK(error < last);
        CHECK(error == doctest::Approx(out.Error(w, c.x)).epsilon(1e-3));
        last = error * 1.01;  // a sweep lowers the error by the damped H
      }
    }
  }
}

TEST_CASE("the same bytes with any number of threads") {
  const Matrix x = Correlated(200, 172, 10, 0.5f), w = Weights(300, 172);
  for (const DType dtype : kTypes) {
    Encoded one(dtype, w);
    const double error = Gptq(w, x, {1}, one);
    for (const size_t threads : {2, 3}) {
      Encoded more(dtype, w);
      CHECK(Gptq(w, x, {threads}, more) == error);
      CHECK(more == one);
    }
  }
}

TEST_CASE("shapes that fill no tile, block or group, and padding of zero bytes") {
  for (const size_t n : {1, 15, 17, 33, 129, 161}) {
    for (const size_t rows : {1, 17, 129}) {
      const Matrix x = Correlated(60, n, 3, 1.0f), w = Weights(rows, n);
      for (const DType dtype : kTypes) {
        CAPTURE(n);
        CAPTURE(rows);
        Encoded out(dtype, w);
        const double error = Gptq(w, x, {}, out);
        CHECK(error == doctest::Approx(out.Error(w, x)).epsilon(1e-3));
        CHECK(PaddingIsZero(out));
      }
    }
  }
}

TEST_CASE("columns that were always 0 are encoded all the same") {
  Matrix x = Correlated(300, 96, 6, 0.5f);
  const Matrix w = Weights(32, 96);
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t c = 40; c < 72; ++c) x.At(t, c) = 0;
  }
  Encoded out(DType::kInt4, w);
  const double error = Gptq(w, x, {}, out);
  CHECK(error == doctest::Approx(out.Error(w, x)).epsilon(1e-3));
  double squares = 0, lost = 0;
  for (size_t r = 0; r < w.rows; ++r) {
    std::vector<float> row(96);
    DecodeRow({out.layout, out.data}, r, row.data());
    for (size_t c = 40; c < 72; ++c) {
      squares += w.Row(r)[c] * w.Row(r)[c];
      lost += (row[c] - w.Row(r)[c]) * (row[c] - w.Row(r)[c]);
    }
  }
  CHECK(lost < 0.02 * squares);
}

TEST_CASE("no activations but zeros: the weights are encoded as such") {
  const Matrix x(10, 64), w = Weights(16, 64);
  Encoded out(DType::kInt4x, w);
  CHECK(std::fabs(Gptq(w, x, {}, out)) < 1e-6);
  const Matrix white = White(500, 64);
  CHECK(out.Error(w, white) < 1.3 * PlainError(DType::kInt4x, w, white));
}

TEST_CASE("fewer tokens than columns") {
  const Matrix x = Correlated(40, 256, 200, 0.0f), w = Weights(32, 256);
  for (const DType dtype : kTypes) {
    Encoded out(dtype, w);
    const double error = Gptq(w, x, {}, out);
    CHECK(error == doctest::Approx(out.Error(w, x)).epsilon(0.01));
    CHECK(error < 0.3 * PlainError(dtype, w, x));
  }
}

TEST_CASE("one column of huge activations does not drown the others") {
  Matrix x = Correlated(600, 160, 16, 0.3f);
  const Matrix w = Weights(32, 160);
  for (size_t t = 0; t < x.rows; ++t) x.At(t, 77) *= 1e3f;
  Encoded out(DType::kInt4, w);
  const double error = Gptq(w, x, {}, out);
  CHECK(error < 0.3 * PlainError(DType::kInt4, w, x));
}

TEST_CASE("identical columns need the damping") {
  Matrix x = White(300, 64);
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t c = 1; c < 64; ++c) x.At(t, c) = x.At(t, 0);
  }
  const Matrix w = Weights(16, 64);
  Encoded out(DType::kInt4, w);
  Setting setting;
  setting.factor.damping = 0;
  const double error = Gptq(w, x, setting, out);
  CHECK(error < 0.1 * PlainError(DType::kInt4, w, x));
}

TEST_CASE("errors are one line with the tensor's name") {
  const Matrix w = Weights(16, 64);
  Matrix bad = White(10, 64);
  bad.At(3, 5) = NAN;
  Encoded out(DType::kInt4, w);
  CHECK(ErrorOf([&] { Gptq(w, bad, {}, out); }) ==
        "tensor 'w': input 5 was not finite during calibration, or too large to be squared");
  bad.At(3, 5) = 1e30f;
  CHECK(ErrorOf([&] { Gptq(w, bad, {}, out); }).find("tensor 'w': input 5") == 0);

  const Matrix x = White(100, 64), narrow = White(100, 32);
  Matrix odd = w;
  odd.At(7, 9) = INFINITY;
  CHECK(ErrorOf([&] { Gptq(odd, x, {}, out); }) ==
        "tensor 'w': row 7, column 9: inf cannot be stored as int4");
  CHECK(ErrorOf([&] { Gptq(w, narrow, {}, out); }) ==
        "tensor 'w': expected 64 calibrated inputs, found 32");
  Encoded bytes(DType::kInt8, w);
  CHECK(ErrorOf([&] { Gptq(w, x, {}, bytes); }) == "tensor 'w': GPTQ cannot make int8");
  CHECK(ErrorOf([&] { Hessian h(0); }).find("a Hessian of 0 inputs") == 0);
  CHECK(ErrorOf([&] { Hessian h(size_t{1} << 40); }).find("expected 1 to 131072") !=
        std::string::npos);
  // What `read` throws comes out.
  ThreadPool pool(2);
  Hessian h(64);
  h.Add(x.Row(0), 64, 100, pool);
  const InverseFactor factor(h, {}, "x", pool);
  CHECK(ErrorOf([&] {
          GptqEncode(
              out.layout, {}, {}, [](uint64_t, uint64_t, float*) { throw Error("no file"); },
              factor, "x", pool, out.data);
        }) == "no file");
}

TEST_CASE("tiny and huge weights and activations") {
  for (const float size : {1e-30f, 1e-10f, 1e10f, 1e30f}) {
    Matrix w = Weights(20, 96), x = Correlated(200, 96, 8, 0.3f);
    for (float& v : w.v) v *= size;
    Encoded out(DType::kInt4, w), plain(DType::kInt4, w);
    Gptq(w, x, {}, out);
    CHECK(out.Error(w, x) < 0.6 * PlainError(DType::kInt4, w, x));
  }
  Matrix w = Weights(20, 96), x = Correlated(200, 96, 8, 0.3f);
  for (const float size : {1e-12f, 1e12f}) {
    Matrix scaled = x;
    for (float& v : scaled.v) v *= size;
    Encoded out(DType::kInt4, w);
    Gptq(w, scaled, {}, out);
    CHECK(out.Error(w, x) < 0.6 * PlainError(DType::kInt4, w, x));
  }
}
