#include "formats/architectures/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "formats/architectures/hf_options.h"
#include "formats/json.h"
#include "simd/scalar_math.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr double kTurn = 2 * std::numbers::pi;

// What a scaling works on: the frequencies as they would be without it, and its members.
struct Scaling {
  const Json& members;
  const Json& config;
  std::string where;
  double theta;
  uint64_t max_seq_len;
  std::vector<double> frequencies;  // (dim / 2)
  RopeForm* form;

  double Number(const char* key, double low) const {
    const double value = GetNumber(members, key, where);
    if (value >= low && std::isfinite(value)) return value;
    throw Error(where + ": " + Quoted(key) + ": expected at least " + std::to_string(low) +
                ", found " + std::to_string(value));
  }
  double NumberOr(const char* key, double fallback, double low) const {
    return HasOption(members, key) ? Number(key, low) : fallback;
  }
  double Factor() const { return Number("factor", 1); }
  // The context that the model was trained on before it was scaled. Phi-3 has it beside the object.
  uint64_t OriginalContext() const {
    constexpr const char* kKey = "original_max_position_embeddings";
    return UintOr(members, kKey, UintOr(config, kKey, max_seq_len, 1 << 24, where, 1), 1 << 24,
                  where, 1);
  }
};

void Plain(Scaling&) {}

// Position interpolation (Chen et al. 2023).
void Linear(Scaling& s) {
  const double factor = s.Factor();
  for (double& f : s.frequencies) f /= factor;
}

// Beyond the trained length the base grows with the context ("NTK-aware"): transformers,
// modeling_rope_utils.py, _compute_dynamic_ntk_parameters. The plan does it, which knows the
// context.
void DynamicNtk(Scaling& s) {
  s.form->dynamic_factor = s.Factor();
  s.form->original_context = s.OriginalContext();
}

// LLaMA 3.1: slow frequencies are divided, fast ones stay, those between are blended
// (modeling_rope_utils.py, _compute_llama3_parameters).
void Llama3(Scaling& s) {
  const double factor = s.Factor();
  const double low = s.Number("low_freq_factor", 0), high = s.Number("high_freq_factor", 0);
  const auto original = static_cast<double>(
      GetUint(s.members, "original_max_position_embeddings", 1, 1 << 24, s.where));
  if (low >= high) throw Error(s.where + ": expected 'low_freq_factor' below 'high_freq_factor'");
  for (double& f : s.frequencies) {
    const double turns = original * f / kTurn;  // within the original context
    const double blend = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    f = (1 - blend) * f / factor + blend * f;
  }
}

double YarnScale(double factor, double multiplier) {
  return factor <= 1 ? 1.0 : 0.1 * multiplier * LogD(factor) + 1.0;
}

// Peng et al. 2023 (YaRN), section 3.2 and eq. 22: frequencies that turn often in the original
// context stay, the others are divided, with a ramp over their index between
// (modeling_rope_utils.py, _compute_yarn_parameters).
void Yarn(Scaling& s) {
  const double factor = s.Factor();
  const double fast = s.NumberOr("beta_fast", 32, 0), slow = s.NumberOr("beta_slow", 1, 0);
  const auto dim = static_cast<double>(2 * s.frequencies.size());
  const auto original = static_cast<double>(s.OriginalContext());
  const auto index_of = [&](double turns) {
    return dim * LogD(original / (turns * kTurn)) / (2 * LogD(s.theta));
  };
  double low = index_of(fast), high = index_of(slow);
  if (BoolOr(s.members, "truncate", true, s.where)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < s.frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    s.frequencies[i] *= ramp / factor + (1 - ramp);
  }
  double scale = YarnScale(factor, 1);
  if (HasOption(s.members, "mscale") && HasOption(s.members, "mscale_all_dim")) {
    scale =
        YarnScale(factor, s.Number("mscale", 0)) / YarnScale(factor, s.Number("mscale_all_dim", 0));
  }
  s.form->scale = s.NumberOr("attention_factor", scale, 0);
}

