// The C interface: samplers.
#include <cmath>

#include "lib/c_api/c_api.h"
#include "lib/sampler.h"

using namespace glint;
using namespace glint::c_api;

struct glint_sampler {
  Sampler sampler;
  size_t n_logits;
};

namespace glint::c_api {

SamplerOptions SamplerOptionsFrom(const glint_sampler_options* given) {
  const glint_sampler_options all =
      ReadStruct(given, glint_sampler_options_init(), "glint_sampler_options");
  // Written so that nan fails.
  if (!(all.temperature >= 0 && std::isfinite(all.temperature))) {
    ThrowArgument("temperature is " + std::to_string(all.temperature) + "; expected 0 or more");
  }
  if (!(all.top_p > 0 && all.top_p <= 1)) {
    ThrowArgument("top_p is " + std::to_string(all.top_p) + "; expected more than 0, at most 1");
  }
  if (!(all.repetition_penalty > 0 && std::isfinite(all.repetition_penalty))) {
    ThrowArgument("repetition_penalty is " + std::to_string(all.repetition_penalty) +
                  "; expected more than 0");
  }
  return {all.temperature, all.top_p, all.top_k, all.repetition_penalty, all.seed};
}

}  // namespace glint::c_api

namespace {

// No model has more; beyond it a count is a mistake.
constexpr size_t kMaxLogits = size_t{1} << 28;

}  // namespace

glint_status glint_sampler_create(const glint_sampler_options* options, size_t n_logits,
                                  glint_sampler** sampler, char* error, size_t error_size) {
  if (sampler) *sampler = nullptr;
  return Guard(GLINT_ERROR_INTERNAL, {error, error_size}, [&] {
    CheckNotNull(sampler, "sampler");
    if (n_logits == 0 || n_logits > kMaxLogits) {
      ThrowArgument("n_logits is " + std::to_string(n_logits) + "; expected 1 to " +
                    std::to_string(kMaxLogits));
    }
    const SamplerOptions all = SamplerOptionsFrom(options);
    *sampler = new glint_sampler{Sampler(all, n_logits), n_logits};
    return GLINT_OK;
  });
}

void glint_sampler_free(glint_sampler* sampler) {
  delete sampler;
}

glint_status glint_sampler_set_seed(glint_sampler* sampler, uint64_t seed) {
  if (!sampler) return GLINT_ERROR_ARGUMENT;
  sampler->sampler.SetSeed(seed);
  return GLINT_OK;
}

glint_status glint_sampler_sample(glint_sampler* sampler, const float* logits, size_t n_logits,
                                  const int32_t* history, size_t n_history, int32_t* id) {
  if (id) *id = -1;
  return Guard(GLINT_ERROR_INTERNAL, {}, [&] {
    CheckNotNull(sampler, "sampler");
    CheckNotNull(logits, "logits");
    CheckNotNull(id, "id");
    if (n_logits != sampler->n_logits) ThrowArgument("n_logits is not that of the sampler");
    for (size_t i = 0; i < n_logits; ++i) {
      if (!std::isfinite(logits[i])) return GLINT_NON_FINITE;
    }
    *id = sampler->sampler.Sample({logits, n_logits}, IdsArgument(history, n_history));
    return GLINT_OK;
  });
}
