#include "formats/convert/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "formats/import/input_file.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "lib/error.h"
#include "lib/text/tokenizer.h"

namespace glint {
namespace {

constexpr size_t kDefaultWindow = 512;
constexpr size_t kShortestWindow = 16;
constexpr uint64_t kMaxTextBytes = 1 << 30;
// Columns that one task sums up.
constexpr size_t kColumnsPerTask = 256;
// Rows of its layer that an expert's own are joined by: enough for an expert that no token reaches.
constexpr size_t kBorrowedRows = 32;

template <class T>
std::span<const T> Table(const SourceModel& source, const char* name) {
  for (const SourceWeight& weight : source.weights) {
    if (weight.name != std::string("tokenizer.") + name) continue;
    return {reinterpret_cast<const T*>(weight.bytes.data()), weight.bytes.size() / sizeof(T)};
  }
  return {};
}

std::unique_ptr<Tokenizer> TokenizerOf(const SourceModel& source) {
  if (!source.header.tokenizer) {
    throw Error(source.path + ": has no tokenizer, which calibrating with a text needs");
  }
  TokenizerTables tables;
  tables.piece_bytes = Table<uint8_t>(source, "piece_bytes");
  tables.piece_ends = Table<int32_t>(source, "piece_ends");
  tables.scores = Table<float>(source, "scores");
  tables.types = Table<uint8_t>(source, "types");
  tables.charsmap = Table<uint8_t>(source, "charsmap");
  tables.index = Table<int32_t>(source, "index");
  return Tokenizer::Create(*source.header.tokenizer, tables, source.path + ": tokenizer");
}

// Where a window's own ids stand among those of the text: `context` of them before, the rest behind.
struct WindowShape {
  std::vector<int32_t> begin, middle;
  bool has_context = false;
};

WindowShape ShapeFor(const SourceModel& source) {
  const nlohmann::json& prompt = *source.header.prompt;
  const auto id = [&](const char* key) {
    return static_cast<int32_t>(GetUint(prompt, key, 0, INT32_MAX, source.path + ": prompt"));
  };
  WindowShape shape;
  if (prompt.contains("sop_id")) {
    shape.middle = {id(prompt.contains("gmask_id") ? "gmask_id" : "mask_id"), id("sop_id")};
    shape.has_context = true;
  } else if (prompt.contains("bos_id")) {
    shape.begin = {id("bos_id")};
  }
  return shape;
}

size_t LongestWindow(const SourceModel& source) {
  return static_cast<size_t>(GetUint(*source.header.config, "max_seq_len", 1, kMaxContext,
                                     source.path + ": config"));
}

// Ids are below this.
uint64_t VocabularyOf(const SourceModel& source) {
  uint64_t rows = 0;
  for (const SourceWeight& weight : source.weights) {
    if (weight.role == ImportTensor::Role::kVocabulary) rows = std::max(rows, weight.shape[0]);
  }
  return rows == 0 ? INT32_MAX : rows;  // then StagedModel says what is wrong
}

// Squares of the columns of an input, added up.
struct SquareSum {
  explicit SquareSum(uint64_t cols) : sums(cols) {}
  std::vector<double> sums;  // (cols)
  size_t rows = 0;
};

// Few tokens or none may reach an expert: the mean over all experts of its op counts as some rows more.
void BorrowRows(const std::vector<StagedModel::Input>& inputs, std::vector<SquareSum>* squares) {
  std::map<std::string, SquareSum> layers;  // by what their experts read
  const auto key = [&](size_t i) { return inputs[i].value + " " + inputs[i].routing; };
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].IsExpert()) continue;
    SquareSum& layer = layers.emplace(key(i), inputs[i].cols).first->second;
    layer.rows += (*squares)[i].rows;
    for (size_t c = 0; c < layer.sums.size(); ++c) layer.sums[c] += (*squares)[i].sums[c];
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].IsExpert()) continue;
    const SquareSum& layer = layers.at(key(i));
    (*squares)[i].rows += kBorrowedRows;
    for (size_t c = 0; c < layer.sums.size(); ++c) {
      (*squares)[i].sums[c] +=
          layer.sums[c] * static_cast<double>(kBorrowedRows) / static_cast<double>(layer.rows);
    }
  }
}

}  // namespace

TokenWindows WindowsOfText(const SourceModel& source, std::string_view text, size_t tokens,
                           size_t window, const std::string& where) {
  const std::vector<int32_t> ids = TokenizerOf(source)->Encode(text);
  const WindowShape shape = ShapeFor(source);
  const size_t added = shape.begin.size() + shape.middle.size();
  const size_t longest = LongestWindow(source);
  const size_t length =
      std::min({window == 0 ? kDefaultWindow : window, longest, ids.size() + added});
  if (length < std::min(longest, kShortestWindow) || length <= added) {
    throw Error(where + ": a text of " + std::to_string(ids.size()) +
                " tokens is too short to calibrate with");
  }
  const size_t own = length - added, context = shape.has_context ? own / 2 : 0;
  const size_t n = std::max<size_t>(1, std::min(tokens / length, ids.size() / own));
  TokenWindows windows{length, {}};
  for (size_t i = 0; i < n; ++i) {
    const size_t begin = n == 1 ? 0 : i * (ids.size() - own) / (n - 1);
    const auto at = ids.begin() + static_cast<long>(begin);
    const auto add = [&](auto first, auto last) {
      windows.ids.insert(windows.ids.end(), first, last);
    };
    add(shape.begin.begin(), shape.begin.end());
    add(at, at + static_cast<long>(context));
    add(shape.middle.begin(), shape.middle.end());
    add(at + static_cast<long>(context), at + static_cast<long>(own));
  }
  return windows;
}

