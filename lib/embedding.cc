#include "lib/embedding.h"

#include <cmath>

#include "lib/error.h"
#include "lib/fp_mode.h"

namespace glint {
namespace {

void Normalize(std::vector<double>* values) {
  double sum = 0;
  for (const double value : *values) sum = std::fma(value, value, sum);
  if (sum == 0) return;
  const double length = std::sqrt(sum);
  for (double& value : *values) value /= length;
}

}  // namespace

Status Embed(Session& session, std::span<const int32_t> ids, const EmbeddingOptions& options,
             std::vector<float>* embedding) {
  const FpModeScope fp_mode;
  embedding->clear();
  if (session.output() != SessionOutput::kHidden) {
    throw Error(session.model().file().path() + ": an embedding needs a session of hidden states");
  }
  std::vector<double> values(session.model().hidden_size(), 0.0);
  const auto add = [&values](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t t = 0; t < n; ++t) {
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] += static_cast<double>(rows[t * stride + i]);
      }
    }
  };
  const bool is_mean = options.pooling == Pooling::kMean;
  const OutputSink sink(add);
  const Status status = session.Start(ids, is_mean ? &sink : nullptr);
  if (status != Status::kOk) return status;
  if (is_mean) {
    for (double& value : values) value /= static_cast<double>(ids.size());
  } else {
    values.assign(session.logits().begin(), session.logits().end());
  }
  if (options.normalize) Normalize(&values);
  embedding->reserve(values.size());
  for (const double value : values) embedding->push_back(static_cast<float>(value));
  return status;
}

}  // namespace glint
