#include "formats/convert/packed_matrix.h"

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <numeric>
#include <utility>

#include "formats/convert/source_matrix.h"
#include "lib/error.h"

namespace glint {
namespace {

constexpr uint64_t kBlock = 32;     // of int4a
constexpr uint64_t kWordCodes = 8;  // 4-bit codes of a word
constexpr int kMiddle = 8;          // the zero of symmetric quantization
constexpr char kIndex[] = ".g_idx";

}  // namespace

// A layer's parts for outputs [begin, begin + rows), both multiples of 8.
struct Slab {
  uint64_t begin = 0, rows = 0;
  std::vector<uint32_t> words;  // kGptq: (cols / 8, rows); kAwq: (cols, rows / 8)
  std::vector<uint32_t> zeros;  // (groups, rows / 8)
  std::vector<float> scales;    // (groups, rows)
};

namespace {

// Columns [begin, begin + n) of a tensor of rank 2, row after row.
template <class T, class Read>
std::vector<T> ReadColumns(const SourceTensor& tensor, uint64_t begin, uint64_t n,
                           const Read& read) {
  const uint64_t rows = tensor.shape[0], cols = tensor.shape[1];
  std::vector<T> out(rows * n);
  if (n == cols) {
    read(tensor, 0, rows * cols, out.data());
    return out;
  }
  for (uint64_t r = 0; r < rows; ++r) read(tensor, r * cols + begin, n, out.data() + r * n);
  return out;
}

}  // namespace

// The slabs of the layers read last, whole ones: bands of rows that are converted one after the
// other, by several threads, and across the border of two layers, read each but once.
class SlabCache {
 public:
  explicit SlabCache(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  uint64_t max_bytes() const { return max_bytes_; }
  std::shared_ptr<const Slab> Get(const void* layer, const std::function<Slab()>& read) {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, slab] : slabs_) {
      if (key == layer) return slab;
    }
    auto& [key, slab] = slabs_[next_++ % slabs_.size()];
    slab.reset();  // before the next takes memory
    key = nullptr;
    slab = std::make_shared<const Slab>(read());
    key = layer;
    return slab;
  }

 private:
  const uint64_t max_bytes_;
  std::mutex mutex_;
  std::array<std::pair<const void*, std::shared_ptr<const Slab>>, 2> slabs_;
  size_t next_ = 0;
};

PackedMatrix::PackedMatrix(const Checkpoint& checkpoint, const PackedFormat& format,
                           const std::string& name, uint64_t rows, uint64_t cols,
                           std::shared_ptr<SlabCache> cache)
    : checkpoint_(&checkpoint), format_(format), layer_(name.substr(0, name.rfind('.'))),
      rows_(rows), cols_(cols), blocks_((cols + kBlock - 1) / kBlock), cache_(std::move(cache)) {
  const uint64_t group = format_.group_size == 0 ? cols_ : format_.group_size;
  groups_ = (cols_ + group - 1) / group;
  if (rows_ % kWordCodes != 0 || (IsGptq() && cols_ % kWordCodes != 0)) {
    throw Error(checkpoint.path() + ": layer " + Quoted(layer_) + ": " + std::to_string(rows_) +
                " rows and " + std::to_string(cols_) + " columns cannot be packed by eights");
  }
  words_ = IsGptq() ? &Part(".qweight", {cols_ / kWordCodes, rows_})
                : &Part(".qweight", {cols_, rows_ / kWordCodes});
  zeros_ = &Part(".qzeros", {groups_, rows_ / kWordCodes});
  scales_ = &Part(".scales", {groups_, rows_});
  for (uint32_t j = 0; j < kWordCodes; ++j) {
    shift_of_output_[IsGptq() ? j : kAwqOutputs[j]] = 4 * j;
  }
  SortColumns(Groups());
  CheckZeros();
}

// The tensor of this ending: words of 32 bits, but for the scales.
const SourceTensor& PackedMatrix::Part(const char* ending, std::vector<uint64_t> shape) const {
  const std::string name = layer_ + ending;
  const SourceTensor* tensor = checkpoint_->Find(name);
  if (!tensor) {
    throw Error(checkpoint_->path() + ": tensor " + Quoted(name) + " is missing; expected shape " +
                ShapeText(shape));
  }
  const SourceType type = tensor->type;
  const bool is_float =
      type == SourceType::kF16 || type == SourceType::kBF16 || type == SourceType::kF32;
  const bool wants_float = name.ends_with(".scales");
  if (tensor->shape == shape && (wants_float ? is_float : type == SourceType::kI32)) {
    return *tensor;
  }
  throw Error(checkpoint_->FileName(*tensor) + ": tensor " + Quoted(name) + ": expected " +
              (wants_float ? "F16, BF16 or F32 " : "I32 ") + ShapeText(shape) + ", found " +
              Name(type) + " " + ShapeText(tensor->shape) +
              " (4 bits in groups of " + std::to_string(format_.group_size) + ")");
}

