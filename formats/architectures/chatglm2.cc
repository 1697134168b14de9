// ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B as THUDM publishes them (modeling_chatglm.py of each). What
// sets them apart from LLaMA: biases on q, k and v; pairs of neighbours are turned, in one half of
// each head; gate and up come fused; and the options have names of their own.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// ChatGLM-6B shares the model_type.
bool Accepts(const Json& c) {
  return HasModelType(c, "chatglm") && c.contains("padded_vocab_size");
}

void RefuseOtherOptions(const Json& c, const std::string& where) {
  RequireOption(c, "rmsnorm", true, where);
  RequireOption(c, "post_layer_norm", true, where);
  RequireOption(c, "original_rope", true, where);
  RequireOption(c, "add_bias_linear", false, where);
  RequireOption(c, "apply_residual_connection_post_layernorm", false, where);
  RequireOption(c, "multi_query_attention", true, where);
  RequireOption(c, "interleaved_qkv", false, where);  // CodeGeeX2 has these two
  RequireOption(c, "rotary_percent", 0.5, where);
  RequireOption(c, "partial_rotary_factor", 0.5, where);  // GGUF files may have these two
  RequireOption(c, "rope_scaling", nullptr, where);
  // It divides the positions by rope_ratio; the others multiply the base.
  const auto name = c.find("_name_or_path");
  if (name != c.end() && name->is_string() &&
      name->get<std::string>().find("chatglm2-6b-32k") != std::string::npos) {
    throw Error(where + ": ChatGLM2-6B-32k has positions of its own, which are not supported");
  }
  if (UintOr(c, "pre_seq_len", 0, UINT32_MAX, where) != 0) {
    throw Error(where + ": 'pre_seq_len': a model and its P-Tuning prefix in one are not supported "
                "(the prefix alone becomes an adapter)");
  }
}

// The options under the names that the other architectures have.
Json Renamed(const Json& c, const std::string& where) {
  const auto width = [&](const char* key) { return GetUint(c, key, 1, 1 << 22, where); };
  Json out = {{"hidden_size", width("hidden_size")},
              {"num_hidden_layers", width("num_layers")},
              {"num_attention_heads", width("num_attention_heads")},
              {"num_key_value_heads", width("multi_query_group_num")},
              {"head_dim", width("kv_channels")},
              {"intermediate_size", width("ffn_hidden_size")},
              {"vocab_size", GetUint(c, "padded_vocab_size", 1, 1 << 24, where)},
              {"max_position_embeddings", UintOr(c, "seq_length", 2048, 1 << 24, where, 1)},
              {"rms_norm_eps", NumberOr(c, "layernorm_epsilon", 1e-5, where)},
              {"rope_theta", 10000.0 * NumberOr(c, "rope_ratio", 1.0, where)},
              {"tie_word_embeddings", BoolOr(c, "tie_word_embeddings", false, where)}};
  for (const char* key : {"eos_token_id", "pad_token_id"}) {
    if (HasOption(c, key)) out[key] = c.at(key);
  }
  return out;
}

Network::Value Describe(Network& n, const DecoderConfig& d, bool qkv_bias) {
  using Value = Network::Value;
  const AttentionForm attention = {.qkv_bias = qkv_bias,
                                   .fused = "self_attention.query_key_value",
                                   .out = "self_attention.dense"};
  const FfnForm ffn = {.down = "mlp.dense_4h_to_h", .fused = "mlp.dense_h_to_4h"};
  Value x = n.Embedding("transformer.embedding.word_embeddings", d.vocab_size, d.dim);
  n.SetRope(d.rope);
  for (uint64_t i = 0; i < d.n_layers; ++i) {
    n.BeginLayer(i, "transformer.encoder.layers." + std::to_string(i) + ".");
    const Value a = n.RmsNorm(x, "attn_norm", "input_layernorm", d.norm_eps);
    x = n.Add(x, AttentionPart(n, a, d, attention));
    const Value f = n.RmsNorm(x, "ffn_norm", "post_attention_layernorm", d.norm_eps);
    x = n.Add(x, FfnPart(n, f, d, ffn));
  }
  n.EndLayers();
  x = n.RmsNorm(x, "final_norm", "transformer.encoder.final_layernorm", d.norm_eps);
  return n.Head(x, "transformer.output_layer", d.vocab_size, d.tied);
}

