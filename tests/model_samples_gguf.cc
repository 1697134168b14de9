#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <stdexcept>

#include "tests/gguf_encoders.h"
#include "tests/gguf_files.h"
#include "tests/model_samples.h"
#include "tests/plain_config.h"
#include "tests/plain_rope.h"
#include "tests/test_util.h"

// GGUF files of the samples. Sources (ggml-org/llama.cpp): keys, gguf-py/gguf/constants.py; names
// of tensors, gguf-py/gguf/tensor_mapping.py; which keys each architecture has and what happens to
// its tensors, the classes of convert_hf_to_gguf.py: TextModel, LlamaModel, Qwen2Model,
// Qwen2MoeModel, Qwen3Model, Phi3MiniModel, Gemma2Model, ChatGLMModel, Glm4Model.
namespace glint::test {
namespace {

using nlohmann::json;

struct Rename {
  const char* from;
  const char* to;
};

// Of parts that are not in a layer; without ".weight".
constexpr Rename kGlobalNames[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"transformer.embedding.word_embeddings", "token_embd"},
    {"transformer.encoder.final_layernorm", "output_norm"},
    {"transformer.output_layer", "output"},
};

constexpr Rename kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attention.query_key_value", "attn_qkv"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attention.dense", "attn_output"},
    {"post_self_attn_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_attention_layernorm", "ffn_norm"},  // not gemma2's
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.dense_h_to_4h", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.dense_4h_to_h", "ffn_down"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"post_mlp_layernorm", "post_ffw_norm"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};

// Of an expert's matrices; all experts of a layer make one tensor.
constexpr Rename kExpertNames[] = {
    {"w1", "ffn_gate_exps"},        {"w2", "ffn_down_exps"},    {"w3", "ffn_up_exps"},
    {"gate_proj", "ffn_gate_exps"}, {"up_proj", "ffn_up_exps"}, {"down_proj", "ffn_down_exps"},
};

template <size_t n>
std::string Renamed(const Rename (&table)[n], const std::string& from) {
  for (const Rename& r : table) {
    if (from == r.from) return r.to;
  }
  throw std::runtime_error("model_samples_gguf: no GGUF name for " + from);
}

// A tensor's place in the file.
struct Place {
  std::string name;     // "blk.0.ffn_gate_exps.weight"
  bool expert = false;  // a part of it: in the order of `number`
  size_t number = 0;
  bool q = false, k = false;  // queries' or keys' rows
};

Place PlaceOf(const std::string& model_type, const std::string& hf_name) {
  const size_t dot = hf_name.rfind('.');
  const std::string stem = hf_name.substr(0, dot), suffix = hf_name.substr(dot);
  const std::string layers = ".layers.";
  const size_t at = stem.find(layers);
  if (at == std::string::npos) return {.name = Renamed(kGlobalNames, stem) + suffix};
  const size_t end = stem.find('.', at + layers.size());
  const std::string block =
      "blk." + stem.substr(at + layers.size(), end - at - layers.size()) + ".";
  const std::string part = stem.substr(end + 1);
  const size_t experts = part.find(".experts.");
  if (experts != std::string::npos) {
    const std::string rest = part.substr(experts + 9);
    return {.name = block + Renamed(kExpertNames, rest.substr(rest.find('.') + 1)) + suffix,
            .expert = true,
            .number = std::stoul(rest)};
  }
  std::string name = Renamed(kLayerNames, part);
  if (model_type == "gemma2" && part == "post_attention_layernorm") name = "post_attention_norm";
  return {.name = block + name + suffix,
          .q = part == "self_attn.q_proj",
          .k = part == "self_attn.k_proj"};
}

// llama.cpp turns pairs (2i, 2i + 1) of a llama's heads, Hugging Face (i, i + half): row `row` of
// the file, of heads of `dim` rows, is this row of the checkpoint.
size_t LlamaRow(size_t row, size_t dim) {
  const size_t in_head = row % dim;
  return row - in_head + (in_head % 2) * (dim / 2) + in_head / 2;
}

bool IsLlama(const json& config) {
  const std::string type = ModelType(config);
  return type == "llama" || type == "mistral" || type == "mixtral" || type == "granite";
}