std::string PackedMatrix::Place() const {
  return checkpoint_->FileName(*words_) + ": tensor " + Quoted(words_->name);
}

// The group of each input.
std::vector<int32_t> PackedMatrix::Groups() const {
  const uint64_t group_size = format_.group_size == 0 ? cols_ : format_.group_size;
  std::vector<int32_t> groups(cols_);
  for (uint64_t i = 0; i < cols_; ++i) groups[i] = static_cast<int32_t>(i / group_size);
  if (!IsGptq() || !checkpoint_->Find(layer_ + kIndex)) return groups;
  const SourceTensor& tensor = Part(kIndex, {cols_});
  std::vector<int32_t> given(cols_);
  checkpoint_->ReadRaw(tensor, 0, cols_, given.data());
  for (uint64_t i = 0; i < cols_; ++i) {
    if (given[i] >= 0 && static_cast<uint64_t>(given[i]) < groups_) continue;
    throw Error(checkpoint_->FileName(tensor) + ": tensor " + Quoted(tensor.name) + ": entry " +
                std::to_string(i) + ": expected 0 to " + std::to_string(groups_ - 1) + ", found " +
                std::to_string(given[i]));
  }
  // All 0 is what tools write that do not use it.
  const bool is_used = std::any_of(given.begin(), given.end(), [](int32_t g) { return g != 0; });
  return is_used ? given : groups;
}

// Settles the order in which groups are consecutive.
void PackedMatrix::SortColumns(const std::vector<int32_t>& groups) {
  std::vector<int32_t> order(cols_);
  std::iota(order.begin(), order.end(), 0);
  const auto group_of = [&](int32_t input) { return groups[static_cast<size_t>(input)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return group_of(a) < group_of(b); });
  place_of_.resize(cols_);
  group_of_block_.resize(blocks_);
  for (uint64_t c = 0; c < cols_; ++c) {
    const auto group = static_cast<uint32_t>(group_of(order[c]));
    place_of_[static_cast<size_t>(order[c])] = static_cast<uint32_t>(c);
    if (c % kBlock == 0) group_of_block_[c / kBlock] = group;
    if (group_of_block_[c / kBlock] == group) continue;
    throw Error(checkpoint_->FileName(*words_) + ": tensor " + Quoted(layer_ + kIndex) +
                ": group " + std::to_string(group) + " begins at column " + std::to_string(c) +
                " of those sorted by group; expected whole blocks of " + std::to_string(kBlock));
  }
  if (!std::is_sorted(order.begin(), order.end())) columns_ = std::move(order);
}

void PackedMatrix::CheckZeros() {
  constexpr uint64_t kWords = 1 << 16;
  const uint32_t middle = 0x11111111u * static_cast<uint32_t>(kMiddle - format_.zero_bias);
  std::vector<uint32_t> words(std::min(kWords, zeros_->elements));
  for (uint64_t at = 0; at < zeros_->elements && symmetric_; at += kWords) {
    const uint64_t n = std::min(kWords, zeros_->elements - at);
    checkpoint_->ReadRaw(*zeros_, at, n, words.data());
    symmetric_ = std::all_of(words.begin(), words.begin() + static_cast<ptrdiff_t>(n),
                             [&](uint32_t word) { return word == middle; });
  }
}

