#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace glint {

// How the linear layers of a checkpoint that GPTQ or AWQ made are packed into words of eight 4-bit
// codes. Of a layer "X" with `rows` outputs and `cols` inputs, in groups of inputs:
//   X.qweight  kGptq: i32 (cols / 8, rows), input 8 i + j in bits 4 j of word i
//              kAwq:  i32 (cols, rows / 8), outputs in the order of kAwqOutputs
//   X.qzeros   i32 (groups, rows / 8): kGptq output 8 i + j in bits 4 j; kAwq as its weights
//   X.scales   floats (groups, rows)
//   X.g_idx    kGptq, i32 (cols): the group of each input; absent, or all 0: cols in order
// A weight is scale * (code - zero), zero being what is stored + zero_bias.
// Sources: AutoGPTQ, auto_gptq/nn_modules/qlinear/qlinear_cuda.py; GPTQModel,
// gptqmodel/utils/model.py (convert_gptq_v1_to_v2_format_module); AutoAWQ,
// awq/modules/linear/gemm.py and awq/utils/packing_utils.py.
struct PackedFormat {
  enum class Method : uint8_t { kGptq, kAwq };
  Method method = Method::kGptq;
  uint64_t group_size = 0;  // inputs; 0: all of them
  int zero_bias = 0;        // 1: checkpoint_format "gptq", the first version
};

// Bits 4 j to 4 j + 3 of a word of AWQ hold output kAwqOutputs[j] of the word's eight.
inline constexpr uint8_t kAwqOutputs[8] = {0, 2, 4, 6, 1, 3, 5, 7};

// What config.json's `quantization_config` says; none if it has none. `where` begins each message.
// Throws Error naming what is not supported: the method, bits, group size, version.
std::optional<PackedFormat> ReadPackedFormat(const nlohmann::json& hf_config,
                                             const std::string& where);

}  // namespace glint
