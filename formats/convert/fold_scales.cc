// Activation-aware scaling of norms and the linears behind them.
#include <algorithm>
#include <cstring>
#include <set>

#include "formats/convert/calibration.h"
#include "formats/convert/run_throwing.h"
#include "lib/error.h"
#include "simd/scalar_math.h"

namespace glint {
namespace {

// alpha = step / kSteps. 1 scales a column by the size of its input.
constexpr size_t kSteps = 8;
// Columns whose inputs are hardly ever there would be scaled down to nothing, others up without end.
constexpr double kMostSpread = 1e4;

// A norm and what reads it.
struct Group {
  SourceWeight* norm;               // its weight
  SourceWeight* bias = nullptr;     // its bias, if it has one
  std::vector<SourceWeight*> matrices{};
};

std::map<std::string, SourceWeight*> ByName(SourceModel* source) {
  std::map<std::string, SourceWeight*> weights;
  for (SourceWeight& weight : source->weights) weights[weight.name] = &weight;
  return weights;
}

bool IsNorm(const Node& node) { return node.op == "layer_norm" || node.op == "rms_norm"; }

// How many inputs of nodes each name is.
using Uses = std::map<std::string, size_t>;

// Whether one node alone reads these contents.
bool IsOwn(const SourceModel& source, const SourceWeight& weight, const Uses& uses) {
  if (!weight.tied_to.empty() || uses.at(weight.name) != 1) return false;
  return std::none_of(source.weights.begin(), source.weights.end(),
                      [&](const SourceWeight& other) { return other.tied_to == weight.name; });
}

// Whether columns of this matrix may be scaled: it must be nobody else's, not integers already, and
// become some.
bool MayScale(const SourceModel& source, const SourceWeight& weight, const Uses& uses,
              const TypeOf& type_of) {
  if (!weight.read || weight.role != ImportTensor::Role::kMatrix) return false;
  if (Info(weight.stored).block > 1 || Info(type_of(weight)).block == 1) return false;
  return IsOwn(source, weight, uses);
}

std::vector<Group> FindGroups(SourceModel* source, const Moments& moments, const TypeOf& type_of) {
  const std::map<std::string, SourceWeight*> weights = ByName(source);
  std::vector<Tensor> metas;
  for (const SourceWeight& weight : source->weights) {
    metas.push_back({weight.name, weight.stored, BlockOffset::kNone, weight.shape});
  }
  std::vector<Group> groups;
  const std::vector<Graph> graphs = source->build(metas);
  Uses uses;
  for (const Graph& graph : graphs) {
    for (const Node& node : graph.nodes) {
      for (const std::string& input : node.inputs) ++uses[input];
    }
  }
  for (const Graph& graph : graphs) {
    for (const Node& norm : graph.nodes) {
      if (!IsNorm(norm)) continue;
      Group group{weights.at(norm.inputs[1])};
      if (norm.inputs.size() > 2) group.bias = weights.at(norm.inputs[2]);
      bool fits = graph.name == "main" && IsOwn(*source, *group.norm, uses) &&
                  (!group.bias || IsOwn(*source, *group.bias, uses));
      for (const std::string& output : graph.outputs) fits = fits && output != norm.outputs[0];
      for (const Node& reader : graph.nodes) {
        if (std::count(reader.inputs.begin(), reader.inputs.end(), norm.outputs[0]) == 0) continue;
        fits = fits && reader.op == "linear" && moments.count(reader.inputs[1]) != 0 &&
               MayScale(*source, *weights.at(reader.inputs[1]), uses, type_of);
        if (fits) group.matrices.push_back(weights.at(reader.inputs[1]));
      }
      if (fits && !group.matrices.empty()) groups.push_back(group);
    }
  }
  return groups;
}

// s of each column for one alpha: their geometric mean is 1, so that norms keep their size.
std::vector<float> ScalesFor(const std::vector<float>& moments, size_t step) {
  double mean = 0;
  for (const float m : moments) mean += m;
  mean /= static_cast<double>(moments.size());
  if (!(mean > 1e-30)) return std::vector<float>(moments.size(), 1.0f);
  std::vector<double> logs;
  double sum = 0;
  for (const float m : moments) {
    const double ratio = std::clamp(static_cast<double>(m) / mean, 1 / kMostSpread, kMostSpread);
    logs.push_back(LogD(ratio) * 0.5 * static_cast<double>(step) / kSteps);
    sum += logs.back();
  }
  std::vector<float> scales;
  for (const double log : logs) {
    scales.push_back(static_cast<float>(ExpD(log - sum / static_cast<double>(logs.size()))));
  }
  return scales;
}

// What the matrix loses, its columns scaled by s.
double ErrorOf(const SourceWeight& weight, DType type, const std::vector<float>& scales,
               const std::vector<float>& moments) {
  std::vector<float> importance(scales.size());
  for (size_t c = 0; c < scales.size(); ++c) {
    importance[c] = moments[c] / (scales[c] * scales[c]);
  }
  return SampleError(weight, type, importance, scales.data());
}

void DivideVector(SourceWeight* vector, const std::vector<float>& scales) {
  for (size_t c = 0; c < scales.size(); ++c) {
    float value;
    std::memcpy(&value, vector->bytes.data() + c * sizeof value, sizeof value);
    value /= scales[c];
    std::memcpy(vector->bytes.data() + c * sizeof value, &value, sizeof value);
  }
}

void ScaleColumns(SourceWeight* weight, const std::vector<float>& scales) {
  weight->read = [read = weight->read, scales](uint64_t row, uint64_t n, float* out) {
    read(row, n, out);
    for (uint64_t r = 0; r < n; ++r) {
      for (size_t c = 0; c < scales.size(); ++c) out[r * scales.size() + c] *= scales[c];
    }
  };
  weight->native.reset();
  weight->stored = DType::kF32;
}

}  // namespace

size_t FoldScales(SourceModel* source, const TypeOf& type_of, Moments* moments, ThreadPool& pool) {
  std::vector<Group> groups = FindGroups(source, *moments, type_of);
  std::vector<size_t> best(groups.size(), 0);
  RunThrowing(pool, groups.size(), [&](size_t g, size_t) {
    const Group& group = groups[g];
    double least = INFINITY;
    for (size_t step = 0; step <= kSteps; ++step) {
      double error = 0;
      for (const SourceWeight* weight : group.matrices) {
        const std::vector<float>& m = moments->at(weight->name);
        error += ErrorOf(*weight, type_of(*weight), ScalesFor(m, step), m);
      }
      if (error < least) {
        least = error;
        best[g] = step;
      }
    }
  });
  size_t scaled = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (best[g] == 0) continue;
    ++scaled;
    const std::vector<float> scales =
        ScalesFor(moments->at(groups[g].matrices[0]->name), best[g]);
    DivideVector(groups[g].norm, scales);
    std::vector<float>& all = source->folded[groups[g].norm->name];
    all.resize(scales.size(), 1.0f);
    for (size_t c = 0; c < scales.size(); ++c) all[c] *= scales[c];
    if (groups[g].bias) DivideVector(groups[g].bias, scales);
    for (SourceWeight* weight : groups[g].matrices) {
      ScaleColumns(weight, scales);
      std::vector<float>& m = moments->at(weight->name);
      for (size_t c = 0; c < m.size(); ++c) m[c] /= scales[c] * scales[c];
    }
  }
  return scaled;
}

}  // namespace glint