class GgufSampleWriter {
 public:
  GgufSampleWriter(const SampleModel& sample, const std::string& type)
      : config_(sample.config), model_type_(ModelType(config_)), type_(type), result_(sample) {
    for (const auto& [name, tensor] : sample.tensors) AddTensor(name, tensor);
    for (auto& [name, tensor] : tensors_) Put(name, tensor);
    AddMetadata();
    ReduceConfig();
  }

  std::string Bytes() const { return GgufBytes(parts_); }
  const SampleModel& Result() const { return result_; }

 private:
  struct Tensor {
    uint32_t type = 0;
    std::vector<uint64_t> dims;          // innermost first
    std::map<size_t, std::string> data;  // by the expert's number; else one
  };

  // --- tensors ---

  const GgufEncoder& EncoderOf(const std::string& name, const PlainTensor& tensor) const {
    const bool vector = tensor.shape.size() < 2 || name.find("ffn_gate_inp") != std::string::npos;
    if (vector) return GgufEncoderOf("F32");
    const GgufEncoder& encoder = GgufEncoderOf(type_);
    return tensor.shape.back() % encoder.block == 0 ? encoder : GgufEncoderOf("F16");
  }

  // Encodes row by row, and puts the rows in the file's order.
  void AddTensor(const std::string& hf_name, const PlainTensor& tensor) {
    const Place place = PlaceOf(model_type_, hf_name);
    const GgufEncoder& encoder = EncoderOf(place.name, tensor);
    const bool matrix = tensor.shape.size() == 2;
    const size_t rows = tensor.shape[0], cols = matrix ? tensor.shape[1] : 1;
    // Gemma's norms are stored as what is multiplied.
    const float more = model_type_ == "gemma2" && hf_name.ends_with("norm.weight") ? 1 : 0;
    std::vector<std::string> encoded(rows);
    std::vector<float>& meant = result_.tensors[hf_name].values;
    for (size_t r = 0; r < rows; ++r) {
      std::vector<float> x(tensor.values.begin() + static_cast<ptrdiff_t>(r * cols),
                           tensor.values.begin() + static_cast<ptrdiff_t>((r + 1) * cols));
      for (float& v : x) v += more;
      const GgufRow row = GgufEncodeRow(encoder, x.data(), cols);
      encoded[r] = row.bytes;
      for (size_t c = 0; c < cols; ++c) meant[r * cols + c] = row.values[c] - more;
    }
    Tensor& out = tensors_[place.name];
    out.type = encoder.id;
    out.dims = matrix ? std::vector<uint64_t>{cols, rows} : std::vector<uint64_t>{rows};
    // Old converters dropped dimensions of 1, new ones keep them; files of both kinds are about.
    if (place.name == "blk.0.ffn_gate_inp_shexp.weight") out.dims = {cols};
    const bool turned = IsLlama(config_) && (place.q || place.k);
    std::string& data = out.data[place.number];
    for (size_t r = 0; r < rows; ++r) data += encoded[turned ? LlamaRow(r, HeadDim()) : r];
  }

  void Put(const std::string& name, Tensor& tensor) {
    if (name.find("_exps.") != std::string::npos) tensor.dims.push_back(tensor.data.size());
    std::string bytes;
    for (const auto& [number, data] : tensor.data) bytes += data;
    while (parts_.data.size() % 32 != 0) parts_.data += '\0';
    parts_.tensors.push_back(GgufEntry(name, tensor.dims, tensor.type, parts_.data.size()));
    parts_.data += bytes;
  }

  void PutFloats(const std::string& name, const std::vector<float>& values) {
    Tensor tensor{.type = 0, .dims = {values.size()}, .data = {{0, Floats(values)}}};
    Put(name, tensor);
  }

  // --- metadata ---

  std::string Architecture() const {
    if (model_type_ == "granite") return model_type_;
    if (IsLlama(config_)) return "llama";
    if (model_type_ == "qwen2_moe") return "qwen2moe";
    return model_type_ == "glm" ? "chatglm" : model_type_;
  }

  void Text(const std::string& key, const std::string& text) {
    parts_.pairs.push_back(GgufText(key, text));
  }
  void Count(const std::string& key, size_t value) {
    parts_.pairs.push_back(GgufU32(Architecture() + "." + key, static_cast<uint32_t>(value)));
  }
  void Float(const std::string& key, double value) {
    parts_.pairs.push_back(GgufF32(Architecture() + "." + key, static_cast<float>(value)));
  }
  // A member of the config as a number, if it is there.
  void CountOf(const std::string& key, const char* member) {
    if (Has(config_, member)) Count(key, config_[member]);
  }

