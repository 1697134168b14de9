#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/layout.h"

// Every kernel's contract. Read this first. A kernel is pure: pointers and sizes in, no state, no
// allocation, no threads. All targets give the same bits: integer dots are exact, and each float
// result is a fixed sequence of correctly rounded operations (mul, add, fma, div, sqrt, rint, the
// conversions) in the order written here and in docs/KERNELS.md ("numerics 1"). simd/reference/ is
// that order in plain loops.
namespace glint {

// Tokens that the packed activations group together; the widest register tile of any target.
inline constexpr size_t kPanelTokens = 4;
// From so many tokens on, a matmul unpacks its weights once for all of them.
inline constexpr size_t kManyTokens = 2 * kPanelTokens + 1;
// Columns that share an activation scale: two blocks of int4 weights.
inline constexpr size_t kActivationBlock = 64;
// Columns whose activation codes are summed up for the weights' offsets.
inline constexpr size_t kSumColumns = 16;
inline constexpr size_t kBlockSums = kActivationBlock / kSumColumns;
// Keys per block of attention, at absolute cache index; a multiple of kKeyTile.
inline constexpr size_t kKeyBlock = 256;
// Keys that attention converts to f32 at a time.
inline constexpr size_t kKeyTile = 64;
// Queries that one call of attention_block takes at most.
inline constexpr size_t kMaxQueries = 96;

// m rows of k f32 as signed bytes. k is padded with zeros to a multiple of 64; blocks = padded_k
// / 64. Token t belongs to panel t / 4; a panel of p tokens (4, or fewer in the last) is
//   codes  + 4 * panel * padded_k:    int8  [blocks][p][64]
//   scales + 4 * panel * blocks:      f32   [blocks][p]
//   sums   + 4 * panel * blocks * 4:  int16 [blocks][p][4]   of the codes of 16 columns each
// Where x86 multiplies unsigned by signed bytes, the codes of many tokens are "biased": 128 is added
// to each (the padding too; the sums are those without it). See BiasedCodes.
struct QuantizedRows {
  int8_t* codes;
  float* scales;
  int16_t* sums;
};

enum class KvType : uint8_t { kF32, kF16, kInt8 };
inline constexpr size_t kKvTypeCount = 3;

// One head's part of one block of kKeyBlock positions of the KV cache. Keys are interleaved 16
// positions at a time; values are rows. Int8 keys hold quads of columns, as int8 weights do, and
// head_dim is padded with zeros; a code times the scale of its position is the number.
struct KvBlock {
  void* keys;           // (kKeyBlock / 16, head_dim, 16); int8: (.. / 16, head_dim / 4, 16, 4)
  void* values;         // (kKeyBlock, value_stride elements)
  size_t value_stride;  // in elements
  float* key_scales = nullptr;    // (kKeyBlock), int8 only
  float* value_scales = nullptr;  // (kKeyBlock), int8 only
};

struct AttentionQuery {
  const float* q;      // (head_dim), rotated, not scaled
  int32_t begin, end;  // the cache indices that it sees, maybe none
};

// Attention of some queries over one block of keys that they share.
struct AttentionBlock {
  const AttentionQuery* queries;
  size_t n_queries;  // at most kMaxQueries
  size_t head_dim;
  KvBlock kv;
  size_t key_begin;  // cache index of the block's first key; a multiple of kKeyBlock
  float scale;       // of the scores, most often 1 / sqrt(head_dim)
  // State of query i over the blocks so far: its maximum score, sum of exp(score - maximum), and
  // the sum of those times values (head_dim, at out + i * out_stride). A query that has seen no key
  // has -inf, -0, and -0s.
  float* maximum;
  float* sum;
  float* out;
  size_t out_stride;
  float* scratch;  // AttentionScratch(n_queries, head_dim) floats, 64-byte aligned
  float softcap = 0;  // scores become softcap * tanh(score / softcap); 0: they stay as they are
};

// Floats of scratch memory: a tile of keys or values, the queries, their scores and outputs, and
// their weights as 16-bit codes.
constexpr size_t AttentionScratch(size_t n_queries, size_t head_dim) {
  const size_t padded = (head_dim + 15) / 16 * 16;
  return kKeyTile * padded + n_queries * (2 * padded + kKeyBlock + kKeyBlock / 2);
}

// One set of kernels, all compiled for one target. Plain data; every pointer is set in every table.
struct KernelTable {
  const char* isa;     // "reference", "avx2", ...
  uint32_t requires_;  // CpuFeature bits (simd/cpu.h)
  // By DType of the weights: whether a matmul of kManyTokens or more wants biased codes.
  const bool* biased_codes;  // (kDTypeCount)

