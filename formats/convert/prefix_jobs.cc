// THUDM's P-Tuning v2 prefixes (modeling_chatglm.py of THUDM/chatglm-6b, chatglm2-6b, chatglm3-6b:
// class PrefixEncoder and ChatGLMModel.get_prompt). The encoder gives for each of its entries a row
// of layers * 2 * kv_heads * head_dim numbers: layer 0's key, its value, layer 1's key, and so on,
// each as the attention has it after the rotation. With prefix_projection the row is
// trans.2(tanh(trans.0(row of embedding))), which is computed here, once.
#include <cmath>
#include <map>
#include <set>

#include "formats/architectures/architecture.h"
#include "formats/architectures/hf_options.h"
#include "formats/convert/adapter_jobs.h"
#include "formats/convert/run_throwing.h"
#include "formats/json.h"
#include "lib/error.h"
#include "quant/encode.h"
#include "simd/scalar_math.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// 2 GiB of floats; the published prefixes have a twentieth of it.
constexpr uint64_t kMaxElements = uint64_t{1} << 29;

// A matrix of the checkpoint in floats.
struct Matrix {
  const SourceTensor* tensor = nullptr;
  uint64_t rows = 0, cols = 0;
};

class PrefixEncoder {
 public:
  PrefixEncoder(const Checkpoint& checkpoint, bool projects) : checkpoint_(checkpoint) {
    embedding_ = Find("embedding");
    if (projects) {
      first_ = Find("trans.0");
      second_ = Find("trans.2");
      Expect(*first_.tensor, {first_.rows, embedding_.cols});
      Expect(*second_.tensor, {second_.rows, first_.rows});
    }
    for (const SourceTensor& tensor : checkpoint.tensors()) {
      if (used_.count(tensor.name) != 0) continue;
      throw Error(checkpoint.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                  " is not part of a prefix" + (projects ? "" : " without prefix_projection"));
    }
  }

  uint64_t length() const { return embedding_.rows; }
  uint64_t width() const { return second_.tensor ? second_.rows : embedding_.cols; }
  const SourceTensor& embedding() const { return *embedding_.tensor; }

  // (length, width)
  std::vector<float> Rows(size_t threads) const {
    std::vector<float> rows = Read(embedding_, 0, embedding_.rows);
    if (!second_.tensor) return rows;
    ThreadPool pool(threads == 0 ? DefaultThreads() : threads);
    rows = Linear(first_, "trans.0", rows, pool);
    for (float& value : rows) value = Tanh(value);
    return Linear(second_, "trans.2", rows, pool);
  }

 private:
  void Expect(const SourceTensor& tensor, const std::vector<uint64_t>& shape) const {
    if (tensor.shape == shape) return;
    throw Error(checkpoint_.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                ": expected shape " + ShapeText(shape) + ", found " + ShapeText(tensor.shape));
  }
  const SourceTensor& FindTensor(const std::string& name) {
    const SourceTensor* tensor = checkpoint_.Find(name);
    if (!tensor) throw Error(checkpoint_.path() + ": tensor " + Quoted(name) + " is missing");
    used_.insert(name);
    AdapterType(checkpoint_, *tensor, {});
    return *tensor;
  }
  Matrix Find(const std::string& word) {
    const SourceTensor& tensor = FindTensor(kPrefixEncoder + word + ".weight");
    if (tensor.shape.size() != 2 || tensor.elements == 0) {
      throw Error(checkpoint_.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                  ": expected a matrix, found shape " + ShapeText(tensor.shape));
    }
    if (word != "embedding") {
      Expect(FindTensor(kPrefixEncoder + word + ".bias"), {tensor.shape[0]});
    }
    return {&tensor, tensor.shape[0], tensor.shape[1]};
  }
  std::vector<float> Read(const Matrix& matrix, uint64_t row, uint64_t n) const {
    std::vector<float> rows(n * matrix.cols);
    checkpoint_.ReadF32(*matrix.tensor, row * matrix.cols, rows.size(), rows.data());
    return rows;
  }

