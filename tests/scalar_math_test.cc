// The own functions of simd/scalar_math.h against libm, and the choice of kernels.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "simd/scalar_math.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "lib/error.h"
#include "simd/cpu.h"
#include "simd/cpu_info.h"
#include "simd/kernels.h"
#include "tests/system.h"

using namespace glint;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Error in units of the last place of the float nearest to `want`.
double UlpError(float got, double want) {
  const float nearest = static_cast<float>(want);
  const double ulp = std::nextafter(std::fabs(nearest), kInf) - std::fabs(nearest);
  return std::fabs(got - want) / ulp;
}

double Relative(double got, double want) {
  return want == 0 ? std::fabs(got) : std::fabs(got - want) / std::fabs(want);
}

}  // namespace

TEST_CASE("Exp is within 1 ulp of e^x") {
  double worst = 0;
  for (int i = -104000; i <= 88722; ++i) {
    const float x = static_cast<float>(i) * 0.001f;
    const double want = std::exp(static_cast<double>(x));
    worst = std::max(worst, UlpError(Exp(x), want));
  }
  MESSAGE("worst error of Exp in ulp: " << worst);
  CHECK(worst < 1.0);
}

TEST_CASE("Tanh is within 3 ulp of tanh x, also near 0") {
  double worst = 0;
  for (int i = -20000; i <= 20000; ++i) {
    for (const float x : {static_cast<float>(i) * 0.001f, static_cast<float>(i) * 1e-7f}) {
      worst = std::max(worst, UlpError(Tanh(x), std::tanh(static_cast<double>(x))));
    }
  }
  MESSAGE("worst error of Tanh in ulp: " << worst);
  CHECK(worst < 3.0);
  CHECK(Tanh(kInf) == 1.0f);
  CHECK(Tanh(-3e38f) == -1.0f);
  CHECK(Tanh(0.0f) == 0.0f);
  CHECK(std::signbit(Tanh(-0.0f)));
  for (const float tiny : {1e-30f, 1e-39f, -1e-45f}) CHECK(Tanh(tiny) == tiny);
  CHECK(std::isnan(Tanh(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("Exp at the extremes") {
  CHECK(Exp(0.0f) == 1.0f);
  CHECK(Exp(-0.0f) == 1.0f);
  CHECK(Exp(-kInf) == 0.0f);
  CHECK(Exp(kInf) == kInf);
  CHECK(Exp(-200.0f) == 0.0f);
  CHECK(Exp(-3e38f) == 0.0f);
  CHECK(Exp(89.0f) == kInf);
  CHECK(Exp(3e38f) == kInf);
  CHECK(Exp(88.72283f) < kInf);
  CHECK(Exp(88.72284f) == kInf);
  CHECK(Exp(-103.0f) > 0.0f);  // a denormal
  CHECK(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("ExpD, LogD, SinD, CosD against libm") {
  double exp_error = 0, log_error = 0, sin_error = 0;
  for (int i = -70000; i <= 70000; ++i) {
    const double x = i * 0.01;
    exp_error = std::max(exp_error, Relative(ExpD(x), std::exp(x)));
    const double y = std::exp(x * 0.9);
    log_error = std::max(log_error, Relative(LogD(y), std::log(y)));
    const double z = i * 14.2857;
    sin_error = std::max(sin_error, std::fabs(SinD(z) - std::sin(z)));
    sin_error = std::max(sin_error, std::fabs(CosD(z) - std::cos(z)));
    sin_error = std::max(sin_error, std::fabs(SinD(x * 0.01) - std::sin(x * 0.01)));
    sin_error = std::max(sin_error, std::fabs(CosD(x * 0.01) - std::cos(x * 0.01)));
  }
  for (int i = 1; i < 20000; ++i) {
    log_error = std::max(log_error, Relative(LogD(i * 1e-4), std::log(i * 1e-4)));
  }
  MESSAGE("worst errors: ExpD " << exp_error << ", LogD " << log_error << ", SinD " << sin_error);
  CHECK(exp_error < 1e-15);
  CHECK(log_error < 1e-15);
#if defined(_WIN32)
  CHECK(sin_error < 2e-15);  // mingw-w64's own sine, of the x87 unit, is that far off
#else
  CHECK(sin_error < 1e-15);
#endif
  CHECK(LogD(1.0) == 0.0);
  CHECK(SinD(0.0) == 0.0);
  CHECK(CosD(0.0) == 1.0);
  CHECK(ExpD(0.0) == 1.0);
  CHECK(ExpD(-1000.0) == 0.0);
  CHECK(std::isinf(ExpD(1000.0)));
}

TEST_CASE("GLINT_ISA forces a target, and says so where it cannot") {
  const uint32_t have = CpuFeatures();
  std::string best;
  for (const KernelTable* const* t = kKernelTables; *t; ++t) {
    const std::string isa = (*t)->isa;
    CAPTURE(isa);
    test::SetVariable("GLINT_ISA", isa);
    if (((*t)->requires_ & ~have) == 0) {
      if (best.empty()) best = isa;
      CHECK(&ChooseKernels() == *t);
      CHECK(std::string(ChooseKernels().isa) == isa);
    } else {
      CHECK_THROWS_WITH_AS(ChooseKernels(), doctest::Contains("that this CPU lacks"), Error);
    }
  }
  test::SetVariable("GLINT_ISA", "mmx");
  CHECK_THROWS_WITH_AS(ChooseKernels(), doctest::Contains("reference"), Error);
  CHECK_THROWS_WITH_AS(ChooseKernels(), doctest::Contains("mmx"), Error);
#if !defined(_WIN32)  // where an empty variable is none
  test::SetVariable("GLINT_ISA", "");
  CHECK_THROWS_AS(ChooseKernels(), Error);
#endif
  test::ClearVariable("GLINT_ISA");
  CHECK(std::string(ChooseKernels().isa) == best);
}

TEST_CASE("the CPU describes itself") {
  CHECK_FALSE(CpuModelName().empty());
  CHECK(CpuFeatureNames(kCpuAvx2 | kCpuI8mm) == std::vector<std::string>{"avx2", "i8mm"});
  const uint32_t have = CpuFeatures();
  if (have & kCpuAvx512) CHECK((have & kCpuAvx2) != 0);
  if (have & kCpuAvx512Vnni) CHECK((have & kCpuAvx512) != 0);
}
