#include "tests/plain_glm.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "quant/f16.h"
#include "tests/plain_config.h"

namespace glint::test {
namespace {

using nlohmann::json;
using Row = std::vector<double>;

double Gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

class Glm {
 public:
  Glm(const json& config, const TensorMap& tensors, std::span<const int32_t> ids,
      const PlainPrefix* prefix)
      : tensors_(tensors),
        ids_(ids),
        prefix_(prefix),
        dim_(config.at("hidden_size")),
        n_layers_(config.at("num_layers")),
        n_heads_(config.at("num_attention_heads")),
        head_dim_(dim_ / n_heads_),
        eps_(config.at("layernorm_epsilon")) {
    const auto at = [&](const char* key) {
      return std::find(ids.begin(), ids.end(), config.at(key).get<int32_t>());
    };
    const auto mask =
        at("gmask_token_id") != ids.end() ? at("gmask_token_id") : at("mask_token_id");
    const auto sop = at("bos_token_id");
    if (mask == ids.end() || sop == ids.end())
      throw std::runtime_error("plain_glm: no mask or sop");
    context_ = static_cast<size_t>(sop - ids.begin());
    mask_at_ = static_cast<size_t>(mask - ids.begin());
  }

  std::vector<double> Logits() {
    std::vector<Row> x;
    for (const int32_t id : ids_) {
      const float* row =
          Weight("transformer.word_embeddings.weight") + static_cast<size_t>(id) * dim_;
      x.emplace_back(row, row + dim_);
    }
    for (size_t layer = 0; layer < n_layers_; ++layer) Layer(layer, x);
    const char* head = tensors_.contains("lm_head.weight") ? "lm_head.weight"
                                                           : "transformer.word_embeddings.weight";
    std::vector<double> logits;
    for (const Row& row : x) {
      const Row out = Product(Norm(row, "transformer.final_layernorm"), head);
      logits.insert(logits.end(), out.begin(), out.end());
    }
    return logits;
  }

 private:
  const float* Weight(const std::string& name) const { return tensors_.at(name).values.data(); }

  Row Product(const Row& x, const std::string& weight) const {
    const PlainTensor& w = tensors_.at(weight);
    Row y(w.shape.at(0));
    for (size_t r = 0; r < y.size(); ++r) {
      for (size_t c = 0; c < x.size(); ++c) y[r] += x[c] * w.values[r * x.size() + c];
    }
    return y;
  }
  Row Linear(const Row& x, const std::string& name) const {
    Row y = Product(x, name + ".weight");
    for (size_t r = 0; r < y.size(); ++r) y[r] += Weight(name + ".bias")[r];
    return y;
  }
  Row Norm(const Row& x, const std::string& name) const {
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / static_cast<double>(dim_);
    for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(dim_);
    Row y(dim_);
    for (size_t i = 0; i < dim_; ++i) {
      y[i] = (x[i] - mean) / std::sqrt(variance + eps_) * Weight(name + ".weight")[i] +
             Weight(name + ".bias")[i];
    }
    return y;
  }

  // Turns pairs (i, i + n) of a half of a head, n = head_dim / 4. The published inv_freq are
  // halves.
  void Turn(double* half, size_t position) const {
    const size_t n = head_dim_ / 4;
    for (size_t i = 0; i < n; ++i) {
      const double exact = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(n));
      const double angle =
          static_cast<double>(position) * F16ToF32(F32ToF16(static_cast<float>(exact)));
      const double a = half[i], b = half[i + n];
      half[i] = a * std::cos(angle) - b * std::sin(angle);
      half[i + n] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
  void Place(double* head, size_t token) const {
    const bool in_context = token < context_;
    Turn(head, in_context ? token : mask_at_);
    Turn(head + head_dim_ / 2, in_context ? 0 : token - context_ + 1);
  }

  struct Entry {
    Row k, v;  // (n_heads, head_dim)
  };
  std::vector<Entry> Prefix(size_t layer) const {
    std::vector<Entry> entries;
    for (size_t e = 0; prefix_ && e < prefix_->length; ++e) {
      const float* row = prefix_->rows.data() + (e * n_layers_ + layer) * 2 * dim_;
      entries.push_back({{row, row + dim_}, {row + dim_, row + 2 * dim_}});
    }
    return entries;
  }

  Row Attend(const Row& q, const std::vector<Entry>& entries, size_t n_seen) const {
    Row out(dim_);
    for (size_t h = 0; h < dim_; h += head_dim_) {
      Row scores;
      double sum = 0;
      for (size_t e = 0; e < n_seen; ++e) {
        double dot = 0;
        for (size_t i = h; i < h + head_dim_; ++i) dot += q[i] * entries[e].k[i];
        scores.push_back(std::exp(dot / std::sqrt(static_cast<double>(head_dim_))));
        sum += scores.back();
      }
      for (size_t e = 0; e < n_seen; ++e) {
        for (size_t i = h; i < h + head_dim_; ++i) out[i] += scores[e] / sum * entries[e].v[i];
      }
    }
    return out;
  }

  void Layer(size_t layer, std::vector<Row>& x) const {
    const std::string name = "transformer.layers." + std::to_string(layer) + ".";
    const double alpha = std::sqrt(2.0 * 28);
    std::vector<Entry> entries = Prefix(layer);
    const size_t n_prefix = entries.size();
    std::vector<Row> queries, normed;
    for (size_t t = 0; t < x.size(); ++t) {
      normed.push_back(Norm(x[t], name + "input_layernorm"));
      const Row qkv = Linear(normed[t], name + "attention.query_key_value");
      Row parts[3];
      for (size_t h = 0; h < n_heads_; ++h) {
        for (size_t p = 0; p < 3; ++p) {
          const double* from = qkv.data() + (3 * h + p) * head_dim_;
          parts[p].insert(parts[p].end(), from, from + head_dim_);
          if (p < 2) Place(parts[p].data() + h * head_dim_, t);
        }
      }
      queries.push_back(parts[0]);
      entries.push_back({parts[1], parts[2]});
    }
    for (size_t t = 0; t < x.size(); ++t) {
      const size_t seen = n_prefix + (t < context_ ? context_ : t + 1);
      const Row a = Linear(Attend(queries[t], entries, seen), name + "attention.dense");
      for (size_t i = 0; i < dim_; ++i) x[t][i] = alpha * normed[t][i] + a[i];
      const Row f = Norm(x[t], name + "post_attention_layernorm");
      Row up = Linear(f, name + "mlp.dense_h_to_4h");
      for (double& v : up) v = Gelu(v);
      const Row down = Linear(up, name + "mlp.dense_4h_to_h");
      for (size_t i = 0; i < dim_; ++i) x[t][i] = alpha * f[i] + down[i];
    }
  }

  const TensorMap& tensors_;
  std::span<const int32_t> ids_;
  const PlainPrefix* prefix_;
  size_t dim_, n_layers_, n_heads_, head_dim_;
  double eps_;
  size_t context_ = 0, mask_at_ = 0;
};

}  // namespace

std::vector<double> PlainGlmLogits(const json& config, const TensorMap& tensors,
                                   std::span<const int32_t> ids, const PlainPrefix* prefix) {
  return Glm(config, tensors, ids, prefix).Logits();
}

}  // namespace glint::test
