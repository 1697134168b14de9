#include "formats/convert/convert.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "formats/convert/blas.h"
#include "formats/convert/calibration.h"
#include "formats/convert/gptq_run.h"
#include "formats/convert/sensitivity.h"
#include "formats/convert/source_model.h"
#include "formats/json.h"
#include "formats/output_file.h"
#include "lib/fp_mode.h"
#include "lib/low_rank.h"
#include "lib/system/file.h"
#include "lib/version.h"
#include "quant/fit_table.h"

namespace glint {
namespace {

using Role = ImportTensor::Role;

// Below this many parameters the vocabulary matrices weigh little and lose much: they get more bits.
constexpr uint64_t kSmallModel = 1'000'000'000;

// Below 8 bits.
bool IsLow(DType type) {
  return type == DType::kInt3 || type == DType::kInt4 || type == DType::kInt4x ||
         type == DType::kInt4a || type == DType::kInt6;
}

constexpr const char* kRecipeNames[] = {"fast", "balanced", "best"};

// What decides the type of each matrix. A tied vocabulary is stored once and read twice, so 8 bits for
// it are cheap; and where all is to have 8, a small model's logits are worth floats, which meet
// activations that are floats too.
class TypeRules {
 public:
  TypeRules(const ConvertOptions& options, const SourceModel& model) : options_(options) {
    uint64_t parameters = 0;
    for (const SourceWeight& weight : model.weights) {
      if (weight.native && !options.has_type) kept_.insert(weight.name);
      if (weight.shape.size() == 2) parameters += weight.shape[0] * weight.shape[1];
    }
    small_ = parameters < kSmallModel;
    vocabulary_int8_ = model.tied_vocabulary || small_;
  }

  // The user's own choice for this matrix, if there is one.
  const DType* Pattern(const SourceWeight& weight) const {
    for (const auto& [pattern, type] : options_.tensor_types) {
      if (Matches(pattern, weight.name)) return &type;
    }
    return nullptr;
  }
  DType For(const SourceWeight& weight) const {
    if (const DType* type = Pattern(weight)) return *type;
    if (const auto better = better_.find(weight.name); better != better_.end()) {
      return better->second;
    }
    if (weight.role == Role::kSmall) return DType::kF32;
    if (kept_.count(weight.name) != 0) return weight.stored;
    if (weight.role == Role::kVocabulary && IsLow(options_.type) && vocabulary_int8_) {
      return DType::kInt8;
    }
    if (weight.role == Role::kVocabulary && options_.type == DType::kInt8 && small_) {
      return DType::kF16;
    }
    return options_.type;
  }
  // Whether the type is the user's word, or the source's.
  bool IsFixed(const SourceWeight& weight) const {
    return Pattern(weight) || kept_.count(weight.name) != 0;
  }
  // From now on these matrices have these types, unless a pattern says otherwise.
  void Improve(std::map<std::string, DType> better) { better_ = std::move(better); }

 private:
  const ConvertOptions& options_;
  bool small_, vocabulary_int8_;
  std::set<std::string> kept_{};  // that stay as the source has them
  std::map<std::string, DType> better_{};
};

// How the matrices are stored, by number of elements: "int4" or "int4, int8".
std::string TypesOf(const std::vector<TensorJob>& jobs) {
  std::map<std::string, uint64_t> elements;
  for (const TensorJob& job : jobs) {
    const TensorPlan& plan = job.plan;
    if (plan.shape.size() != 2 || !plan.tied_to.empty()) continue;
    elements[Info(plan.dtype).name] += plan.shape[0] * plan.shape[1];
  }
  std::vector<std::pair<uint64_t, std::string>> order;
  for (const auto& [name, n] : elements) order.emplace_back(n, name);
  std::sort(order.rbegin(), order.rend());
  std::string types;
  for (const auto& [n, name] : order) types += (types.empty() ? "" : ", ") + name;
  return types;
}

// A conversion on its way: the source, what calibration has found, and the choice of types.
class Conversion {
 public:
  explicit Conversion(const ConvertOptions& options)
      : options_(options),
        source_(OpenSource(options.source, options.warn)),
        types_(options, source_) {
    for (const auto& [pattern, type] : options_.tensor_types) {
      const bool matches = std::any_of(
          source_.weights.begin(), source_.weights.end(), [&, &pattern = pattern](const auto& weight) {
            return weight.shape.size() == 2 && Matches(pattern, weight.name);
          });
      if (!matches && options_.warn) {
        options_.warn("--tensor-type " + pattern + "=" + Info(type).name + ": there is no such matrix");
      }
    }
  }