TokenWindows ReadWindows(const SourceModel& source, const std::string& path, size_t tokens) {
  if (!path.ends_with(".npy")) {
    const std::vector<uint8_t> bytes = ReadWholeFile(InputFile(path), kMaxTextBytes);
    return WindowsOfText(source, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, tokens,
                         0, path);
  }
  const uint64_t longest = LongestWindow(source);
  IdMatrix matrix = ReadIdMatrix(path, VocabularyOf(source));
  if (matrix.cols > longest) {
    throw Error(path + ": windows of " + std::to_string(matrix.cols) + " tokens; " + source.path +
                " reads " + std::to_string(longest) + " at most");
  }
  const size_t n = std::clamp<size_t>(tokens / matrix.cols, 1, matrix.rows);
  matrix.ids.resize(n * matrix.cols);
  return {matrix.cols, std::move(matrix.ids)};
}

Moments MeasureMoments(StagedModel& model, size_t n_windows,
                       const std::function<void(double)>& progress) {
  Moments moments;
  const std::vector<StagedModel::Stage>& stages = model.stages();
  StagedModel::Rows rows = model.Embed(n_windows);
  for (size_t s = 0; s < stages.size(); ++s) {
    if (progress) progress(static_cast<double>(s) / static_cast<double>(stages.size()));
    std::vector<SquareSum> inputs;
    for (const StagedModel::Input& input : stages[s].inputs) inputs.emplace_back(input.cols);
    model.Load(s);
    model.Run(&rows, true, {}, [&](size_t input, const float* x, size_t stride, size_t n) {
      inputs[input].rows += n;
      std::vector<double>& sum = inputs[input].sums;
      const size_t tasks = (sum.size() + kColumnsPerTask - 1) / kColumnsPerTask;
      model.pool().Run(tasks, [&](size_t task, size_t) {
        const size_t begin = task * kColumnsPerTask;
        const size_t end = std::min(sum.size(), begin + kColumnsPerTask);
        for (size_t t = 0; t < n; ++t) {
          for (size_t c = begin; c < end; ++c) {
            sum[c] += static_cast<double>(x[t * stride + c]) * static_cast<double>(x[t * stride + c]);
          }
        }
      });
    });
    BorrowRows(stages[s].inputs, &inputs);
    for (size_t i = 0; i < inputs.size(); ++i) {
      std::vector<float> mean;
      for (const double sum : inputs[i].sums) {
        mean.push_back(static_cast<float>(sum / static_cast<double>(inputs[i].rows)));
      }
      for (const std::string& weight : stages[s].inputs[i].weights) {
        for (size_t c = 0; c < mean.size(); ++c) {
          if (std::isfinite(mean[c])) continue;
          throw Error("calibration: column " + std::to_string(c) + " of the input of " +
                      Quoted(weight) + " is not finite");
        }
        moments[weight] = mean;
      }
    }
  }
  return moments;
}

double SampleError(const SourceWeight& weight, DType type, const std::vector<float>& importance,
                   const float* scales) {
  const uint64_t cols = weight.shape[1];
  SampledRows sample = SampleRows(weight);
  for (uint64_t i = 0; scales && i < sample.n * cols; ++i) sample.rows[i] *= scales[i % cols];
  OwnedTensor encoded = AllocateTensor(weight.name, type, BlockOffset::kNone, {sample.n, cols});
  const MatrixView view = ViewOf(encoded.tensor);
  EncodeOptions options;
  options.table = DefaultTable(type);
  options.importance = importance.data();
  if (Info(type).has_table) WriteTable(options.table, encoded.memory.get());
  const uint64_t bad = EncodeTiles(view.layout, options, sample.rows.data(), sample.n,
                                   PlanesAt(view.layout, encoded.memory.get(), 0));
  if (bad != kEncoded) return std::numeric_limits<double>::infinity();
  std::vector<float> decoded(cols);
  double error = 0;
  for (uint64_t r = 0; r < sample.n; ++r) {
    DecodeRow(view, r, decoded.data());
    for (uint64_t c = 0; c < cols; ++c) {
      const double d = static_cast<double>(decoded[c]) - static_cast<double>(sample.rows[r * cols + c]);
      error += d * d * static_cast<double>(importance[c]);
    }
  }
  return error;
}

}  // namespace glint