std::shared_ptr<const Slab> PackedMatrix::ReadSlab(uint64_t row, uint64_t n_rows) const {
  const auto raw = [&](const SourceTensor& tensor, uint64_t at, uint64_t count, uint32_t* out) {
    checkpoint_->ReadRaw(tensor, at, count, out);
  };
  const auto floats = [&](const SourceTensor& tensor, uint64_t at, uint64_t count, float* out) {
    checkpoint_->ReadF32(tensor, at, count, out);
  };
  const auto read = [&](uint64_t begin, uint64_t n) {
    const uint64_t word = begin / kWordCodes, n_words = n / kWordCodes;
    Slab slab{begin, n, {}, {}, ReadColumns<float>(*scales_, begin, n, floats)};
    slab.zeros = ReadColumns<uint32_t>(*zeros_, word, n_words, raw);
    slab.words = IsGptq() ? ReadColumns<uint32_t>(*words_, begin, n, raw)
                          : ReadColumns<uint32_t>(*words_, word, n_words, raw);
    return slab;
  };
  if (rows_ * cols_ / 2 <= cache_->max_bytes()) {
    return cache_->Get(this, [&] { return read(0, rows_); });
  }
  const uint64_t begin = row / kWordCodes * kWordCodes;
  const uint64_t end = (row + n_rows + kWordCodes - 1) / kWordCodes * kWordCodes;
  return std::make_shared<const Slab>(read(begin, end - begin));
}

// The codes of rows [first, first + n_rows) of the slab.
void PackedMatrix::UnpackCodes(const Slab& slab, uint64_t first, uint64_t n_rows,
                               uint8_t* out) const {
  // 16 rows at a time stay in the caches while the words' lines go by.
  constexpr uint64_t kTile = 16;
  for (uint64_t begin = 0; begin < n_rows; begin += kTile) {
    const uint64_t end = std::min(n_rows, begin + kTile);
    for (uint64_t i = 0; i < cols_; i += IsGptq() ? kWordCodes : 1) {
      for (uint64_t r = begin; r < end; ++r) {
        uint8_t* codes = out + r * cols_;
        if (!IsGptq()) {
          codes[place_of_[i]] =
              static_cast<uint8_t>(CodeOfOutput(slab.words, i, slab.rows, first + r));
          continue;
        }
        const uint32_t word = slab.words[i / kWordCodes * slab.rows + first + r];
        for (uint64_t j = 0; j < kWordCodes; ++j) {
          codes[place_of_[i + j]] = static_cast<uint8_t>(word >> 4 * j & 15);
        }
      }
    }
  }
}

// From line `line` of words of 8 outputs each.
uint32_t PackedMatrix::CodeOfOutput(const std::vector<uint32_t>& words, uint64_t line,
                                    uint64_t rows, uint64_t output) const {
  const uint32_t word = words[line * (rows / kWordCodes) + output / kWordCodes];
  return word >> shift_of_output_[output % kWordCodes] & 15;
}

PackedMatrix::Rows PackedMatrix::Decode(uint64_t row, uint64_t n_rows) const {
  const std::shared_ptr<const Slab> slab = ReadSlab(row, n_rows);
  const uint64_t first = row - slab->begin;
  Rows out;
  out.codes.resize(n_rows * cols_);
  out.scales.resize(n_rows * blocks_);
  out.zeros.resize(n_rows * blocks_);
  UnpackCodes(*slab, first, n_rows, out.codes.data());
  for (uint64_t b = 0; b < blocks_; ++b) {
    const uint64_t group = group_of_block_[b];
    for (uint64_t r = 0; r < n_rows; ++r) {
      const uint32_t zero = CodeOfOutput(slab->zeros, group, slab->rows, first + r);
      out.scales[r * blocks_ + b] = slab->scales[group * slab->rows + first + r];
      out.zeros[r * blocks_ + b] = static_cast<int8_t>(static_cast<int>(zero) + format_.zero_bias);
    }
  }
  return out;
}

void PackedMatrix::ReadRowsF32(uint64_t row, uint64_t n_rows, float* out) const {
  const Rows rows = Decode(row, n_rows);
  for (uint64_t r = 0; r < n_rows; ++r) {
    for (uint64_t c = 0; c < cols_; ++c) {
      const uint64_t entry = r * blocks_ + c / kBlock;
      const int code = rows.codes[r * cols_ + c] - rows.zeros[entry];
      out[r * cols_ + c] = rows.scales[entry] * static_cast<float>(code);
    }
  }
}

void PackedMatrix::Fill(const MatrixLayout& layout, uint64_t row, uint64_t n_rows,
                        TilePlanes planes) const {
  const Rows rows = Decode(row, n_rows);
  const Int4aParts parts = {rows.codes.data(), rows.scales.data(), rows.zeros.data(), nullptr};
  const uint64_t bad = PackInt4a(layout, parts, n_rows, planes);
  if (bad == kEncoded) return;
  throw Error(checkpoint_->FileName(*scales_) + ": tensor " + Quoted(scales_->name) + ": group " +
              std::to_string(group_of_block_[bad % cols_ / kBlock]) + ", row " +
              std::to_string(row + bad / cols_) + ": the scale is not finite");
}

