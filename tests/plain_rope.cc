#include "tests/plain_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "tests/plain_config.h"

namespace glint::test {
namespace {

using nlohmann::json;

struct RopeSetting {
  double theta = 10000;
  size_t dim = 0;            // elements that turn
  double max_positions = 0;  // max_position_embeddings
  json scaling;              // rope_scaling; an empty object if there is none
  double original = 0;       // positions of the model before scaling; 0 if the config does not say
};

double Round(double value) {
  return static_cast<float>(value);
}

// base ** (2i / dim), the exponent rounded to f32 as the published code has it.
double Power(double base, size_t i, size_t dim) {
  return std::pow(base, Round(2.0 * static_cast<double>(i) / static_cast<double>(dim)));
}

std::vector<float> Frequencies(double base, size_t dim) {
  std::vector<float> inv_freq(dim / 2);
  for (size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = static_cast<float>(1.0 / Power(base, i, dim));
  }
  return inv_freq;
}

PlainRope Default(const RopeSetting& s, size_t) {
  return {.inv_freq = Frequencies(s.theta, s.dim)};
}

PlainRope Linear(const RopeSetting& s, size_t) {
  PlainRope rope{.inv_freq = Frequencies(s.theta, s.dim)};
  for (float& f : rope.inv_freq) f /= s.scaling.at("factor").get<float>();
  return rope;
}

// NTK: the base grows with the length, so that the lowest frequency stretches and the highest
// stays.
PlainRope Dynamic(const RopeSetting& s, size_t context) {
  const double factor = s.scaling.at("factor");
  const double length = std::max(static_cast<double>(context), s.max_positions);
  const double dim = static_cast<double>(s.dim);
  const double grown = factor * length / s.max_positions - (factor - 1);
  return {.inv_freq = Frequencies(s.theta * std::pow(grown, dim / (dim - 2)), s.dim)};
}

// LLaMA 3.1: long waves are stretched, short ones kept, those between blended.
PlainRope Llama3(const RopeSetting& s, size_t) {
  const double factor = s.scaling.at("factor"), low = s.scaling.at("low_freq_factor"),
               high = s.scaling.at("high_freq_factor");
  PlainRope rope{.inv_freq = Frequencies(s.theta, s.dim)};
  for (float& f : rope.inv_freq) {
    const double wave = 2 * std::numbers::pi / f;
    if (wave < s.original / high) continue;
    const double smooth = (s.original / wave - low) / (high - low);
    const bool longest = wave > s.original / low;
    f = static_cast<float>(longest ? f / factor : (1 - smooth) * f / factor + smooth * f);
  }
  return rope;
}

double YarnScale(double factor, double mscale = 1) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

// YaRN (arXiv 2309.00071). Pairs that turn more than beta_fast times within the original length
// stay, those that turn less than beta_slow times are stretched, a ramp between.
PlainRope Yarn(const RopeSetting& s, size_t) {
  const double factor = s.scaling.at("factor");
  const double original = s.original > 0 ? s.original : s.max_positions;
  const double dim = static_cast<double>(s.dim);
  const auto pair_of = [&](double turns) {
    return dim * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(s.theta));
  };
  double low = pair_of(Setting(s.scaling, "beta_fast", 32.0));
  double high = pair_of(Setting(s.scaling, "beta_slow", 1.0));
  if (Setting(s.scaling, "truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  PlainRope rope{.inv_freq = std::vector<float>(s.dim / 2)};
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = 1.0 / Power(s.theta, i, s.dim);
    rope.inv_freq[i] = static_cast<float>(f / factor * ramp + f * (1 - ramp));
  }
  rope.scale = YarnScale(factor);
  if (Has(s.scaling, "mscale") && Has(s.scaling, "mscale_all_dim")) {
    rope.scale =
        YarnScale(factor, s.scaling["mscale"]) / YarnScale(factor, s.scaling["mscale_all_dim"]);
  }
  rope.scale = Setting(s.scaling, "attention_factor", rope.scale);
  return rope;
}

// Phi-3: each frequency has its own factor, one list within the original length and one beyond it.
PlainRope LongRope(const RopeSetting& s, size_t context) {
  const double original = s.original > 0 ? s.original : s.max_positions;
  const double factor =
      s.original > 0 ? s.max_positions / s.original : Setting(s.scaling, "factor", 1.0);
  const bool beyond = static_cast<double>(context) > original;
  const json& factors = s.scaling.at(beyond ? "long_factor" : "short_factor");
  if (factors.size() != s.dim / 2) throw std::runtime_error("plain_rope: wrong number of factors");
  PlainRope rope{.inv_freq = std::vector<float>(s.dim / 2)};
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double by = factors[i].get<float>();
    rope.inv_freq[i] = static_cast<float>(1.0 / (by * Power(s.theta, i, s.dim)));
  }
  rope.scale = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
  rope.scale = Setting(s.scaling, "attention_factor", rope.scale);
  return rope;
}

using MakeRope = PlainRope (*)(const RopeSetting&, size_t context);
MakeRope FindRope(const std::string& name) {
  const struct {
    const char* name;
    MakeRope make;
  } kRopes[] = {{"default", Default}, {"linear", Linear}, {"dynamic", Dynamic},  {"llama3", Llama3},
                {"yarn", Yarn},       {"su", LongRope},   {"longrope", LongRope}};
  for (const auto& rope : kRopes) {
    if (name == rope.name) return rope.make;
  }
  throw std::runtime_error("plain_rope: no rope type '" + name + "'");
}

// ChatGLM2, 3 and GLM-4 turn the first half of each head, with the base times rope_ratio.
RopeSetting ChatGlmSetting(const json& config) {
  RopeSetting s;
  s.theta = 10000 * Setting(config, "rope_ratio", 1.0);
  s.dim = PlainHeadDim(config) / 2;
  s.scaling = json::object();
  return s;
}

RopeSetting SettingOf(const json& config) {
  const std::string type = ModelType(config);
  if (type == "chatglm") return ChatGlmSetting(config);
  RopeSetting s;
  // transformers 5 writes all of it into one member, the theta and the part that turns too.
  const bool v5 = Has(config, "rope_parameters");
  const json none = json::object(), &all = v5 ? config["rope_parameters"] : config;
  s.scaling = v5 ? all : Setting(config, "rope_scaling", none);
  s.theta = Setting(all, "rope_theta", 10000.0);
  const double part =
      Setting(all, "partial_rotary_factor", type == "glm" || type == "glm4" ? 0.5 : 1.0);
  s.dim = static_cast<size_t>(static_cast<double>(PlainHeadDim(config)) * part);
  s.max_positions = config.at("max_position_embeddings");
  // Phi-3 has it beside rope_scaling, the others within.
  s.original = Setting(config, "original_max_position_embeddings",
                       Setting(s.scaling, "original_max_position_embeddings", 0.0));
  return s;
}

}  // namespace

