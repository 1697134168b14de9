#include "formats/architectures/gguf_config.h"

#include <vector>

#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kHigh = uint64_t{1} << 32;

struct KeyRow {
  const char* gguf;  // after "ARCHITECTURE."
  const char* hf;
  bool is_real;
};
// ggml/docs/gguf.md; llama.cpp, gguf-py/gguf/constants.py.
constexpr KeyRow kKeys[] = {
    {"embedding_length", "hidden_size", false},
    {"block_count", "num_hidden_layers", false},
    {"feed_forward_length", "intermediate_size", false},
    {"context_length", "max_position_embeddings", false},
    {"attention.head_count", "num_attention_heads", false},
    {"attention.head_count_kv", "num_key_value_heads", false},
    {"attention.key_length", "head_dim", false},
    {"attention.sliding_window", "sliding_window", false},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", true},
    {"rope.freq_base", "rope_theta", true},
    {"attn_logit_softcapping", "attn_logit_softcapping", true},
    {"final_logit_softcapping", "final_logit_softcapping", true},
    {"expert_count", "num_experts", false},
    {"expert_used_count", "num_experts_per_tok", false},
    {"expert_feed_forward_length", "moe_intermediate_size", false},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size", false},
};

// Settings that change what is computed and are not among the keys above: known to be harmless, or
// read elsewhere. Any other key of the architecture is an error.
constexpr const char* kOtherKeys[] = {
    "vocab_size", "attention.value_length", "rope.dimension_count", "rope.scaling.type",
    "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.finetuned",
    "rope.scaling.attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
    "rope.scale_linear", "tensor_data_layout",
};

// Between Hugging Face's words within a layer and llama.cpp's; then of the whole.
constexpr GgufName kNames[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
};

// Metadata of one architecture.
class Keys {
 public:
  explicit Keys(const Gguf& gguf)
      : gguf_(gguf), name_(gguf.metadata().String("general.architecture")) {}
  const std::string& architecture() const { return name_; }
  bool Has(const char* key) const { return gguf_.metadata().Find(Full(key)) != nullptr; }
  uint64_t Uint(const char* key) const { return gguf_.metadata().Uint(Full(key), 0, kHigh); }
  double Number(const char* key) const { return gguf_.metadata().Number(Full(key)); }
  std::string Text(const char* key) const {
    return std::string(gguf_.metadata().String(Full(key)));
  }
  std::string Full(const std::string& key) const { return name_ + "." + key; }

 private:
  const Gguf& gguf_;
  std::string name_;
};

void RefuseOtherKeys(const Gguf& gguf, const Keys& keys) {
  for (const GgufPair& pair : gguf.metadata().pairs()) {
    if (!pair.key.starts_with(keys.architecture() + ".")) continue;
    const std::string key = pair.key.substr(keys.architecture().size() + 1);
    bool known = false;
    for (const KeyRow& row : kKeys) known = known || key == row.gguf;
    for (const char* other : kOtherKeys) known = known || key == other;
    if (!known) throw Error(gguf.path() + ": key " + Quoted(pair.key) + " is not supported");
  }
}

Json Numbers(const Gguf& gguf, const GgufTensor& tensor) {
  std::vector<float> values(tensor.elements);
  gguf.ReadF32(tensor, 0, tensor.elements, values.data());
  return values;
}

constexpr char kDivisors[] = "rope_freqs.weight";
constexpr char kShort[] = "rope_factors_short.weight", kLong[] = "rope_factors_long.weight";
constexpr uint64_t kMaxDivisors = 1 << 14;

const GgufTensor* FindSmall(const Gguf& gguf, const char* name) {
  const GgufTensor* tensor = gguf.Find(name);
  if (!tensor) return nullptr;
  if (tensor->shape.size() == 1 && tensor->elements <= kMaxDivisors) return tensor;
  throw Error(gguf.FileName(*tensor) + ": tensor " + Quoted(tensor->name) +
              ": expected a vector of at most " + std::to_string(kMaxDivisors) + " numbers");
}