  size_t HeadDim() const { return PlainHeadDim(config_); }

  void AddMetadata() {
    Text("general.architecture", Architecture());
    Text("general.type", "model");
    Text("general.name", "sample");  // llama.cpp wants other tokens of what is called phi3
    parts_.pairs.push_back(GgufU32("general.file_type", GgufEncoderOf(type_).file_type));
    parts_.pairs.push_back(GgufU32("general.quantization_version", 2));
    if (Architecture() == "chatglm")
      AddChatGlm();
    else
      AddCommon();
    AddTokenizer();
  }

  // Of all but arch "chatglm".
  void AddCommon() {
    CountOf("block_count", "num_hidden_layers");
    CountOf("context_length", "max_position_embeddings");
    CountOf("embedding_length", "hidden_size");
    CountOf("feed_forward_length", "intermediate_size");
    CountOf("attention.head_count", "num_attention_heads");
    CountOf("attention.head_count_kv", "num_key_value_heads");
    Float("attention.layer_norm_rms_epsilon", config_.at("rms_norm_eps"));
    if (model_type_ != "gemma2") Float("rope.freq_base", config_.at("rope_theta"));
    CountOf("expert_count", model_type_ == "mixtral" ? "num_local_experts" : "num_experts");
    CountOf("expert_used_count", "num_experts_per_tok");
    CountOf("expert_feed_forward_length", "moe_intermediate_size");
    CountOf("expert_shared_feed_forward_length", "shared_expert_intermediate_size");
    CountOf("attention.key_length", "head_dim");
    CountOf("attention.value_length", "head_dim");
    if (IsLlama(config_)) {
      CountOf("vocab_size", "vocab_size");
      Count("rope.dimension_count", HeadDim());
    }
    if (model_type_ == "glm4") {
      Count("rope.dimension_count", PlainRopeOf(config_, 0).inv_freq.size() * 2);
    }
    if (model_type_ == "gemma2") AddGemma2();
    if (model_type_ == "granite") {
      Float("attention.scale", config_.at("attention_multiplier"));
      Float("embedding_scale", config_.at("embedding_multiplier"));
      Float("residual_scale", config_.at("residual_multiplier"));
      Float("logit_scale", config_.at("logits_scaling"));
    }
    if (model_type_ == "phi3")
      AddPhi3();
    else
      AddScaling();
  }

  void AddScaling() {
    if (!Has(config_, "rope_scaling")) return;
    const json& scaling = config_["rope_scaling"];
    const std::string kind =
        Setting(scaling, "rope_type", Setting(scaling, "type", std::string("")));
    if (kind == "llama3") return PutFloats("rope_freqs.weight", Llama3Factors(scaling));
    if (kind != "linear" && kind != "yarn") throw std::runtime_error("no GGUF form of " + kind);
    Text(Architecture() + ".rope.scaling.type", kind);
    Float("rope.scaling.factor", scaling.at("factor"));
    if (kind == "yarn")
      Count("rope.scaling.original_context_length", scaling.at("original_max_position_embeddings"));
  }

  // By what llama.cpp divides each frequency.
  std::vector<float> Llama3Factors(const json& scaling) const {
    const double factor = scaling.at("factor"), low = scaling.at("low_freq_factor"),
                 high = scaling.at("high_freq_factor");
    const double original = scaling.at("original_max_position_embeddings");
    std::vector<float> factors;
    for (size_t i = 0; i < HeadDim(); i += 2) {
      const double power = static_cast<double>(i) / static_cast<double>(HeadDim());
      const double wave =
          2 * std::numbers::pi * std::pow(config_.at("rope_theta").get<double>(), power);
      const double smooth = std::clamp((original / wave - low) / (high - low), 0.0, 1.0);
      factors.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
    }
    return factors;
  }

  void AddGemma2() {
    Float("attn_logit_softcapping", config_.at("attn_logit_softcapping"));
    Float("final_logit_softcapping", config_.at("final_logit_softcapping"));
    CountOf("attention.sliding_window", "sliding_window");
  }