PackedSource::PackedSource(const Checkpoint& checkpoint, const std::string& where,
                           uint64_t max_layer_bytes)
    : checkpoint_(&checkpoint), format_(ReadPackedFormat(checkpoint.config(), where)),
      cache_(std::make_shared<SlabCache>(max_layer_bytes)) {}

namespace {

// "X" of "X.weight"; empty for other names.
std::string LayerOf(const std::string& name) {
  constexpr std::string_view kEnding = ".weight";
  if (!name.ends_with(kEnding)) return "";
  return name.substr(0, name.size() - kEnding.size());
}

}  // namespace

bool PackedSource::Has(const std::string& name) const {
  const std::string layer = LayerOf(name);
  if (!format_ || layer.empty()) return false;
  const SourceTensor* words = checkpoint_->Find(layer + ".qweight");
  if (!words) return false;
  if (!checkpoint_->Find(name)) return true;
  throw Error(checkpoint_->FileName(*words) + ": tensors " + Quoted(name) + " and " +
              Quoted(words->name) + ": expected one of them, found both");
}

std::set<std::string> PackedSource::PartNames(const std::string& name) const {
  const std::string layer = LayerOf(name);
  std::set<std::string> names = {layer + ".qweight", layer + ".qzeros", layer + ".scales"};
  if (format_ && format_->method == PackedFormat::Method::kGptq) names.insert(layer + ".g_idx");
  return names;
}

bool PackedSource::IsZeroBias(const SourceTensor& tensor) const {
  constexpr std::string_view kEnding = ".bias";
  if (!format_ || !tensor.name.ends_with(kEnding) || tensor.shape.size() != 1) return false;
  const std::string layer = tensor.name.substr(0, tensor.name.size() - kEnding.size());
  const SourceTensor* scales = checkpoint_->Find(layer + ".scales");
  if (!scales || scales->shape.size() != 2 || scales->shape[1] != tensor.elements) return false;
  std::vector<float> values(tensor.elements);
  checkpoint_->ReadF32(tensor, 0, tensor.elements, values.data());
  return std::all_of(values.begin(), values.end(), [](float value) { return value == 0; });
}

std::vector<std::shared_ptr<const PackedMatrix>> PackedSource::Open(
    const ImportTensor& tensor) const {
  std::vector<std::shared_ptr<const PackedMatrix>> all;
  for (const ImportSource& source : tensor.sources) {
    all.push_back(!Has(source.name) ? nullptr
                                    : std::make_shared<const PackedMatrix>(
                                          *checkpoint_, *format_, source.name, source.TensorRows(),
                                          tensor.shape[1], cache_));
  }
  static const std::vector<int32_t> kOwnOrder;
  const auto order = [&](size_t i) -> const std::vector<int32_t>& {
    return all[i] ? all[i]->columns() : kOwnOrder;
  };
  for (size_t i = 1; i < all.size(); ++i) {
    if (order(i) == order(0)) continue;
    const std::string& other = all[i] ? all[i]->Place() : all[0]->Place();
    throw Error(other + ": g_idx: expected the same order of columns in " +
                Quoted(tensor.sources[0].name) + " and " + Quoted(tensor.sources[i].name) +
                ", which become one matrix, found two");
  }
  return all;
}

void SetPacked(const std::vector<std::shared_ptr<const PackedMatrix>>& all, size_t i,
               SourceWeight* weight) {
  const bool symmetric = std::all_of(
      all.begin(), all.end(), [](const auto& matrix) { return !matrix || matrix->symmetric(); });
  const std::shared_ptr<const PackedMatrix>& matrix = all[i];
  weight->stored = DType::kInt4a;
  weight->place = matrix->Place();
  weight->read = [matrix](uint64_t row, uint64_t n, float* out) {
    matrix->ReadRowsF32(row, n, out);
  };
  weight->native = NativeForm{};
  weight->native->offset = symmetric ? BlockOffset::kNone : BlockOffset::kZero;
  weight->native->table = symmetric ? kLinearTable : kUnsignedTable;
  weight->native->fill = [matrix](const MatrixLayout& layout, uint64_t row, uint64_t n,
                                  TilePlanes planes) { matrix->Fill(layout, row, n, planes); };
}

}  // namespace glint