size_t PlainHeadDim(const json& config) {
  const std::string type = ModelType(config);
  if (type == "chatglm") return config.at("kv_channels");
  const size_t even =
      config.at("hidden_size").get<size_t>() / config.at("num_attention_heads").get<size_t>();
  const bool has_own = type == "qwen3" || type == "gemma2" || type == "glm" || type == "glm4";
  if (has_own) return config.at("head_dim");
  return Setting(config, "head_dim", even);
}

PlainRope PlainRopeOf(const json& config, size_t context) {
  const RopeSetting s = SettingOf(config);
  const std::string kind =
      Setting(s.scaling, "rope_type", Setting(s.scaling, "type", std::string("default")));
  PlainRope rope = FindRope(kind)(s, context);
  const std::string type = ModelType(config);
  rope.interleaved = type == "chatglm" || type == "glm" || type == "glm4";
  return rope;
}

void Rotate(const PlainRope& rope, size_t position, double* head) {
  const size_t n = rope.inv_freq.size();
  for (size_t i = 0; i < n; ++i) {
    const float angle = static_cast<float>(position) * rope.inv_freq[i];  // in f32, as published
    const double c = std::cos(static_cast<double>(angle)) * rope.scale;
    const double s = std::sin(static_cast<double>(angle)) * rope.scale;
    double& a = head[rope.interleaved ? 2 * i : i];
    double& b = head[rope.interleaved ? 2 * i + 1 : i + n];
    const double x = a, y = b;
    a = x * c - y * s;
    b = y * c + x * s;
  }
}

}  // namespace glint::test