  void AddPhi3() {
    const double original = config_.at("original_max_position_embeddings");
    const double scale = config_.at("max_position_embeddings").get<double>() / original;
    Count("rope.scaling.original_context_length", static_cast<size_t>(original));
    Count("rope.dimension_count", PlainRopeOf(config_, 0).inv_freq.size() * 2);
    Count("attention.sliding_window", Setting<size_t>(config_, "sliding_window", 0));
    if (!Has(config_, "rope_scaling")) return;
    const json& scaling = config_["rope_scaling"];
    Float("rope.scaling.attn_factor",
          scale > 1 ? std::sqrt(1 + std::log(scale) / std::log(original)) : 1);
    PutFloats("rope_factors_long.weight", scaling.at("long_factor"));
    PutFloats("rope_factors_short.weight", scaling.at("short_factor"));
  }

  // ChatGLM2, 3, GLM-4 and, with these values from its config, GLM-4's Hugging Face form.
  void AddChatGlm() {
    const bool glm = model_type_ == "glm";
    CountOf("context_length", glm ? "max_position_embeddings" : "seq_length");
    CountOf("embedding_length", "hidden_size");
    CountOf("feed_forward_length", glm ? "intermediate_size" : "ffn_hidden_size");
    CountOf("block_count", glm ? "num_hidden_layers" : "num_layers");
    CountOf("attention.head_count", "num_attention_heads");
    CountOf("attention.head_count_kv", glm ? "num_key_value_heads" : "multi_query_group_num");
    Float("attention.layer_norm_rms_epsilon",
          config_.at(glm ? "rms_norm_eps" : "layernorm_epsilon"));
    Count("rope.dimension_count", PlainRopeOf(config_, 0).inv_freq.size() * 2);
    Float("rope.freq_base", glm ? config_.at("rope_theta").get<double>()
                                : 10000 * Setting(config_, "rope_ratio", 1.0));
    parts_.pairs.push_back(GgufBool("tokenizer.ggml.add_bos_token", false));
  }

  // A sentencepiece BPE vocabulary: three specials, the 256 bytes, then single letters.
  void AddTokenizer() {
    const size_t vocab = result_.tensors.begin()->second.shape.empty()
                             ? 0
                             : Setting<size_t>(config_, "vocab_size",
                                               Setting<size_t>(config_, "padded_vocab_size", 0));
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types = {2, 3, 3};  // unknown, control, control
    for (int byte = 0; byte < 256; ++byte) {
      const char* digits = "0123456789ABCDEF";
      tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
      types.push_back(6);
    }
    const std::string letters = "etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLUCMFWYPVBGKJQXZ";
    tokens.push_back("\xE2\x96\x81");  // U+2581, a space
    for (size_t i = 0; tokens.size() < vocab; ++i) tokens.push_back(letters.substr(i, 1));
    types.resize(tokens.size(), 1);  // normal
    std::vector<float> scores(tokens.size(), 0);
    for (size_t i = 259; i < tokens.size(); ++i) scores[i] = -static_cast<float>(i - 259);
    Text("tokenizer.ggml.model", "llama");
    Text("tokenizer.ggml.pre", "default");
    parts_.pairs.push_back(GgufTexts("tokenizer.ggml.tokens", tokens));
    parts_.pairs.push_back(GgufF32s("tokenizer.ggml.scores", scores));
    parts_.pairs.push_back(GgufI32s("tokenizer.ggml.token_type", types));
    parts_.pairs.push_back(GgufU32("tokenizer.ggml.bos_token_id", 1));
    parts_.pairs.push_back(GgufU32("tokenizer.ggml.eos_token_id", 2));
    parts_.pairs.push_back(GgufU32("tokenizer.ggml.unknown_token_id", 0));
  }

  // What the file does not say is not part of the model that it holds.
  void ReduceConfig() {
    json& config = result_.config;
    if (IsLlama(config)) config["sliding_window"] = nullptr;
    if (model_type_.starts_with("qwen")) config["use_sliding_window"] = false;
    if (model_type_ == "qwen2_moe") config["norm_topk_prob"] = false;
    if (model_type_ == "gemma2") config["query_pre_attn_scalar"] = HeadDim();
  }

  const json config_;
  const std::string model_type_, type_;
  std::map<std::string, Tensor> tensors_;
  GgufParts parts_;
  SampleModel result_;
};

}  // namespace

SampleModel WriteGguf(const SampleModel& sample, const std::string& path, const std::string& type) {
  if (!sample.gguf) throw std::runtime_error("model_samples_gguf: no GGUF form of " + sample.name);
  const GgufSampleWriter writer(sample, type);
  WriteFile(path, writer.Bytes());
  return writer.Result();
}

}  // namespace glint::test
