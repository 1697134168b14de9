// Models of a published shape with random weights: what a benchmark needs, made at the speed of the
// disk. Codes are random bits, which any integer type takes as they are; scales make the weights about
// as large as trained ones, so that no activation overflows.
#include <cmath>
#include <cstring>

#include "formats/architectures/architecture.h"
#include "formats/convert/convert.h"
#include "lib/error.h"
#include "lib/version.h"
#include "quant/f16.h"

namespace glint {
namespace {

// SplitMix64, started anew for each row of a tensor, so that threads do not matter.
class Random {
 public:
  Random(uint64_t seed, uint64_t tensor, uint64_t row)
      : state_(seed * 0x9E3779B97F4A7C15u + tensor * 0xBF58476D1CE4E5B9u + row) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// Weights of variance about 1 / cols keep activations at the size that they came in.
float WeightScale(uint64_t cols) { return 1.0f / std::sqrt(static_cast<float>(cols)); }

// Uniform weights in floats, encoded like any others.
FillTiles FillUniform(uint64_t seed, uint64_t tensor, uint64_t cols, const std::string& name) {
  return FillFromRows(
      [=](uint64_t row, uint64_t n, float* out) {
        const float scale = std::sqrt(3.0f) * WeightScale(cols);
        for (uint64_t i = 0; i < n; ++i) {
          Random random(seed, tensor, row + i);
          for (uint64_t c = 0; c < cols; ++c) {
            const auto uniform = static_cast<float>(static_cast<int32_t>(random.Next() >> 32));
            out[i * cols + c] = uniform * 0x1p-31f * scale;
          }
        }
      },
      {}, name);
}

// Integer codes: random bytes, and scales that make the standard deviation right.
FillTiles FillCodes(uint64_t seed, uint64_t tensor, DType type) {
  return [=](const MatrixLayout& layout, uint64_t row, uint64_t n_rows, TilePlanes planes) {
    const uint64_t tiles = (n_rows + kTileRows - 1) / kTileRows;
    for (uint64_t tile = 0; tile < tiles; ++tile) {
      Random random(seed, tensor, row / kTileRows + tile);
      uint8_t* codes = planes.codes + tile * layout.codes_tile;
      for (uint64_t i = 0; i < layout.codes_tile; i += 8) {
        const uint64_t bits = random.Next();
        std::memcpy(codes + i, &bits, 8);
      }
    }
    // A byte code has a standard deviation of 74, one of int6 of 18, a table entry one of about 34.
    const float deviation = type == DType::kInt8 ? 74.0f : type == DType::kInt6 ? 18.5f : 34.0f;
    const float scale = WeightScale(layout.cols) / deviation;
    const uint64_t scales = tiles * layout.blocks * kTileRows;
    if (type == DType::kInt8) {
      const uint16_t half = F32ToF16(scale);
      for (uint64_t i = 0; i < scales; ++i) std::memcpy(planes.block_scales + 2 * i, &half, 2);
    } else {
      for (uint64_t i = 0; i < scales; ++i) planes.block_scales[i] = static_cast<uint8_t>(64 + i % 8);
      for (uint64_t i = 0; i < tiles * kTileRows; ++i) planes.row_scales[i] = scale / 67.5f;
    }
  };
}

bool HasSimpleCodes(DType type) {
  return type == DType::kInt8 || type == DType::kInt6 || type == DType::kInt4 ||
         type == DType::kInt4x || type == DType::kInt3;
}

TensorJob VectorJob(const ImportTensor& tensor) {
  std::vector<float> values = tensor.values;
  // Norms scale by 1 and biases add 0.
  if (values.empty()) values.assign(tensor.shape[0], tensor.name.ends_with(".bias") ? 0.0f : 1.0f);
  TensorJob job{{tensor.name, DType::kF32, BlockOffset::kNone, tensor.shape, ""}};
  job.bytes.resize(values.size() * sizeof(float));
  std::memcpy(job.bytes.data(), values.data(), job.bytes.size());
  return job;
}

}  // namespace

void Synthesize(const SynthOptions& options) {
  const nlohmann::json hf_config = PublishedConfig(options.shape);
  const ImportPlan plan =
      FindArchitecture(hf_config, options.shape).plan(hf_config, nullptr, options.shape);
  // The published recipe: a tied vocabulary at 8 bits where the rest has 4.
  const DType vocabulary = HasSimpleCodes(options.type) ? DType::kInt8 : options.type;
  std::vector<TensorJob> jobs;
  std::vector<Tensor> metas;
  for (const ImportTensor& tensor : plan.tensors) {
    const bool is_vocabulary = tensor.role == ImportTensor::Role::kVocabulary;
    const bool is_small = tensor.role == ImportTensor::Role::kSmall;
    const DType type = is_small ? DType::kF32 : is_vocabulary ? vocabulary : options.type;
    TensorJob job{{tensor.name, type, BlockOffset::kNone, tensor.shape, tensor.tied_to}};
    if (tensor.role == ImportTensor::Role::kVector) {
      job = VectorJob(tensor);
    } else if (tensor.tied_to.empty()) {
      job.table = DefaultTable(type);
      job.fill = HasSimpleCodes(type)
                     ? FillCodes(options.seed, jobs.size(), type)
                     : FillUniform(options.seed, jobs.size(), tensor.shape[1], tensor.name);
    }
    metas.push_back({job.plan.name, job.plan.dtype, job.plan.offset, job.plan.shape});
    jobs.push_back(std::move(job));
  }
  ModelHeader header;
  *header.metadata = {{"name", options.shape + " (random weights)"}, {"source", "glint synth"},
                      {"licence", "none"},  {"recipe", Info(options.type).name},
                      {"created_by", kProgramName}, {"numerics", kNumerics}};
  *header.config = plan.config;
  *header.prompt = plan.prompt;
  header.graphs.push_back(plan.build(metas, options.shape));
  WriteModel(header, jobs, options.write);
}

}  // namespace glint
