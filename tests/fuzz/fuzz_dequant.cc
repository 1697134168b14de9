// Blocks of a GGUF type: the importer's decoding against the format's definition bit by bit
// (tests/gguf_blocks.h), and the type of ours that takes their place against both. The first byte
// chooses the type, the rest are its blocks.
#include <cmath>
#include <cstring>
#include <iterator>
#include <memory>
#include <vector>

#include "formats/convert/gguf_weight.h"
#include "formats/import/gguf.h"
#include "lib/error.h"
#include "lib/system/pages.h"
#include "quant/layout.h"
#include "tests/fuzz/target.h"
#include "tests/gguf_blocks.h"
#include "tests/gguf_files.h"
#include "tests/test_util.h"

namespace glint::fuzz {
namespace {

using test::Layout;

constexpr size_t kMostBlocks = 24;

// The inverse of test::Put.
unsigned Get(const uint8_t* block, test::Place place, size_t item, size_t bits) {
  unsigned value = 0;
  for (size_t b = 0; b < bits; ++b) {
    const size_t at = place(item, b);
    value |= static_cast<unsigned>(block[at / 8] >> at % 8 & 1) << b;
  }
  return value;
}

uint16_t HalfAt(const uint8_t* block, size_t at) {
  return static_cast<uint16_t>(block[at] | block[at + 1] << 8);
}

// The numbers of a block by the definition, as test::MakeBlock computes them.
std::vector<float> Define(const Layout& t, const uint8_t* bytes) {
  const uint16_t d = HalfAt(bytes, t.d), m = t.m != 0 ? HalfAt(bytes, t.m) : 0;
  size_t code_index = 0, steps = 0, minimums = 0;
  // MakeBlock asks for the bits of a block in this order; where each lies the layout says.
  bool scale_next = t.scale_bits != 0, minimum_next = false;
  const auto next = [&](size_t) {
    if (t.scale_bits != 0 && scale_next) {
      scale_next = false;
      minimum_next = t.minimum != nullptr;
      return Get(bytes, t.scale, steps++, t.scale_bits);
    }
    if (minimum_next) {
      minimum_next = false;
      return Get(bytes, t.minimum, minimums++, t.scale_bits);
    }
    const unsigned code = Get(bytes, t.code, code_index++, t.code_bits);
    scale_next = t.scale_bits != 0 && code_index % t.sub == 0;
    return code;
  };
  const test::Block block = test::MakeBlock(t, d, m, next);
  Require(std::memcmp(block.bytes.data(), bytes, t.bytes) == 0, "a layout names every bit");
  return block.values;
}

bool Same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

struct Release {
  uint64_t bytes;
  void operator()(uint8_t* at) const { ReleasePages(at, bytes); }
};

// What the matrix decodes to in the type that the runtime would have.
std::vector<float> NativeRow(const SourceWeight& weight, uint64_t cols) {
  MatrixLayout layout;
  Require(ComputeLayout(weight.stored, weight.native->offset, 1, cols, &layout), "a layout");
  const std::unique_ptr<uint8_t, Release> bytes(ReservePages(layout.bytes), {layout.bytes});
  std::memset(bytes.get(), 0, layout.bytes);
  if (Info(weight.stored).has_table) WriteTable(weight.native->table, bytes.get() + layout.table);
  weight.native->fill(layout, 0, 1, PlanesAt(layout, bytes.get(), 0));
  std::vector<float> row(cols);
  DecodeRow({layout, bytes.get()}, 0, row.data());
  return row;
}

// Types whose numbers the runtime's type holds exactly (docs/QUANT.md, "GGUF").
bool IsExact(std::string_view type) {
  for (const char* exact : {"Q4_0", "Q4_1", "Q8_0", "IQ4_NL", "IQ4_XS"}) {
    if (type == exact) return true;
  }
  return false;
}

}  // namespace

void FuzzDequant(Input input) {
  Parts parts(input);
  const Layout& t = test::kLayouts[parts.Byte() % std::size(test::kLayouts)];
  const Input data = parts.Rest();
  const size_t blocks = std::min(data.size() / t.bytes, kMostBlocks);
  if (blocks == 0) return;
  std::vector<float> defined;
  for (size_t b = 0; b < blocks; ++b) {
    for (const float value : Define(t, data.data() + b * t.bytes)) defined.push_back(value);
  }
  std::vector<float> decoded(defined.size());
  FindGgmlType(t.id)->decode(data.data(), blocks, decoded.data());
  for (size_t i = 0; i < defined.size(); ++i) {
    Require(Same(defined[i], decoded[i]), "decoding is as the format defines it");
  }

  test::GgufParts file;
  file.tensors = {test::GgufEntry("w", {defined.size(), 1}, t.id, 0)};
  file.data = std::string(Text(data.first(blocks * t.bytes)));
  const std::string bytes = test::GgufBytes(file);
  const std::shared_ptr<const Gguf> gguf =
      Gguf::Open(AsFile({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "w.gguf"));
  const SourceWeight weight =
      GgufMatrix(gguf, *gguf->Find("w"), {0, 1, 0}, "layer.0.w", ImportTensor::Role::kMatrix);
  const std::vector<float> native = NativeRow(weight, defined.size());
  for (size_t i = 0; i < defined.size(); ++i) {
    Require(std::isfinite(native[i]), "what is not finite is refused");
    if (IsExact(t.name)) Require(Same(native[i], defined[i]), "the type keeps its numbers");
  }
}

}  // namespace glint::fuzz
