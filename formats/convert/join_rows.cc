#include "formats/convert/join_rows.h"

#include <algorithm>
#include <memory>

#include "quant/encode.h"

namespace glint {
namespace {

// The parts, and the row at which each begins; after the last, the number of rows.
struct Joined {
  std::vector<SourceWeight> parts;
  std::vector<uint64_t> begins;
};

// Calls fn(part, its row, n, rows of [row, row + n_rows) that come before) for each part of
// [row, row + n_rows).
template <class Fn>
void ForParts(const Joined& joined, uint64_t row, uint64_t n_rows, const Fn& fn) {
  for (size_t i = 0; i < joined.parts.size(); ++i) {
    const uint64_t begin = std::max(row, joined.begins[i]);
    const uint64_t end = std::min(row + n_rows, joined.begins[i + 1]);
    if (begin < end) fn(joined.parts[i], begin - joined.begins[i], end - begin, begin - row);
  }
}

bool SameForm(const SourceWeight& a, const SourceWeight& b) {
  return a.native && b.native && a.stored == b.stored && a.native->offset == b.native->offset &&
         a.native->table == b.native->table;
}

bool CanStayQuantized(const Joined& joined) {
  for (size_t i = 0; i < joined.parts.size(); ++i) {
    if (!SameForm(joined.parts[0], joined.parts[i]) || joined.begins[i] % kTileRows != 0) {
      return false;
    }
  }
  return true;
}

// The float type that holds the numbers of all parts.
DType FloatOf(const Joined& joined) {
  const DType first = joined.parts[0].stored;
  for (const SourceWeight& part : joined.parts) {
    if (Info(part.stored).block > 1 || part.stored != first) return DType::kF32;
  }
  return first;
}

// Where every part has a form of its own: the type for all of them. int8 adds 4e-5 of the squares,
// which no type of fewer bits shows, and gives Q8_0 its own codes (docs/QUANT.md, "GGUF").
DType CommonOf(const Joined& joined) {
  const bool coded = std::all_of(joined.parts.begin(), joined.parts.end(), [](const auto& part) {
    return Info(part.stored).block > 1;
  });
  return coded ? DType::kInt8 : FloatOf(joined);
}

}  // namespace

SourceWeight JoinRows(std::vector<SourceWeight> parts, std::string place) {
  const auto joined = std::make_shared<Joined>();
  SourceWeight weight{parts[0].name, {0, parts[0].shape[1]}, parts[0].role};
  for (const SourceWeight& part : parts) {
    joined->begins.push_back(weight.shape[0]);
    weight.shape[0] += part.shape[0];
  }
  weight.place = std::move(place);
  joined->begins.push_back(weight.shape[0]);
  joined->parts = std::move(parts);
  weight.stored = FloatOf(*joined);
  weight.read = [joined, cols = weight.shape[1]](uint64_t row, uint64_t n_rows, float* out) {
    ForParts(*joined, row, n_rows,
             [&](const SourceWeight& part, uint64_t part_row, uint64_t n, uint64_t before) {
               part.read(part_row, n, out + before * cols);
             });
  };
  const bool all_native = std::all_of(joined->parts.begin(), joined->parts.end(),
                                      [](const auto& part) { return part.native.has_value(); });
  if (!all_native) return weight;
  if (!CanStayQuantized(*joined)) {
    weight.stored = CommonOf(*joined);
    // No search: it takes four times as long and would bring 2e-5 of the squares.
    EncodeOptions encode;
    encode.search = false;
    weight.native = {BlockOffset::kNone, kDefaultInt4Table,
                     FillFromRows(weight.read, encode, weight.place)};
    return weight;
  }
  const SourceWeight& first = joined->parts[0];
  weight.stored = first.stored;
  weight.native = {first.native->offset, first.native->table, {}};
  weight.native->fill = [joined](const MatrixLayout& layout, uint64_t row, uint64_t n_rows,
                                 TilePlanes planes) {
    ForParts(*joined, row, n_rows,
             [&](const SourceWeight& part, uint64_t part_row, uint64_t n, uint64_t before) {
               part.native->fill(layout, part_row, n, Advance(layout, planes, before / kTileRows));
             });
  };
  return weight;
}

SourceWeight SliceRows(SourceWeight whole, uint64_t first, uint64_t rows) {
  if (first == 0 && rows == whole.shape[0]) return whole;
  SourceWeight slice{whole.name, {rows, whole.shape[1]}, whole.role};
  slice.place = whole.place + " (from row " + std::to_string(first) + " on)";
  slice.read = [read = whole.read, first](uint64_t row, uint64_t n_rows, float* out) {
    read(first + row, n_rows, out);
  };
  slice.stored = whole.native && first % kTileRows != 0 ? DType::kF32 : whole.stored;
  if (!whole.native || first % kTileRows != 0) return slice;
  slice.native = {whole.native->offset, whole.native->table, {}};
  slice.native->fill = [fill = whole.native->fill, first](const MatrixLayout& layout, uint64_t row,
                                                          uint64_t n_rows, TilePlanes planes) {
    fill(layout, first + row, n_rows, planes);
  };
  return slice;
}

}  // namespace glint
