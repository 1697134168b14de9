#include "formats/convert/gguf_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/convert/gguf_forms.h"
#include "lib/error.h"

namespace glint {
namespace {

// A range of rows, and the reading of bands of it.
struct Part {
  std::shared_ptr<const Gguf> gguf;
  const GgufTensor* tensor;
  GgufRows rows;
  uint64_t cols, row_bytes;

  std::string Place() const { return gguf->FileName(*tensor) + ": tensor " + Quoted(tensor->name); }
  // The tensor's row that is our row `row`.
  uint64_t FileRow(uint64_t row) const {
    if (rows.permuted_heads == 0) return rows.first_row + row;
    const uint64_t head_rows = rows.n_rows / rows.permuted_heads;
    const uint64_t in_head = row % head_rows, half = head_rows / 2;
    return rows.first_row + row - in_head + in_head % half * 2 + in_head / half;
  }
};

// Our rows [row, row + n) as they lie in the file: one read of all that lies between the first and
// the last, which the order within heads spreads to at most two heads more.
class Band {
 public:
  Band(const Part& part, uint64_t row, uint64_t n) : part_(part), row_(row) {
    first_ = UINT64_MAX;
    uint64_t last = 0;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = part.FileRow(row + i);
      first_ = std::min(first_, at);
      last = std::max(last, at);
    }
    const uint64_t count = last - first_ + 1;
    // Raw memory, not a vector: no time goes into zeros that are overwritten at once.
    bytes_.reset(new uint8_t[count * part.row_bytes]);
    part.gguf->ReadRaw(*part.tensor, first_ * part.cols, count * part.cols, bytes_.get());
  }
  const uint8_t* Row(uint64_t i) const {
    return bytes_.get() + (part_.FileRow(row_ + i) - first_) * part_.row_bytes;
  }