  // Activations of panels [panel_begin, panel_end) to bytes, per token and block of 64 columns:
  //   a = max |x|; scale = a / 127; code = rint(x * (127 / a)), halves to even.
  // All 0 where 127 / a overflows: a is 0 or so small (below 3.8e-37) that it counts as 0.
  // A block with inf or nan gets scale nan and codes 0, so that the result is nan, and is reported.
  // Token t is the k floats at x + t * x_stride.
  void (*quantize_rows)(const float* x, size_t x_stride, size_t m, size_t k, bool biased,
                        QuantizedRows out, size_t panel_begin, size_t panel_end);

  // y[t][r] = sum over columns of w[r][c] * x[t][c] + bias[r], for the rows of tiles
  // [tile_begin, tile_end) (never beyond layout.rows) and all m tokens; y + t * y_stride. bias may
  // be null. x is biased where BiasedCodes() says so.
  // Per block of 64 columns of x, in order, with d = exact integer dots of the weights' blocks:
  //   int4   D = sum of d[b] * scale[b], an exact int32 (two blocks of 32 columns)
  //   int4x, int3, int6  the same (four blocks of 16 columns)
  //          acc = fma(f32(D), x_scale, acc);                     y = fma(acc, row_scale, bias)
  //   int8   s = fma(f32(d[b]), f32(scale[b]), s) from 0, b in order (two blocks of 32 columns)
  //          acc = fma(s, x_scale, acc);                          y = acc + bias
  //   int4a  as int8; with offsets, n[b] = sum of the block's x codes:
  //          zero: d[b] is dot(table code - zero, x), exact;
  //          min:  then also s = fma(f32(n[b]), f32(min[b]), s)
  // (bias is 0 where null; at the end of a row the block of x may have half of its columns.)
  void (*matmul_int8)(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                      size_t y_stride, size_t tile_begin, size_t tile_end);
  void (*matmul_int4)(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                      size_t y_stride, size_t tile_begin, size_t tile_end);
  void (*matmul_int4x)(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                       size_t y_stride, size_t tile_begin, size_t tile_end);
  void (*matmul_int4a)(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                       size_t y_stride, size_t tile_begin, size_t tile_end);
  void (*matmul_int3)(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                      size_t y_stride, size_t tile_begin, size_t tile_end);
  void (*matmul_int6)(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                      size_t y_stride, size_t tile_begin, size_t tile_end);

  // The same for f32, f16, bf16 weights and f32 activations: acc = fma(w, x, acc) column by column
  // from 0, then y = acc + bias.
  void (*matmul_f32)(const MatrixView& w, const float* x, size_t x_stride, size_t m,
                     const float* bias, float* y, size_t y_stride, size_t tile_begin,
                     size_t tile_end);
  void (*matmul_f16)(const MatrixView& w, const float* x, size_t x_stride, size_t m,
                     const float* bias, float* y, size_t y_stride, size_t tile_begin,
                     size_t tile_end);
  void (*matmul_bf16)(const MatrixView& w, const float* x, size_t x_stride, size_t m,
                      const float* bias, float* y, size_t y_stride, size_t tile_begin,
                      size_t tile_end);

  // y[i] = (x[i] - mean) / sqrt(variance + eps) * weight[i] + bias[i], i < n (Ba et al. 2016, eq.
  // 4). Sums: element i goes to partial sum i mod 16 in order, then the 16 fold in halves (j with j
  // + 8, j + 4, j + 2, j + 1). mean = sum / n; variance = sum of fma(d, d, .) / n with d = x -
  // mean; r = 1 / sqrt(variance + eps); y = fma(d * r, weight, bias). x and y may be the same
  // array.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float* y, size_t n,
                     float eps);

  // y[i] = x[i] / sqrt(mean of squares + eps) * weight[i], i < n (Zhang and Sennrich 2019, eq. 4).
  // The sum of fma(x, x, .) has 16 partial sums as in layer_norm; r = 1 / sqrt(sum / n + eps);
  // y = (x * r) * weight. x and y may be the same array.
  void (*rms_norm)(const float* x, const float* weight, float* y, size_t n, float eps);

  // y[i] = fma(alpha, a[i], b[i]). y may be a or b.
  void (*add_scaled)(const float* a, const float* b, float alpha, float* y, size_t n);

  // y[i] = a[i] * b[i]. y may be a or b.
  void (*multiply)(const float* a, const float* b, float* y, size_t n);

  // y = x / (1 + exp(-2u)), u = sqrt(2/pi) * (x + 0.044715 x^3): the tanh form of GELU (Hendrycks
  // and Gimpel 2016). x and y may be the same array.
  void (*gelu_tanh)(const float* x, float* y, size_t n);

