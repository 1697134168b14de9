#include "formats/convert/convert.h"

#include <algorithm>
#include <map>

#include "formats/convert/source_model.h"
#include "formats/json.h"
#include "lib/version.h"

namespace glint {
namespace {

using Role = ImportTensor::Role;

// Below this many parameters the vocabulary matrices weigh little and lose much: they stay at 8 bits.
constexpr uint64_t kSmallModel = 1'000'000'000;

bool IsInt4OrLess(DType type) {
  return type == DType::kInt3 || type == DType::kInt4 || type == DType::kInt4x ||
         type == DType::kInt4a;
}

// What decides the type of each matrix. A tied vocabulary is stored once and read twice, so 8 bits for
// it are cheap.
class TypeRules {
 public:
  TypeRules(const ConvertOptions& options, const SourceModel& model) : options_(options) {
    uint64_t parameters = 0;
    for (const SourceWeight& weight : model.weights) {
      if (weight.shape.size() == 2) parameters += weight.shape[0] * weight.shape[1];
    }
    vocabulary_int8_ = model.tied_vocabulary || parameters < kSmallModel;
  }

  DType For(const SourceWeight& weight) const {
    for (const auto& [pattern, type] : options_.tensor_types) {
      if (Matches(pattern, weight.name)) return type;
    }
    if (!options_.has_type && weight.native) return weight.stored;
    if (weight.role == Role::kVocabulary && IsInt4OrLess(options_.type) && vocabulary_int8_) {
      return DType::kInt8;
    }
    return options_.type;
  }

 private:
  const ConvertOptions& options_;
  bool vocabulary_int8_;
};

TensorJob JobFor(const SourceWeight& weight, DType type, bool search) {
  TensorJob job{{weight.name, type, BlockOffset::kNone, weight.shape, weight.tied_to}};
  if (!weight.tied_to.empty()) return job;
  if (weight.role == Role::kVector) {
    job.plan.dtype = weight.stored;
    job.bytes = weight.bytes;
  } else if (weight.native && type == weight.stored) {
    job.plan.offset = weight.native->offset;
    job.table = weight.native->table;
    job.fill = weight.native->fill;
  } else {
    EncodeOptions encode;
    encode.search = search;
    encode.table = job.table = DefaultTable(type);
    job.fill = FillFromRows(weight.read, encode, weight.place);
  }
  return job;
}

std::vector<TensorJob> JobsFor(const SourceModel& model, const ConvertOptions& options) {
  const TypeRules types(options, model);
  std::vector<TensorJob> jobs;
  for (const SourceWeight& weight : model.weights) {
    jobs.push_back(JobFor(weight, types.For(weight), options.search));
  }
  for (TensorJob& job : jobs) {
    if (job.plan.tied_to.empty()) continue;
    // A tied name has the type of the tensor it stands for.
    for (const TensorJob& other : jobs) {
      if (other.plan.name == job.plan.tied_to) job.plan.dtype = other.plan.dtype;
    }
  }
  return jobs;
}

// How the matrices are stored, by bytes: "int4" or "int4, int8".
std::string RecipeOf(const std::vector<TensorJob>& jobs) {
  std::map<std::string, uint64_t> elements;
  for (const TensorJob& job : jobs) {
    const TensorPlan& plan = job.plan;
    if (plan.shape.size() != 2 || !plan.tied_to.empty()) continue;
    elements[Info(plan.dtype).name] += plan.shape[0] * plan.shape[1];
  }
  std::vector<std::pair<uint64_t, std::string>> order;
  for (const auto& [name, n] : elements) order.emplace_back(n, name);
  std::sort(order.rbegin(), order.rend());
  std::string recipe;
  for (const auto& [n, name] : order) recipe += (recipe.empty() ? "" : ", ") + name;
  return recipe;
}

}  // namespace

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
  const SourceModel model = OpenSource(options.source, options.warn);
  std::vector<TensorJob> jobs = JobsFor(model, options);
  ModelHeader header = model.header;
  (*header.metadata)["recipe"] = RecipeOf(jobs);
  (*header.metadata)["created_by"] = kProgramName;
  header.graphs = model.build(TensorMetas(jobs));
  WriteModel(header, std::move(jobs), options.write);
}

}  // namespace glint