// The three share an architecture, not a tokenizer and a way to chat. GLM-4 has a vocabulary of its
// own; ChatGLM2 was published before `classifier_dropout` was an option.
const char* GenerationOf(const Json& c, const DecoderConfig& d) {
  constexpr uint64_t kOldVocabulary = 100000;
  const auto name = c.find("_name_or_path");
  const std::string path = name != c.end() && name->is_string() ? name->get<std::string>() : "";
  if (d.vocab_size > kOldVocabulary) return "glm4";
  if (path.find("chatglm2") != path.npos) return "chatglm2";
  if (path.find("chatglm3") != path.npos || c.contains("classifier_dropout")) return "chatglm3";
  return "chatglm2";
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RefuseOtherOptions(c, where);
  const Json renamed = Renamed(c, where);
  DecoderConfig d = ReadDecoderConfig(renamed, where, 0.5);
  d.rope.interleaved = true;
  const bool qkv_bias = BoolOr(c, "add_qkv_bias", false, where);
  const char* const generation = GenerationOf(c, d);
  ImportPlan plan = DecoderPlan("chatglm2", d, renamed, generation, where,
                                [=](Network& n) { return Describe(n, d, qkv_bias); });
  plan.prompt["format"] = generation;
  plan.ignored = {".inv_freq"};
  return plan;
}

// ChatGLM3-6B.
constexpr char kChatGlm3[] = R"({
  "model_type": "chatglm", "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32,
  "multi_query_attention": true, "multi_query_group_num": 2, "kv_channels": 128,
  "ffn_hidden_size": 13696, "padded_vocab_size": 65024, "seq_length": 8192,
  "layernorm_epsilon": 1e-5, "add_qkv_bias": true, "add_bias_linear": false,
  "eos_token_id": 2, "pad_token_id": 0
})";

// GLM-4-9B-Chat.
constexpr char kGlm4[] = R"({
  "model_type": "chatglm", "hidden_size": 4096, "num_layers": 40, "num_attention_heads": 32,
  "multi_query_attention": true, "multi_query_group_num": 2, "kv_channels": 128,
  "ffn_hidden_size": 13696, "padded_vocab_size": 151552, "seq_length": 131072,
  "layernorm_epsilon": 1.5625e-7, "add_qkv_bias": true, "add_bias_linear": false,
  "rope_ratio": 500, "eos_token_id": [151329, 151336, 151338], "pad_token_id": 151329
})";

void Adapt(Json* c) {
  const auto rename = [c](const char* from, const char* to) {
    if (c->contains(from)) (*c)[to] = (*c)[from];
  };
  (*c)["model_type"] = "chatglm";
  (*c)["classifier_dropout"] = nullptr;  // llama.cpp converts ChatGLM3 and GLM-4, no older one
  (*c)["multi_query_attention"] = true;
  (*c)["add_qkv_bias"] = (*c)["attention_bias"];
  (*c)["kv_channels"] =
      c->contains("head_dim")
          ? (*c)["head_dim"].get<uint64_t>()
          : c->value("hidden_size", uint64_t{0}) /
                std::max<uint64_t>(c->value("num_attention_heads", uint64_t{1}), 1);
  (*c)["rope_ratio"] = c->value("rope_theta", 10000.0) / 10000.0;
  rename("num_hidden_layers", "num_layers");
  rename("num_key_value_heads", "multi_query_group_num");
  rename("intermediate_size", "ffn_hidden_size");
  rename("vocab_size", "padded_vocab_size");
  rename("max_position_embeddings", "seq_length");
  rename("rms_norm_eps", "layernorm_epsilon");
}

}  // namespace

extern const Architecture kChatGlm2;
const Architecture kChatGlm2 = {"chatglm2",
                                Accepts,
                                Plan,
                                {{"chatglm3-6b", kChatGlm3}, {"glm-4-9b", kGlm4}},
                                {{.architecture = "chatglm",
                                  .names = {{"self_attention.query_key_value", "attn_qkv"},
                                            {"self_attention.dense", "attn_output"},
                                            {"mlp.dense_h_to_4h", "ffn_up"},
                                            {"mlp.dense_4h_to_h", "ffn_down"},
                                            {"transformer.embedding.word_embeddings", "token_embd"},
                                            {"transformer.encoder.final_layernorm", "output_norm"},
                                            {"transformer.output_layer", "output"}},
                                  .adapt = Adapt}}};

}  // namespace glint