std::vector<double> Divisors(const Scaling& s, const char* key) {
  std::vector<double> divisors;
  for (const Json& value : GetArray(s.members, key, s.where)) {
    if (!value.is_number() || !(value.get<double>() > 0)) {
      throw Error(s.where + ": " + Quoted(key) + ": expected numbers above 0, found " +
                  Quoted(value.dump()));
    }
    divisors.push_back(value.get<double>());
  }
  if (divisors.size() == s.frequencies.size()) return divisors;
  throw Error(s.where + ": " + Quoted(key) + ": expected " + std::to_string(s.frequencies.size()) +
              " numbers, found " + std::to_string(divisors.size()));
}

// Ding et al. 2024 (LongRoPE), as Phi-3 has it: divisors for each frequency, other ones beyond the
// original context (modeling_rope_utils.py, _compute_longrope_parameters).
void LongRope(Scaling& s) {
  const std::vector<double> near = Divisors(s, "short_factor"), far = Divisors(s, "long_factor");
  const uint64_t original = s.OriginalContext();
  const double factor =
      s.NumberOr("factor", static_cast<double>(s.max_seq_len) / static_cast<double>(original), 0);
  const double scale =
      factor <= 1 ? 1 : std::sqrt(1 + LogD(factor) / LogD(static_cast<double>(original)));
  s.form->scale = s.NumberOr("attention_factor", scale, 0);
  s.form->original_context = original;
  std::vector<double> both;
  for (const auto& divisors : {near, far}) {
    for (size_t i = 0; i < divisors.size(); ++i) both.push_back(s.frequencies[i] / divisors[i]);
  }
  s.frequencies = both;
}

// GGUF's form of LLaMA 3.1's scaling (tensor rope_freqs): not a type of Hugging Face's.
void ByDivisors(Scaling& s) {
  const std::vector<double> divisors = Divisors(s, "divisors");
  for (size_t i = 0; i < divisors.size(); ++i) s.frequencies[i] /= divisors[i];
}

constexpr struct {
  const char* type;
  void (*apply)(Scaling& scaling);
} kScalings[] = {
    {"default", Plain}, {"linear", Linear},     {"dynamic", DynamicNtk}, {"llama3", Llama3},
    {"yarn", Yarn},     {"longrope", LongRope}, {"su", LongRope},        {"divisors", ByDivisors},
};

double ReadTheta(const Json& object, double fallback, const std::string& where) {
  const double theta = NumberOr(object, "rope_theta", fallback, where);
  if (theta > 1 && std::isfinite(theta)) return theta;
  throw Error(where + ": 'rope_theta': expected more than 1, found " + std::to_string(theta));
}

std::vector<double> Frequencies(double base, uint64_t dim) {
  std::vector<double> frequencies(dim / 2);
  const double log_base = LogD(base);
  for (uint64_t i = 0; i < dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(dim);
    frequencies[i] = ExpD(-exponent * log_base);
  }
  return frequencies;
}

void Apply(const std::string& type, Scaling* scaling) {
  std::string known;
  for (const auto& row : kScalings) {
    if (type == row.type) return row.apply(*scaling);
    known += (known.empty() ? "" : ", ") + std::string(row.type);
  }
  throw Error(scaling->where + ": expected a known 'rope_type' (" + known + "), found " +
              Quoted(type));
}

}  // namespace

std::vector<float> RotaryFrequencies(double base, uint64_t dim) {
  const std::vector<double> frequencies = Frequencies(base, dim);
  return {frequencies.begin(), frequencies.end()};
}

RopeForm ReadRope(const Json& config, uint64_t dim, uint64_t max_seq_len,
                  const std::string& where) {
  RopeForm form;
  double theta = ReadTheta(config, 10000.0, where);
  std::vector<double> frequencies = Frequencies(theta, dim);
  // Later files have the base in an object together with the scaling.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!HasOption(config, key)) continue;
    const Json& members = GetObject(config, key, where);
    const std::string place = where + ": " + Quoted(key);
    theta = ReadTheta(members, theta, place);
    if (!HasOption(members, "rope_type") && !HasOption(members, "type")) {
      throw Error(place + ": expected a member 'rope_type'");
    }
    const std::string type =
        GetString(members, HasOption(members, "rope_type") ? "rope_type" : "type", place);
    Scaling scaling{members, config, place, theta, max_seq_len, Frequencies(theta, dim), &form};
    Apply(type, &scaling);
    frequencies = std::move(scaling.frequencies);
  }
  form.inv_freq.assign(frequencies.begin(), frequencies.end());
  return form;
}

}  // namespace glint