  // Returns the share of the whole that is done then.
  double Calibrate() {
    if (options_.recipe == Recipe::kFast) return 0;
    const bool best = options_.recipe == Recipe::kBest;
    if (best) {
      RequireGptq();
      experts_ = ExpertsOf(source_);
      if (!experts_.empty() && options_.warn) {
        options_.warn("the experts' matrices are encoded as recipe 'balanced' does it: a text tells too "
                      "little of each expert's inputs for more");
      }
    }
    const size_t wanted = TokensWanted(best);
    windows_ = ReadWindows(source_, options_.calibrate, wanted);
    if (windows_.ids.size() + windows_.length <= wanted && options_.warn) {
      options_.warn(options_.calibrate + ": has " + std::to_string(windows_.ids.size()) +
                    " tokens to calibrate with where " + std::to_string(wanted) +
                    " would serve better");
    }
    staged_ = std::make_unique<StagedModel>(source_, windows_, options_.write.threads);
    const TypeOf type_of = [this](const SourceWeight& weight) { return types_.For(weight); };
    const double measured = best ? kMeasured / 2 : kMeasured;
    const size_t enough = std::max<size_t>(1, kMomentTokens / windows_.length);
    moments_ = MeasureMoments(*staged_, enough, Progress(0, measured));
    FoldScales(&source_, type_of, &moments_, staged_->pool());
    if (!best) {
      staged_.reset();
      return measured;
    }
    const size_t windows = std::max<size_t>(1, kSensitivityTokens / windows_.length);
    Sensitivities sensitivities = MeasureSensitivities(
        *staged_, source_, moments_, type_of, windows, Progress(measured, kMeasured));
    for (const SourceWeight& weight : source_.weights) {
      if (types_.IsFixed(weight)) sensitivities.erase(weight.name);
    }
    types_.Improve(SpendBits(source_, moments_, sensitivities, type_of, options_.extra_bits,
                             staged_->pool()));
    gptq_ = std::make_unique<GptqRun>(
        source_, *staged_, type_of,
        [this](const SourceWeight& weight) { return OptionsFor(weight, types_.For(weight)); });
    return kMeasured;
  }

  void Write(double calibrated) {
    std::vector<TensorJob> jobs;
    for (const SourceWeight& weight : source_.weights) jobs.push_back(JobFor(weight));
    for (TensorJob& job : jobs) {
      if (job.plan.tied_to.empty()) continue;
      // A tied name has the type of the tensor it stands for.
      for (const TensorJob& other : jobs) {
        if (other.plan.name == job.plan.tied_to) job.plan.dtype = other.plan.dtype;
      }
    }
    for (const auto& [norm, scales] : source_.folded) {
      TensorJob job{{norm + kFoldedEnding, DType::kF32, BlockOffset::kNone, {scales.size()}, ""}};
      const auto* bytes = reinterpret_cast<const uint8_t*>(scales.data());
      job.bytes.assign(bytes, bytes + scales.size() * sizeof(float));
      jobs.push_back(std::move(job));
    }
    ModelHeader header = source_.header;
    Describe(jobs, header.metadata.get());
    header.graphs = source_.build(TensorMetas(jobs));
    WriteOptions write = options_.write;
    write.progress = Progress(calibrated, 1);
    WriteModel(header, std::move(jobs), write);
  }

 private:
  // The share of the work that calibration is, more or less.
  static constexpr double kMeasured = 0.5;
  // Means of squares are known well by then.
  static constexpr size_t kMomentTokens = 8192;
  // Tokens per input of a matrix that GPTQ is given unless the user says otherwise (docs/QUANT.md).
  static constexpr size_t kTokensPerInput = 2;
  // As many copies of them as there are matrices go through the model.
  static constexpr size_t kSensitivityTokens = 512;

  size_t TokensWanted(bool best) const {
    if (options_.calibrate_tokens != 0) return options_.calibrate_tokens;
    size_t wanted = kMomentTokens;
    for (const SourceWeight& weight : source_.weights) {
      if (best && weight.shape.size() == 2 && experts_.count(weight.name) == 0) {
        wanted = std::max<size_t>(wanted, kTokensPerInput * weight.shape[1]);
      }
    }
    return wanted;
  }

  std::function<void(double)> Progress(double begin, double end) const {
    if (!options_.write.progress) return {};
    return [this, begin, end](double share) {
      options_.write.progress(begin + share * (end - begin));
    };
  }

