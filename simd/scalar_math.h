#pragma once

// Functions of one number for baseline code. Sums, products and reductions are exactly rounded
// operations in a fixed order, so the results are the same on every machine, unlike those of libm.
namespace glint {

// e^x with the bits that the kernels give (simd/float_math.h). Error below 1 ulp.
float Exp(float x);
// tanh(x) likewise. Error below 3 ulp.
float Tanh(float x);

// Within 1e-15 relative (SinD and CosD: absolute) of the true value; |x| < 1e6 for SinD and CosD.
// LogD wants a positive normal number.
double ExpD(double x);
double LogD(double x);
double SinD(double x);
double CosD(double x);

}  // namespace glint
