#pragma once
#include "simd/kernels.h"

// Every kernel once: X(field of KernelTable, function), and for those that exist per type of the KV
// cache Y(field, f32 function, f16 function, int8 function). The tables of all targets are made from
// this list, so a kernel that a target forgets is a link error.
#define GLINT_KERNELS(X, Y)                                \
  X(quantize_rows, QuantizeRows)                           \
  X(matmul_int8, MatmulInt8)                               \
  X(matmul_int4, MatmulInt4)                               \
  X(matmul_int4x, MatmulInt4x)                             \
  X(matmul_int4a, MatmulInt4a)                             \
  X(matmul_int3, MatmulInt3)                               \
  X(matmul_int6, MatmulInt6)                               \
  X(matmul_f32, MatmulF32)                                 \
  X(matmul_f16, MatmulF16)                                 \
  X(matmul_bf16, MatmulBF16)                               \
  X(layer_norm, LayerNorm)                                 \
  X(rms_norm, RmsNorm)                                     \
  X(add_scaled, AddScaled)                                 \
  X(multiply, Multiply)                                    \
  X(gelu_tanh, GeluTanh)                                   \
  X(silu, Silu)                                            \
  X(scale, Scale)                                          \
  X(softcap, Softcap)                                      \
  X(rope_neox, RopeNeox)                                   \
  X(rope_interleaved, RopeInterleaved)                     \
  Y(kv_store, KvStoreF32, KvStoreF16, KvStoreInt8)         \
  Y(attention_block, AttentionBlockF32, AttentionBlockF16, \
    AttentionBlockInt8)                                    \
  X(attention_combine, AttentionCombine)                   \
  X(dot_peak, DotPeak)                                     \
  X(read_sum, ReadSum)

namespace glint {

// The function type behind a pointer, or behind an array of pointers.
template <class T>
struct FunctionOf;
template <class F>
struct FunctionOf<F*> {
  using Type = F;
};
template <class F, size_t n>
struct FunctionOf<F* [n]> { using Type = F; };

}  // namespace glint

// Inside a target's namespace: declares every kernel, and defines kTable of them.
#define GLINT_DECLARE_(field, function) FunctionOf<decltype(KernelTable::field)>::Type function;
#define GLINT_DECLARE3_(field, f32, f16, int8)        \
  FunctionOf<decltype(KernelTable::field)>::Type f32; \
  FunctionOf<decltype(KernelTable::field)>::Type f16; \
  FunctionOf<decltype(KernelTable::field)>::Type int8;
#define GLINT_ROW_(field, function) .field = function,
#define GLINT_ROW3_(field, f32, f16, int8) .field = {f32, f16, int8},
#define GLINT_DEFINE_TABLE(name, features, biased) \
  GLINT_KERNELS(GLINT_DECLARE_, GLINT_DECLARE3_)   \
  extern const KernelTable kTable;                 \
  const KernelTable kTable = {                     \
      .isa = name,                                 \
      .requires_ = features,                       \
      .biased_codes = biased,                      \
      GLINT_KERNELS(GLINT_ROW_, GLINT_ROW3_)};
