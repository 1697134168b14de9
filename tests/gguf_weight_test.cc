#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/convert/gguf_weight.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "formats/convert/join_rows.h"
#include "lib/error.h"
#include "lib/system/pages.h"
#include "tests/gguf_blocks.h"
#include "tests/gguf_files.h"
#include "tests/test_util.h"

// Parts of GGUF tensors as weights: what their native form decodes to, against what `read` gives.
namespace glint {
namespace {

using namespace test;
using Role = ImportTensor::Role;

const Layout& LayoutOf(const std::string& name) {
  for (const Layout& layout : kLayouts) {
    if (name == layout.name) return layout;
  }
  throw std::runtime_error(name);
}

struct Floats {
  const char* name;
  uint32_t id;
  size_t bytes;
};
constexpr Floats kFloats[] = {{"F32", 0, 4}, {"F16", 1, 2}, {"BF16", 30, 2}};

// A file of one tensor "w", dims innermost first.
std::shared_ptr<const Gguf> FileOf(uint32_t type, const std::vector<uint64_t>& dims,
                                   const std::string& data) {
  GgufParts parts;
  parts.tensors = {GgufEntry("w", dims, type, 0)};
  parts.data = data;
  const std::string path = TempDir() + "/w.gguf";
  WriteFile(path, GgufBytes(parts));
  return Gguf::Open(path);
}

SourceWeight WeightOf(const std::shared_ptr<const Gguf>& file, GgufRows rows = {}) {
  const GgufTensor& tensor = *file->Find("w");
  if (rows.n_rows == 0) rows.n_rows = tensor.elements / tensor.shape.back() - rows.first_row;
  return GgufMatrix(file, tensor, rows, "layer.0.w", Role::kMatrix);
}

// What the native form decodes to, filled `band` rows at a time.
std::vector<float> NativeRows(const SourceWeight& weight, uint64_t band = 16) {
  MatrixLayout layout;
  const uint64_t rows = weight.shape[0], cols = weight.shape[1];
  REQUIRE(weight.native);
  REQUIRE(ComputeLayout(weight.stored, weight.native->offset, rows, cols, &layout));
  struct Release {
    uint64_t bytes;
    void operator()(uint8_t* at) const { ReleasePages(at, bytes); }
  };
  const std::unique_ptr<uint8_t, Release> bytes(ReservePages(layout.bytes), {layout.bytes});
  std::memset(bytes.get(), 0xAB, layout.bytes);  // what is left alone shows
  if (Info(weight.stored).has_table) WriteTable(weight.native->table, bytes.get() + layout.table);
  for (uint64_t row = 0; row < rows; row += band) {
    weight.native->fill(layout, row, std::min(band, rows - row),
                        PlanesAt(layout, bytes.get(), row / kTileRows));
  }
  std::vector<float> out(rows * cols);
  for (uint64_t r = 0; r < rows; ++r) DecodeRow({layout, bytes.get()}, r, out.data() + r * cols);
  return out;
}

std::vector<float> ReadAll(const SourceWeight& weight, uint64_t row = 0, uint64_t n = 0) {
  if (n == 0) n = weight.shape[0] - row;
  std::vector<float> out(n * weight.shape[1]);
  weight.read(row, n, out.data());
  return out;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::string AsText(const Block& block) {
  return {block.bytes.begin(), block.bytes.end()};
}

// Random bits, but for the halves, which are finite.
std::string RandomData(const Layout& t, size_t blocks, std::mt19937& random) {
  const auto half = [&] {
    const auto bits = static_cast<uint16_t>(random());
    return static_cast<uint16_t>((bits & 0x7C00) == 0x7C00 ? bits & 0xBFFF : bits);
  };
  const auto any = [&](size_t bits) { return static_cast<unsigned>(random()) >> (32 - bits); };
  std::string data;
  for (size_t b = 0; b < blocks; ++b) data += AsText(MakeBlock(t, half(), half(), any));
  return data;
}

// Weights as they come in models: rows and columns of different sizes, normal otherwise.
std::vector<float> Weights(size_t rows, size_t cols, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> sizes(cols), weights;
  for (float& size : sizes) size = std::exp(0.3f * normal(random));
  for (size_t r = 0; r < rows; ++r) {
    const float size = 0.02f * std::exp(0.3f * normal(random));
    for (const float column : sizes) weights.push_back(size * column * normal(random));
  }
  return weights;
}

std::string RoundedData(const Layout& t, const std::vector<float>& weights) {
  std::string data;
  for (size_t at = 0; at < weights.size(); at += t.elements) {
    data += AsText(Rounder(t, weights.data() + at).Make());
  }
  return data;
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    squares += double{a[i]} * a[i];
  }
  return error / squares;
}

template <class Fn>
std::string ErrorOf(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("types that are kept exactly decode to the same bits, whatever their scales") {
  std::mt19937 random(7);
  for (const char* name : {"Q4_0", "Q4_1", "Q8_0", "IQ4_NL", "IQ4_XS"}) {
    CAPTURE(std::string(name));
    const Layout& t = LayoutOf(name);
    const size_t rows = 37, cols = 512;
    const auto file = FileOf(t.id, {cols, rows}, RandomData(t, rows * cols / t.elements, random));
    const SourceWeight weight = WeightOf(file);
    CHECK(SameBits(NativeRows(weight), ReadAll(weight)));
    CHECK(SameBits(NativeRows(weight, 32), NativeRows(weight)));
  }
}

TEST_CASE("floats keep their bits") {
  std::mt19937 random(8);
  for (const Floats& t : kFloats) {
    CAPTURE(std::string(t.name));
    const size_t rows = 21, cols = 45;
    std::string data;
    for (size_t i = 0; i < rows * cols; ++i) {
      const auto bits = static_cast<uint32_t>(random());
      const uint32_t top = t.id == 1 ? 0x4000 : t.id == 0 ? 0x40000000 : 0x4000;
      data += t.bytes == 4 ? U32(bits & ~top) : U16(bits & ~top & 0xFFFF);  // finite
    }
    const SourceWeight weight = WeightOf(FileOf(t.id, {cols, rows}, data));
    CHECK(std::string(Info(weight.stored).name) == (t.id == 0   ? "f32"
                                                    : t.id == 1 ? "f16"
                                                                : "bf16"));
    CHECK(SameBits(NativeRows(weight), ReadAll(weight)));
  }
}

TEST_CASE("types that are kept nearly lose next to nothing beside what they have lost already") {
  // Of the errors that docs/QUANT.md states, with room for another sample.
  const struct {
    const char* name;
    DType dtype;
    double added;  // squared error / squares
    double share;  // of the type's own error
  } rows_of_table[] = {
      {"Q4_K", DType::kInt4a, 1e-7, 1e-4}, {"Q5_0", DType::kInt6, 1e-4, 0.1},
      {"Q5_1", DType::kInt8, 1e-4, 0.1},   {"Q5_K", DType::kInt8, 1e-4, 0.1},
      {"Q6_K", DType::kInt6, 1e-4, 0.1},   {"Q3_K", DType::kInt3, 1e-3, 0.1},
      {"Q2_K", DType::kInt4x, 1e-2, 0.1},
  };
  std::mt19937 random(9);
  const size_t rows = 48, cols = 1024;
  const std::vector<float> weights = Weights(rows, cols, random);
  for (const auto& row : rows_of_table) {
    CAPTURE(std::string(row.name));
    const Layout& t = LayoutOf(row.name);
    const SourceWeight weight = WeightOf(FileOf(t.id, {cols, rows}, RoundedData(t, weights)));
    CHECK(weight.stored == row.dtype);
    const std::vector<float> read = ReadAll(weight), native = NativeRows(weight);
    const double own = SquaredError(weights, read), added = SquaredError(read, native);
    if (std::getenv("GLINT_PRINT")) {
      std::printf("%s own %.3g added %.3g share %.3g total %.4g\n", row.name, own, added,
                  added / own, SquaredError(weights, native) / own);
    }
    CHECK(added < row.added);
    CHECK(added < row.share * own);
    CHECK(SameBits(NativeRows(weight, 32), native));
  }
}

TEST_CASE("a row of extreme blocks is kept, or refused by name") {
  std::mt19937 random(10);
  const auto any = [&](size_t bits) { return static_cast<unsigned>(random()) >> (32 - bits); };
  for (const Layout& t : kLayouts) {
    CAPTURE(std::string(t.name));
    const size_t cols = 512, rows = 3, blocks = cols / t.elements;
    // Steps carry a minimum, or a scale of int8, beyond f16; int4x has scales in f32.
    const bool has_steps_and_minimum = t.m != 0 && t.scale_bits == 6;
    const struct {
      uint16_t d, m;
      bool fits;
    } cases[] = {{0, 0, true},
                 {0x8000, 0x8000, true},
                 {1, 1, true},
                 {0x03FF, 0x83FF, true},
                 {0x3C00, 0xBC00, true},
                 {0x7C00, 0, false},
                 {0x7E00, 0, false},
                 {0x3C00, 0x7C00, t.m == 0},
                 {0x7BFF, 0x7BFF, !has_steps_and_minimum}};
    for (const auto& c : cases) {
      CAPTURE(c.d);
      CAPTURE(c.m);
      std::string data;
      for (size_t b = 0; b < rows * blocks; ++b) {
        const bool plain = b < 2 * blocks;  // the last row is the extreme one
        data += AsText(MakeBlock(t, plain ? 0x2000 : c.d, plain ? 0x2000 : c.m, any));
      }
      const SourceWeight weight = WeightOf(FileOf(t.id, {cols, rows}, data));
      std::vector<float> native;
      const std::string error = ErrorOf([&] { native = NativeRows(weight); });
      if (!c.fits) {
        CHECK(error.starts_with(weight.place + ": row 2: a scale or minimum is "));
        continue;
      }
      CHECK(error == "");
      if (!error.empty() || (c.d & 0x7FFF) == 0) continue;
      CHECK(SquaredError(ReadAll(weight), native) < 0.02);
    }
  }
}

TEST_CASE("rows of a part: ranges, experts, heads as the checkpoint had them") {
  std::mt19937 random(11);
  const Layout& t = LayoutOf("Q8_0");
  const size_t cols = 64, rows = 96;
  const std::string data = RandomData(t, rows * cols / 32, random);
  const SourceWeight all = WeightOf(FileOf(t.id, {cols, rows}, data));
  const std::vector<float> whole = ReadAll(all);
  const auto slice = [&](size_t row, size_t n) {
    return std::vector<float>(whole.begin() + static_cast<ptrdiff_t>(row * cols),
                              whole.begin() + static_cast<ptrdiff_t>((row + n) * cols));
  };
  // Three experts of 32 rows.
  const auto experts = FileOf(t.id, {cols, 32, 3}, data);
  const SourceWeight second = WeightOf(experts, {32, 32});
  CHECK(second.shape == std::vector<uint64_t>{32, cols});
  CHECK(SameBits(ReadAll(second), slice(32, 32)));
  CHECK(SameBits(NativeRows(second), slice(32, 32)));
  CHECK(SameBits(ReadAll(second, 5, 20), slice(37, 20)));
  // llama.cpp: reshape(heads, 2, d / 2, cols).swapaxes(1, 2), here of 3 heads of 16 rows from
  // row 48.
  std::vector<float> want = slice(48, 48);
  for (size_t h = 0; h < 3; ++h) {
    for (size_t half = 0; half < 2; ++half) {
      for (size_t i = 0; i < 8; ++i) {
        std::memcpy(want.data() + (h * 16 + half * 8 + i) * cols,
                    whole.data() + (48 + h * 16 + 2 * i + half) * cols, cols * sizeof(float));
      }
    }
  }
  const SourceWeight heads = WeightOf(FileOf(t.id, {cols, rows}, data), {48, 48, 3});
  CHECK(SameBits(ReadAll(heads), want));
  for (const uint64_t band : {16, 32, 48}) CHECK(SameBits(NativeRows(heads, band), want));
  CHECK(ReadAll(heads, 9, 3) ==
        std::vector<float>(want.begin() + 9 * cols, want.begin() + 12 * cols));
  // A vector is a matrix of one row.
  CHECK(WeightOf(FileOf(t.id, {cols * rows}, data)).shape == std::vector<uint64_t>{1, cols * rows});
}

TEST_CASE("parts that cannot be are refused by name") {
  std::mt19937 random(12);
  const auto file = FileOf(8, {64, 96}, RandomData(LayoutOf("Q8_0"), 192, random));
  const auto error = [&](const GgufRows& rows) {
    const std::string message = ErrorOf([&] { WeightOf(file, rows); });
    CHECK(IsPlainMessage(message, file->path() + ": tensor 'w': "));
    return message;
  };
  CHECK(error({90, 7}).ends_with("expected rows 90 to 97 (exclusive), found 96 rows"));
  CHECK(error({UINT64_MAX, 2}).ends_with("found 96 rows"));
  CHECK(error({0, UINT64_MAX}).ends_with("found 96 rows"));
  CHECK(error({0, 96, 5}).ends_with("expected 5 heads of an even number of rows, found 96 rows"));
  CHECK(error({0, 96, 96}).ends_with("found 96 rows"));
  const auto unread = FileOf(16, {256, 2}, std::string(132, '\0'));
  CHECK(ErrorOf([&] { WeightOf(unread); }).ends_with("the type IQ2_XXS is not supported"));
}

TEST_CASE("parts of a split file, and matrices of parts") {
  std::mt19937 random(13);
  const size_t cols = 256;
  const std::vector<float> weights = Weights(32, cols, random);
  const std::string q4 = RoundedData(LayoutOf("Q4_K"), weights);
  const std::string q6 = RoundedData(LayoutOf("Q6_K"), weights);
  const std::string folder = TempDir();
  for (uint32_t i = 0; i < 2; ++i) {
    GgufParts parts;
    const auto u16 = [](const std::string& key, uint16_t value) {
      return GgufPairOf(key, 2, U16(value));
    };
    parts.pairs = {u16("split.no", static_cast<uint16_t>(i)), u16("split.count", 2)};
    parts.tensors = {i == 0 ? GgufEntry("q", {cols, 32}, 12, 0)
                            : GgufEntry("v", {cols, 32}, 14, 0)};
    parts.data = i == 0 ? q4 : q6;
    WriteFile(folder + "/m-0000" + std::to_string(i + 1) + "-of-00002.gguf", GgufBytes(parts));
  }
  const std::shared_ptr<const Gguf> file = Gguf::Open(folder + "/m-00001-of-00002.gguf");
  const auto part = [&](const char* name, const GgufRows& rows) {
    return GgufMatrix(file, *file->Find(name), rows, "qkv", Role::kMatrix);
  };
  CHECK(part("v", {0, 32}).place == folder + "/m-00002-of-00002.gguf: tensor 'v'");
  const auto join = [](std::vector<SourceWeight> parts) {
    return JoinRows(std::move(parts), "joined");
  };
  // One form at whole tiles: the numbers of the parts.
  const SourceWeight same = join({part("q", {0, 32, 2}), part("q", {16, 16})});
  CHECK(same.stored == DType::kInt4a);
  std::vector<float> want = NativeRows(part("q", {0, 32, 2}));
  const std::vector<float> rest = NativeRows(part("q", {16, 16}));
  want.insert(want.end(), rest.begin(), rest.end());
  CHECK(SameBits(NativeRows(same), want));
  // Several forms, or parts of tiles: int8, which nobody sees beside the errors of the parts.
  for (const SourceWeight& mixed : {join({part("q", {0, 32}), part("v", {0, 32})}),
                                    join({part("q", {0, 8}), part("q", {8, 16})})}) {
    CHECK(mixed.stored == DType::kInt8);
    CHECK(SquaredError(ReadAll(mixed), NativeRows(mixed)) < 1e-4);
  }
  // Q8_0's own codes, if a code of each block is 127, as ggml writes them.
  const SourceWeight bytes =
      WeightOf(FileOf(8, {cols, 32}, RoundedData(LayoutOf("Q8_0"), weights)));
  const SourceWeight with_bytes = join({part("q", {0, 32}), bytes});
  const std::vector<float> decoded = NativeRows(with_bytes), own = ReadAll(bytes);
  CHECK(SameBits({decoded.end() - static_cast<ptrdiff_t>(own.size()), decoded.end()}, own));
}

TEST_CASE("files that llama.cpp wrote") {
  if (SkipWithoutReference("llama.cpp's files")) return;
  for (const char* name : {"F16", "Q8_0", "Q4_0", "Q4_K"}) {
    const std::shared_ptr<const Gguf> file =
        Gguf::Open(ReferenceDir() + "/gguf/" + name + ".gguf");
    const bool is_exact = std::string(name) != "Q4_K";
    size_t matrices = 0;
    for (const GgufTensor& tensor : file->tensors()) {
      if (tensor.shape.size() != 2) continue;
      CAPTURE(tensor.name);
      const GgufRows rows = {0, tensor.shape[0]};
      const SourceWeight weight = GgufMatrix(file, tensor, rows, "w", Role::kMatrix);
      const std::vector<float> read = ReadAll(weight), native = NativeRows(weight);
      CHECK((is_exact ? SameBits(read, native) : SquaredError(read, native) < 1e-4));
      ++matrices;
    }
    CHECK(matrices == 16);
  }
}

}  // namespace
}  // namespace glint