  // y = x / (1 + exp(-x)): SiLU, or Swish of beta 1 (Ramachandran et al. 2017). x and y may be the
  // same array.
  void (*silu)(const float* x, float* y, size_t n);

  // y[i] = factor * x[i]. x and y may be the same array.
  void (*scale)(const float* x, float factor, float* y, size_t n);

  // y[i] = cap * tanh(x[i] / cap), cap > 0 (Gemma Team 2024, Gemma 2, section 2). tanh(v) has the
  // sign of v and the size of e / (e + 2), e = exp(-2 |v|) - 1 (simd/float_math.h). x and y may be
  // the same array.
  void (*softcap)(const float* x, float cap, float* y, size_t n);

  // NeoX-style rotation of one section of `heads` heads, in place: for head h, x = base + h *
  // stride, i < half: (x[i], x[i + half]) = (x[i] c[i] - x[i + half] s[i], x[i + half] c[i] + x[i]
  // s[i]), as fma(x[i], c, -(x[i + half] * s)) and fma(x[i + half], c, x[i] * s). (Su et al. 2021,
  // eq. 34.)
  void (*rope_neox)(float* base, size_t stride, size_t heads, size_t half, const float* cosines,
                    const float* sines);

  // The same with pairs of neighbours: (x[2i], x[2i + 1]) in place of (x[i], x[i + half]).
  void (*rope_interleaved)(float* base, size_t stride, size_t heads, size_t half,
                           const float* cosines, const float* sines);

  // Stores a key and a value (head_dim each) as position `index` of the block, converted to the
  // cache's type. f16: to nearest even. int8: as quantize_rows does it, but all of head_dim is one
  // block; so a key or value that is not finite gets scale nan. By KvType.
  void (*kv_store[kKvTypeCount])(const float* key, const float* value, size_t head_dim, KvBlock kv,
                                 size_t index);

  // Adds one block of keys to the queries' states. score of key j = dot(q, k_j) * scale, the dot by
  // fma over head_dim in order from 0; softcap (the kernel) takes it where its cap is not 0; maximum
  // m = the greatest score that is not nan, plus 0 (so that it is never -0), or nan where keys are
  // visible but no score is above -inf; p = exp(score - m); the sum s has 16 partial sums (key j in
  // j mod 16, in order) folded in halves; o by fma over the visible keys in order from 0. Keys that
  // are not visible are selected away, never multiplied. int8: q becomes codes as a key does, score = (f32(exact dot) * (q_scale * scale)) *
  // key_scale; the weights p * value_scale become codes as a key does, but with 32767 in place of
  // 127 and over the visible keys, and o = f32(exact sum of weight codes times value codes) *
  // weight_scale.
  // Then (m, s, o) joins the state (M, S, O), unless the query sees no key of the block:
  //   M' = m > M ? m : M; a = exp(M - M'); b = exp(m - M'); S = fma(S, a, s * b);
  //   O = fma(O, a, o * b).
  // A state of one block is exactly (m, s, o). A nan reaches S and O. By KvType.
  void (*attention_block[kKvTypeCount])(const AttentionBlock& a);

  // Joins n states of one query in order, by the same formula, and divides: out = O / S (head_dim);
  // zeros if it saw no key (S is 0). State i: maximum[i * stat_stride], sum[i * stat_stride],
  // partial + i * partial_stride; states with sum 0 are skipped. So states of one block each give
  // the same bits as one state that has seen all blocks.
  void (*attention_combine)(const float* maximum, const float* sum, size_t stat_stride,
                            const float* partial, size_t partial_stride, size_t n, size_t head_dim,
                            float* out);

  // The two loops of bench's machine peaks. dot_peak: `iterations` rounds of the target's int8 dot
  // on registers only; returns the multiply-adds done (and keeps the result alive through *sink).
  // read_sum: reads `bytes` (a multiple of 64) once, at full width, and returns a sum of them.
  uint64_t (*dot_peak)(uint64_t iterations, int32_t* sink);
  uint64_t (*read_sum)(const void* data, uint64_t bytes);
};

// Whether a matmul of m tokens by weights of this type wants biased codes.
[[gnu::always_inline]] inline bool BiasedCodes(const KernelTable& kernels, DType weights,
                                               size_t m) {
  return m >= kManyTokens && kernels.biased_codes[static_cast<size_t>(weights)];
}

// All tables of this build, best first; the last is the reference. Null ends it.
extern const KernelTable* const kKernelTables[];

// The table to use: the best that this CPU can run, or the one that the environment variable
// GLINT_ISA names. Throws Error if that name is unknown or the build or the CPU lacks it.
const KernelTable& ChooseKernels();

}  // namespace glint