// rope_scaling as config.json would have it; null: none.
Json RopeScaling(const Gguf& gguf, const Keys& keys) {
  Json scaling = Json::object();
  if (const GgufTensor* divisors = FindSmall(gguf, kDivisors)) {
    return {{"rope_type", "divisors"}, {"divisors", Numbers(gguf, *divisors)}};
  }
  std::string type = keys.Has("rope.scaling.type") ? keys.Text("rope.scaling.type") : "none";
  if (keys.Has("rope.scaling.factor")) scaling["factor"] = keys.Number("rope.scaling.factor");
  if (keys.Has("rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] =
        keys.Uint("rope.scaling.original_context_length");
  }
  if (keys.Has("rope.scaling.attn_factor")) {
    scaling["attention_factor"] = keys.Number("rope.scaling.attn_factor");
  }
  if (keys.Has("rope.scaling.yarn_beta_fast")) {
    scaling["beta_fast"] = keys.Number("rope.scaling.yarn_beta_fast");
  }
  if (keys.Has("rope.scaling.yarn_beta_slow")) {
    scaling["beta_slow"] = keys.Number("rope.scaling.yarn_beta_slow");
  }
  const GgufTensor *near = FindSmall(gguf, kShort), *far = FindSmall(gguf, kLong);
  if (near && far) {
    type = "longrope";
    scaling["short_factor"] = Numbers(gguf, *near);
    scaling["long_factor"] = Numbers(gguf, *far);
  }
  if (type == "none" && keys.Has("rope.scale_linear") && keys.Number("rope.scale_linear") != 1) {
    type = "linear";  // files of 2023
    scaling["factor"] = keys.Number("rope.scale_linear");
  }
  if (type == "none") return nullptr;
  scaling["rope_type"] = type;
  return scaling;
}

// What part of a head is turned, and that keys and values are equally wide.
void AddHeadDim(const Gguf& gguf, const Keys& keys, Json* config) {
  const uint64_t dim = keys.Uint("embedding_length"), heads = keys.Uint("attention.head_count");
  const uint64_t head_dim = config->value("head_dim", heads == 0 ? 0 : dim / heads);
  const auto get = [&](const char* key) { return keys.Has(key) ? keys.Uint(key) : head_dim; };
  if (get("attention.value_length") != head_dim) {
    throw Error(gguf.path() + ": key " + Quoted(keys.Full("attention.value_length")) +
                ": expected " + std::to_string(head_dim) + ", the width of the keys");
  }
  const uint64_t turned = get("rope.dimension_count");
  if (turned == head_dim || head_dim == 0) return;
  (*config)["partial_rotary_factor"] =
      static_cast<double>(turned) / static_cast<double>(head_dim);
}

void AddIds(const Gguf& gguf, Json* config) {
  const auto add = [&](const char* key, const char* hf) {
    const std::string full = std::string("tokenizer.ggml.") + key;
    if (!gguf.metadata().Find(full)) return;
    const uint64_t id = gguf.metadata().Uint(full, 0, kHigh);
    if (id == UINT32_MAX) return;  // "none"
    if (std::string_view(hf) == "eos_token_id") {
      Json& ids = (*config)[hf];
      if (ids.is_null()) ids = Json::array();
      ids.push_back(id);
    } else {
      (*config)[hf] = id;
    }
  };
  add("bos_token_id", "bos_token_id");
  add("padding_token_id", "pad_token_id");
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    add(key, "eos_token_id");
  }
}

}  // namespace

GgufMatch FindGgufArchitecture(const Gguf& gguf) {
  if (gguf.tensors().empty()) {
    throw Error(gguf.path() +
                ": has no tensors; a vocabulary alone can only be used by glint tokenize");
  }
  const std::string name(gguf.metadata().String("general.architecture"));
  GgufMatch match{};
  std::string known;
  for (const Architecture* row : Architectures()) {
    for (const GgufDialect& dialect : row->gguf) {
      known += (known.empty() ? "" : ", ") + std::string(dialect.architecture);
      if (name != dialect.architecture) continue;
      if (dialect.marker && gguf.Find(dialect.marker)) return {row, &dialect};
      if (!dialect.marker) match = {row, &dialect};
    }
  }
  if (match.dialect) return match;
  throw Error(gguf.path() + ": general.architecture " + Quoted(name) +
              " is not supported; known: " + known);
}

Json ConfigFromGguf(const Gguf& gguf, const GgufDialect& dialect) {
  const Keys keys(gguf);
  RefuseOtherKeys(gguf, keys);
  Json config = Json::object();
  for (const KeyRow& row : kKeys) {
    if (!keys.Has(row.gguf)) continue;
    if (row.is_real) {
      config[row.hf] = keys.Number(row.gguf);
    } else {
      config[row.hf] = keys.Uint(row.gguf);
    }
  }
  const GgufTensor* embedding = gguf.Find("token_embd.weight");
  if (config.value("sliding_window", 1) == 0) config.erase("sliding_window");  // none
  if (embedding && embedding->shape.size() == 2) config["vocab_size"] = embedding->shape[0];
  config["tie_word_embeddings"] = gguf.Find("output.weight") == nullptr;
  config["attention_bias"] = gguf.Find("blk.0.attn_q.bias") || gguf.Find("blk.0.attn_qkv.bias");
  config["mlp_bias"] = gguf.Find("blk.0.ffn_down.bias") != nullptr;
  const Json scaling = RopeScaling(gguf, keys);
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
  AddIds(gguf, &config);
  AddHeadDim(gguf, keys, &config);
  dialect.adapt(&config);
  return config;
}

namespace {

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos && text.size() < 10;
}

const char* FindName(const GgufDialect& dialect, const std::string& hf) {
  for (const GgufName& row : dialect.names) {
    if (hf == row.hf) return row.gguf;
  }
  for (const GgufName& row : kNames) {
    if (hf == row.hf) return row.gguf;
  }
  return nullptr;
}

}  // namespace

// The first number in a name is the layer's, and what stands before it is the model's affair; a second
// one is an expert's, written "*" in the tables.
GgufPlace FindGgufPlace(const GgufDialect& dialect, const std::string& hf_name) {
  const size_t dot = hf_name.rfind('.');
  const std::string stem = hf_name.substr(0, dot), ending = hf_name.substr(dot);
  GgufPlace place;
  std::string layer, rest;
  for (size_t begin = 0; begin <= stem.size();) {
    const size_t end = std::min(stem.find('.', begin), stem.size());
    const std::string word = stem.substr(begin, end - begin);
    begin = end + 1;
    if (IsNumber(word) && layer.empty()) {
      layer = word;
      rest.clear();
      continue;
    }
    if (IsNumber(word)) {
      place.part = std::stoull(word);
      place.is_part = true;
    }
    rest += (rest.empty() ? "" : ".") + (IsNumber(word) ? "*" : word);
  }
  const char* name = FindName(dialect, rest);
  if (!name) return {};
  place.tensor = (layer.empty() ? "" : "blk." + layer + ".") + name + ending;
  place.permuted_q = dialect.permuted && std::string_view(name) == "attn_q";
  place.permuted_k = dialect.permuted && std::string_view(name) == "attn_k";
  return place;
}

bool IsGgufConfigTensor(const std::string& name) {
  return name == kDivisors || name == kShort || name == kLong;
}

}  // namespace glint
