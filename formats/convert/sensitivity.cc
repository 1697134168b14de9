#include "formats/convert/sensitivity.h"

#include <algorithm>

#include "formats/convert/run_throwing.h"

namespace glint {
namespace {

// From few bits to many. Others (floats, imports) stay as they are.
constexpr DType kLadder[] = {DType::kInt3, DType::kInt4, DType::kInt4x, DType::kInt6, DType::kInt8};
constexpr size_t kRungs = std::size(kLadder);
constexpr uint64_t kBandRows = 64;

size_t RungOf(DType type) {
  return static_cast<size_t>(std::find(kLadder, kLadder + kRungs, type) - kLadder);
}

// The matrix in f32, with what storing it in `type` does to it.
OwnedTensor Distorted(const SourceWeight& weight, DType type, const std::vector<float>& importance,
                      ThreadPool& pool) {
  const uint64_t rows = weight.shape[0], cols = weight.shape[1];
  OwnedTensor result = AllocateTensor(weight.name, DType::kF32, BlockOffset::kNone, weight.shape);
  const MatrixLayout out = ViewOf(result.tensor).layout;
  EncodeOptions options;
  options.table = DefaultTable(type);
  options.importance = importance.data();
  const FillTiles fill = FillFromRows(weight.read, options, weight.place);
  RunThrowing(pool, (rows + kBandRows - 1) / kBandRows, [&](size_t task, size_t) {
    const uint64_t row = task * kBandRows, n = std::min(kBandRows, rows - row);
    OwnedTensor band = AllocateTensor(weight.name, type, BlockOffset::kNone, {n, cols});
    const MatrixView view = ViewOf(band.tensor);
    if (Info(type).has_table) WriteTable(options.table, band.memory.get());
    fill(view.layout, row, n, PlanesAt(view.layout, band.memory.get(), 0));
    std::vector<float> decoded(n * cols);
    for (uint64_t r = 0; r < n; ++r) DecodeRow(view, r, decoded.data() + r * cols);
    EncodeTiles(out, {}, decoded.data(), n, PlanesAt(out, result.memory.get(), row / kTileRows));
  });
  return result;
}

double RelativeChange(const StagedModel::Rows& from, const StagedModel::Rows& to) {
  double change = 0, size = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    const double d = static_cast<double>(to[i]) - static_cast<double>(from[i]);
    change += d * d;
    size += static_cast<double>(from[i]) * static_cast<double>(from[i]);
  }
  return size > 0 ? change / size : 0;
}

}  // namespace

Sensitivities MeasureSensitivities(StagedModel& model, const SourceModel& source,
                                   const Moments& moments, const TypeOf& type_of, size_t n_windows,
                                   const std::function<void(double)>& progress) {
  const std::map<std::string, const SourceWeight*> weights = WeightsByName(source);
  const std::vector<StagedModel::Stage>& stages = model.stages();
  StagedModel::Rows plain = model.Embed(n_windows);
  std::vector<std::pair<std::string, StagedModel::Rows>> distorted;
  const double total = static_cast<double>(stages.size() * stages.size());
  for (size_t s = 0; s < stages.size(); ++s) {
    // Every stage has more copies to run than the one before.
    if (progress) progress(static_cast<double>(s * s) / total);
    model.Load(s);
    for (auto& [name, rows] : distorted) model.Run(&rows, true, {}, {});
    const bool is_last = s + 1 == stages.size();
    for (const StagedModel::Input& input : stages[s].inputs) {
      if (is_last && &input == &stages[s].inputs.back()) continue;  // the head
      if (input.IsExpert()) continue;
      for (const std::string& name : input.weights) {
        const SourceWeight& weight = *weights.at(name);
        const DType type = type_of(weight);
        if (RungOf(type) == kRungs || KeepsNumbers(weight, type)) continue;
        const OwnedTensor tensor = Distorted(weight, type, moments.at(name), model.pool());
        distorted.emplace_back(name, plain);
        model.Run(&distorted.back().second, true, {&tensor.tensor}, {});
      }
    }
    model.Run(&plain, true, {}, {});
  }
  Sensitivities result;
  for (const auto& [name, rows] : distorted) result[name] = RelativeChange(plain, rows);
  return result;
}

namespace {

// A matrix that may climb the ladder.
struct Climber {
  const SourceWeight* weight;
  size_t rung;                      // now
  std::vector<double> sensitivity;  // by rung; from the first on
  std::vector<double> bits;         // of the whole matrix, by rung
};

std::vector<double> BitsByRung(const SourceWeight& weight) {
  std::vector<double> bits;
  for (const DType type : kLadder) {
    MatrixLayout layout;
    ComputeLayout(type, BlockOffset::kNone, weight.shape[0], weight.shape[1], &layout);
    bits.push_back(8.0 * static_cast<double>(layout.bytes));
  }
  return bits;
}

}  // namespace

std::map<std::string, DType> SpendBits(const SourceModel& source, const Moments& moments,
                                       const Sensitivities& sensitivities, const TypeOf& type_of,
                                       double extra_bits, ThreadPool& pool) {
  std::vector<Climber> climbers;
  double budget = 0;
  for (const SourceWeight& weight : source.weights) {
    const auto known = sensitivities.find(weight.name);
    if (known == sensitivities.end()) continue;
    const size_t rung = RungOf(type_of(weight));
    climbers.push_back({&weight, rung, std::vector<double>(kRungs, known->second),
                        BitsByRung(weight)});
    budget += extra_bits * static_cast<double>(weight.shape[0] * weight.shape[1]);
  }
  RunThrowing(pool, climbers.size(), [&](size_t i, size_t) {
    Climber& climber = climbers[i];
    const std::vector<float>& importance = moments.at(climber.weight->name);
    const double base = SampleError(*climber.weight, kLadder[climber.rung], importance);
    for (size_t rung = climber.rung + 1; rung < kRungs && base > 0; ++rung) {
      climber.sensitivity[rung] *= SampleError(*climber.weight, kLadder[rung], importance) / base;
    }
  });
  for (;;) {
    Climber* best = nullptr;
    size_t best_rung = 0;
    double best_rate = 0;
    for (Climber& climber : climbers) {
      for (size_t rung = climber.rung + 1; rung < kRungs; ++rung) {
        const double cost = climber.bits[rung] - climber.bits[climber.rung];
        const double gain = climber.sensitivity[climber.rung] - climber.sensitivity[rung];
        if (cost > budget || !(gain > best_rate * cost)) continue;
        best = &climber;
        best_rung = rung;
        best_rate = gain / cost;
      }
    }
    if (!best) break;
    budget -= best->bits[best_rung] - best->bits[best->rung];
    best->rung = best_rung;
  }
  std::map<std::string, DType> better;
  for (const Climber& climber : climbers) {
    const DType type = kLadder[climber.rung];
    if (type != type_of(*climber.weight)) better[climber.weight->name] = type;
  }
  return better;
}

}  // namespace glint