 private:
  const Part& part_;
  uint64_t row_, first_;
  std::unique_ptr<uint8_t[]> bytes_;
};

// The tile's planes as zeros, for lanes that nothing comes to.
void ClearTile(const MatrixLayout& layout, TilePlanes tile) {
  const auto clear = [](void* at, uint64_t bytes) {
    if (bytes != 0) std::memset(at, 0, bytes);
  };
  clear(tile.row_scales, layout.row_scales_tile);
  clear(tile.block_scales, layout.block_scales_tile);
  clear(tile.block_offsets, layout.block_offsets_tile);
  clear(tile.codes, layout.codes_tile);
}

// --- Floats: the same bits in another order. ---

bool IsFinite(uint32_t bits, DType dtype) {
  const uint32_t exponent = dtype == DType::kF32   ? 0x7f800000u
                            : dtype == DType::kF16 ? 0x7c00u
                                                   : 0x7f80u;
  return (bits & exponent) != exponent;
}

template <class T>
void FillFloats(const Part& part, const MatrixLayout& layout, uint64_t row, uint64_t n_rows,
                TilePlanes planes) {
  const Band band(part, row, n_rows);
  for (uint64_t begin = 0; begin < n_rows; begin += kTileRows) {
    const uint64_t n = std::min<uint64_t>(kTileRows, n_rows - begin);
    if (n < kTileRows) ClearTile(layout, planes);
    const uint8_t* rows[kTileRows];
    for (uint64_t r = 0; r < n; ++r) rows[r] = band.Row(begin + r);
    for (uint64_t c = 0; c < layout.cols; ++c) {
      for (uint64_t r = 0; r < n; ++r) {
        T bits;
        std::memcpy(&bits, rows[r] + c * sizeof(T), sizeof bits);
        if (!IsFinite(bits, layout.dtype)) {
          throw Error(part.Place() + ": row " + std::to_string(part.FileRow(row + begin + r)) +
                      ", column " + std::to_string(c) + ": is not a finite number");
        }
        std::memcpy(planes.codes + (c * kTileRows + r) * sizeof(T), &bits, sizeof bits);
      }
    }
    planes = Advance(layout, planes, 1);
  }
}

// --- Quantized types. ---

bool AllFinite(const std::vector<float>& values) {
  float sum = 0;  // x * 0 is 0 or nan
  for (const float value : values) sum += value * 0.0f;
  return sum == 0;
}

void FillCoded(const Part& part, const GgufForm& form, const MatrixLayout& layout, uint64_t row,
               uint64_t n_rows, TilePlanes planes) {
  const GgmlType& type = *part.tensor->type;
  const GgmlCoding& coding = *type.coding;
  const Band band(part, row, n_rows);
  const uint64_t shares = layout.cols / coding.shared;
  std::vector<uint8_t> codes(layout.cols);
  std::vector<float> scales(shares), minimums(shares), steps(shares);
  for (uint64_t i = 0; i < n_rows; ++i) {
    if (i > 0 && i % kTileRows == 0) planes = Advance(layout, planes, 1);
    if (i % kTileRows == 0 && n_rows - i < kTileRows) ClearTile(layout, planes);
    const uint8_t* from = band.Row(i);
    for (uint64_t c = 0; c < layout.cols; c += type.block_elements, from += type.block_bytes) {
      const uint64_t share = c / coding.shared;
      coding.unpack(from, codes.data() + c, scales.data() + share, minimums.data() + share);
    }
    const char* fault = "a scale or minimum is not a finite number";
    if (AllFinite(scales) && AllFinite(minimums)) {
      const GgmlRow unpacked = {codes.data(), scales.data(), minimums.data(), steps.data()};
      if (form.pack(coding, layout, unpacked, i % kTileRows, planes)) continue;
      fault = "a scale or minimum is beyond f16 (another --type can hold it)";
    }
    throw Error(part.Place() + ": row " + std::to_string(part.FileRow(row + i)) + ": " + fault);
  }
}

// --- The weight. ---

Part PartOf(std::shared_ptr<const Gguf> gguf, const GgufTensor& tensor, const GgufRows& rows) {
  Part part{std::move(gguf), &tensor, rows, 0, 0};
  const auto fail = [&](const std::string& what) { throw Error(part.Place() + ": " + what); };
  if (tensor.type->decode == nullptr) {
    fail(std::string("the type ") + tensor.type->name + " is not supported");
  }
  if (tensor.shape.empty()) fail("expected a matrix, found a single number");
  part.cols = tensor.shape.back();
  part.row_bytes = part.cols / tensor.type->block_elements * tensor.type->block_bytes;
  const uint64_t has = tensor.elements / part.cols;
  if (rows.n_rows == 0 || rows.first_row > has || rows.n_rows > has - rows.first_row) {
    fail("expected rows " + std::to_string(rows.first_row) + " to " +
         std::to_string(rows.first_row + rows.n_rows) + " (exclusive), found " +
         std::to_string(has) + " rows");
  }
  const uint64_t heads = rows.permuted_heads;
  if (heads != 0 && (rows.n_rows % heads != 0 || rows.n_rows / heads % 2 != 0)) {
    fail("expected " + std::to_string(heads) + " heads of an even number of rows, found " +
         std::to_string(rows.n_rows) + " rows");
  }
  return part;
}

NativeForm FloatForm(const Part& part, DType dtype) {
  const auto fill = dtype == DType::kF32 ? FillFloats<uint32_t> : FillFloats<uint16_t>;
  return {BlockOffset::kNone, kDefaultInt4Table,
          [part, fill](const MatrixLayout& layout, uint64_t row, uint64_t n, TilePlanes planes) {
            fill(part, layout, row, n, planes);
          }};
}

NativeForm CodedForm(const Part& part, const GgufForm& form) {
  return {form.offset, form.table ? *form.table : kDefaultInt4Table,
          [part, &form](const MatrixLayout& layout, uint64_t row, uint64_t n, TilePlanes planes) {
            FillCoded(part, form, layout, row, n, planes);
          }};
}

DType FloatTypeOf(std::string_view type) {
  if (type == "F16") return DType::kF16;
  return type == "BF16" ? DType::kBF16 : DType::kF32;
}

}  // namespace

SourceWeight GgufMatrix(std::shared_ptr<const Gguf> gguf, const GgufTensor& tensor,
                        const GgufRows& rows, std::string name, ImportTensor::Role role) {
  const Part part = PartOf(std::move(gguf), tensor, rows);
  SourceWeight weight{std::move(name), {rows.n_rows, part.cols}, role};
  weight.place = part.Place();
  weight.read = [part](uint64_t row, uint64_t n, float* out) {
    const Band band(part, row, n);
    const size_t blocks = part.cols / part.tensor->type->block_elements;
    for (uint64_t i = 0; i < n; ++i) {
      part.tensor->type->decode(band.Row(i), blocks, out + i * part.cols);
    }
  };
  if (tensor.type->coding == nullptr) {
    weight.stored = FloatTypeOf(tensor.type->name);
    weight.native = FloatForm(part, weight.stored);
  } else {
    const GgufForm& form = FormOf(*tensor.type);
    weight.stored = form.dtype;
    weight.native = CodedForm(part, form);
  }
  return weight;
}

}  // namespace glint