  // x (length, cols) -> (length, rows): sums in double, rounded once.
  std::vector<float> Linear(const Matrix& matrix, const std::string& word,
                            const std::vector<float>& x, ThreadPool& pool) const {
    const SourceTensor& bias_tensor = *checkpoint_.Find(kPrefixEncoder + word + ".bias");
    std::vector<float> bias(matrix.rows);
    checkpoint_.ReadF32(bias_tensor, 0, bias.size(), bias.data());
    std::vector<float> y(length() * matrix.rows);
    constexpr uint64_t kBand = 16;
    RunThrowing(pool, (matrix.rows + kBand - 1) / kBand, [&](size_t task, size_t) {
      const uint64_t begin = task * kBand, n = std::min(kBand, matrix.rows - begin);
      const std::vector<float> w = Read(matrix, begin, n);
      for (uint64_t t = 0; t < length(); ++t) {
        for (uint64_t r = 0; r < n; ++r) {
          const double sum =
              Dot(x.data() + t * matrix.cols, w.data() + r * matrix.cols, matrix.cols);
          y[t * matrix.rows + begin + r] =
              static_cast<float>(sum + static_cast<double>(bias[begin + r]));
        }
      }
    });
    return y;
  }
  // In 8 partial sums, so that the compiler can use vectors; always the same ones.
  static double Dot(const float* a, const float* b, uint64_t n) {
    double sums[8] = {};
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      for (uint64_t j = 0; j < 8; ++j) {
        sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
      }
    }
    for (; i < n; ++i) sums[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    double sum = 0;
    for (const double part : sums) sum += part;
    return sum;
  }

  const Checkpoint& checkpoint_;
  Matrix embedding_, first_, second_;
  std::set<std::string> used_;
};

// The configuration of the base as ours would have it.
Json BaseConfig(const Checkpoint& checkpoint, const std::string& where) {
  Json config = checkpoint.config();
  config.erase("pre_seq_len");
  return FindArchitecture(config, checkpoint.path()).plan(config, nullptr, where).config;
}

TensorJob VectorJob(const std::string& name, DType type, const std::vector<float>& values,
                    const std::string& place) {
  TensorJob job{{name, type, BlockOffset::kNone, {values.size()}, ""}};
  uint64_t bytes = 0;
  TensorBytes(type, BlockOffset::kNone, {values.size()}, &bytes);
  job.bytes.resize(bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(place + ": element " + std::to_string(i) + " of " + Quoted(name) +
                " is not finite");
  }
  const uint64_t bad = EncodeVector(type, values.data(), values.size(), job.bytes.data());
  if (bad == kEncoded) return job;
  throw Error(place + ": element " + std::to_string(bad) + " of " + Quoted(name) +
              " cannot be stored as " + Info(type).name);
}

}  // namespace

AdapterJobs PrefixJobs(const AdapterConvertOptions& options) {
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::Open(options.source);
  const std::string where = checkpoint->path() + ": config.json";
  const Json& hf_config = checkpoint->config();
  const PrefixEncoder encoder(*checkpoint, BoolOr(hf_config, "prefix_projection", false, where));
  AdapterJobs made;
  made.header = AdapterHeader("prefix", options.source, BaseConfig(*checkpoint, where));
  Json& config = *made.header.config;
  const auto of = [&](const char* key) { return GetUint(config, key, 1, 1 << 22, where); };
  const uint64_t n_layers = of("n_layers"), part = of("n_kv_heads") * of("head_dim");
  const uint64_t length = GetUint(hf_config, "pre_seq_len", 1, 1 << 20, where);
  const std::string place =
      checkpoint->FileName(encoder.embedding()) + ": tensors " + kPrefixEncoder + "*";
  if (encoder.length() != length || encoder.width() != n_layers * 2 * part ||
      encoder.width() > kMaxElements / length) {
    throw Error(place + ": expected a prefix of " + std::to_string(length) +
                " entries (pre_seq_len) of " + std::to_string(n_layers) + " layers * 2 * " +
                std::to_string(part) + " = " + std::to_string(n_layers * 2 * part) +
                " numbers, found " + std::to_string(encoder.length()) + " of " +
                std::to_string(encoder.width()));
  }
  config["prefix_length"] = length;
  const std::vector<float> rows = encoder.Rows(options.write.threads);
  const DType type = AdapterType(*checkpoint, encoder.embedding(), options.type);
  for (uint64_t layer = 0; layer < n_layers; ++layer) {
    for (uint64_t half = 0; half < 2; ++half) {
      std::vector<float> values(length * part);
      for (uint64_t i = 0; i < length; ++i) {
        const float* from = rows.data() + i * encoder.width() + (2 * layer + half) * part;
        std::copy(from, from + part, values.begin() + static_cast<ptrdiff_t>(i * part));
      }
      made.jobs.push_back(
          VectorJob("prefix." + std::to_string(layer) + (half == 0 ? ".keys" : ".values"), type,
                    values, place));
    }
  }
  made.owner = checkpoint;
  return made;
}

}  // namespace glint
