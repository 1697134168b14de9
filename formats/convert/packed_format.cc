#include "formats/convert/packed_format.h"

#include "formats/architectures/hf_options.h"
#include "formats/json.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kBlock = 32;  // columns that share a scale in int4a

std::string TextOr(const Json& config, const char* key, const char* fallback,
                   const std::string& where) {
  return HasOption(config, key) ? GetString(config, key, where) : fallback;
}

std::string LowerCase(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

[[noreturn]] void Refuse(const std::string& where, const char* key, const std::string& expected,
                         const std::string& found) {
  throw Error(where + ": " + Quoted(key) + ": expected " + expected + ", found " + Quoted(found));
}

// 0 for -1: one group of all inputs.
uint64_t GroupSize(const Json& config, const std::string& where) {
  if (HasOption(config, "group_size") && config.at("group_size") == -1) return 0;
  const uint64_t size = GetUint(config, "group_size", 1, 1 << 22, where);
  if (size % kBlock == 0) return size;
  throw Error(where + ": 'group_size': expected -1 or a multiple of " + std::to_string(kBlock) +
              ", the block of int4a, found " + std::to_string(size));
}

// GPTQModel says `format` where AutoGPTQ says `checkpoint_format`.
int GptqZeroBias(const Json& config, const std::string& where) {
  RequireOption(config, "is_marlin_format", false, where);
  const char* key = HasOption(config, "checkpoint_format") ? "checkpoint_format" : "format";
  const std::string format = TextOr(config, key, "gptq", where);
  if (format == "gptq") return 1;
  if (format == "gptq_v2") return 0;
  Refuse(where, key, "'gptq' or 'gptq_v2'", format);
}

void CheckAwq(const Json& config, const std::string& where) {
  const std::string version = TextOr(config, "version", "gemm", where);
  if (LowerCase(version) != "gemm") Refuse(where, "version", "'gemm'", version);
  const std::string backend = TextOr(config, "backend", "autoawq", where);
  if (LowerCase(backend) != "autoawq") Refuse(where, "backend", "'autoawq'", backend);
}

}  // namespace

std::optional<PackedFormat> ReadPackedFormat(const Json& hf_config, const std::string& where) {
  if (!hf_config.is_object() || !HasOption(hf_config, "quantization_config")) return std::nullopt;
  const Json& config = GetObject(hf_config, "quantization_config", where);
  const std::string place = where + ": 'quantization_config'";
  const std::string method = GetString(config, "quant_method", place);
  PackedFormat format;
  if (method == "gptq") {
    format.zero_bias = GptqZeroBias(config, place);
  } else if (method == "awq") {
    format.method = PackedFormat::Method::kAwq;
    CheckAwq(config, place);
  } else {
    Refuse(place, "quant_method", "'gptq' or 'awq'", method);
  }
  RequireOption(config, "bits", 4, place);
  GetUint(config, "bits", 4, 4, place);
  format.group_size = GroupSize(config, place);
  return format;
}

}  // namespace glint