  // How a matrix is encoded: with what calibration knows of its inputs, and a table of its own.
  EncodeOptions OptionsFor(const SourceWeight& weight, DType type) const {
    EncodeOptions encode;
    encode.search = options_.search;
    const auto known = moments_.find(weight.name);
    if (known != moments_.end()) encode.importance = known->second.data();
    if (!Info(type).has_table) return encode;
    encode.table = DefaultTable(type);
    if (options_.search) {
      const SampledRows sample = SampleRows(weight);
      encode.table = FitTable(type, sample.rows.data(), sample.n, weight.shape[1], encode.importance);
    }
    return encode;
  }

  TensorJob JobFor(const SourceWeight& weight) {
    const DType type = types_.For(weight);
    TensorJob job{{weight.name, type, BlockOffset::kNone, weight.shape, weight.tied_to}};
    if (!weight.tied_to.empty()) return job;
    if (weight.role == Role::kVector) {
      job.plan.dtype = weight.stored;
      job.bytes = weight.bytes;
    } else if (KeepsNumbers(weight, type)) {
      job.plan.offset = weight.native->offset;
      job.table = weight.native->table;
      job.fill = weight.native->fill;
    } else if (gptq_ && gptq_->Handles(weight)) {
      job.prepare = [this](TensorJob& self) {
        const auto matrix = std::make_shared<OwnedTensor>(gptq_->Take(self.plan.name));
        const MatrixView view = ViewOf(matrix->tensor);
        if (Info(self.plan.dtype).has_table) {
          std::memcpy(self.table.data(), view.Table(), self.table.size());
        }
        self.fill = [matrix, copy = FillFromMatrix(view)](const MatrixLayout& layout, uint64_t row,
                                                          uint64_t n_rows, TilePlanes planes) {
          copy(layout, row, n_rows, planes);
        };
      };
    } else {
      job.prepare = [this, &weight, type](TensorJob& self) {
        const EncodeOptions encode = OptionsFor(weight, type);
        self.table = encode.table;
        self.fill = FillFromRows(weight.read, encode, weight.place);
      };
    }
    return job;
  }

  void Describe(const std::vector<TensorJob>& jobs, nlohmann::json* metadata) const {
    const bool fast = options_.recipe == Recipe::kFast;
    (*metadata)["recipe"] = TypesOf(jobs) + (fast ? "" : std::string("; ") + Name(options_.recipe));
    (*metadata)["created_by"] = kProgramName;
    metadata->erase("calibration");
    metadata->erase("blas");
    metadata->erase("folded");
    if (!source_.folded.empty() || !fast) (*metadata)["folded"] = source_.folded.size();
    if (fast) return;
    (*metadata)["calibration"] = std::to_string(windows_.n()) + " windows of " +
                                 std::to_string(windows_.length) + " tokens of " +
                                 options_.calibrate.substr(NameBegin(options_.calibrate));
    if (gptq_) (*metadata)["blas"] = BlasKernelName();
  }

  const ConvertOptions& options_;
  SourceModel source_;
  TypeRules types_;
  std::set<std::string> experts_;  // known to kBest
  TokenWindows windows_;
  std::unique_ptr<StagedModel> staged_;
  Moments moments_;
  std::unique_ptr<GptqRun> gptq_;
};

std::shared_ptr<const OutputMemory> ConvertInto(std::shared_ptr<OutputMemory> memory,
                                                ConvertOptions options) {
  options.write.output = options.source;
  options.write.memory = memory;
  Convert(options);
  return memory;
}

}  // namespace

const char* Name(Recipe recipe) { return kRecipeNames[static_cast<size_t>(recipe)]; }

bool ParseRecipe(std::string_view name, Recipe* recipe) {
  for (size_t i = 0; i < std::size(kRecipeNames); ++i) {
    if (name != kRecipeNames[i]) continue;
    *recipe = static_cast<Recipe>(i);
    return true;
  }
  return false;
}

bool Matches(const std::string& pattern, const std::string& text) {
  size_t p = 0, t = 0, star = std::string::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string::npos) {
      p = star + 1;  // let the last star take one character more
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

void Convert(const ConvertOptions& options) {
  const FpModeScope fp_mode;
  Conversion conversion(options);
  // Before a long calibration.
  if (!options.write.memory) CheckOutputPath(options.write.output, options.write.overwrite);
  conversion.Write(conversion.Calibrate());
}

std::shared_ptr<const OutputMemory> ConvertToMemory(const ConvertOptions& options) {
  return ConvertInto(std::make_shared<OutputMemory>(options.source), options);
}

std::shared_ptr<const OutputMemory> OutlineInMemory(const ConvertOptions& options) {
  ConvertOptions outline = options;
  outline.write.outline = true;
  return ConvertInto(
      std::make_shared<OutputMemory>(options.source, OutputMemory::Use::kOutline), outline);
}

}  // namespace glint
