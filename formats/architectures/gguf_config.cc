#include "formats/architectures/gguf_config.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <vector>

#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kHigh = uint64_t{1} << 32;

// ggml/docs/gguf.md; llama.cpp, gguf-py/gguf/constants.py.
constexpr GgufKey kKeys[] = {
    {"embedding_length", "hidden_size"},
    {"block_count", "num_hidden_layers"},
    {"feed_forward_length", "intermediate_size"},
    {"context_length", "max_position_embeddings"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.sliding_window", "sliding_window"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", true},
    {"rope.freq_base", "rope_theta", true},
};
// Members of rope_scaling.
constexpr GgufKey kScalingKeys[] = {
    {"rope.scaling.original_context_length", "original_max_position_embeddings"},
    {"rope.scaling.attn_factor", "attention_factor", true},
    {"rope.scaling.yarn_beta_fast", "beta_fast", true},
    {"rope.scaling.yarn_beta_slow", "beta_slow", true},
};

// Settings that change what is computed and are not among the keys above: known to be harmless, or
// read elsewhere. Any other key of the architecture is an error.
constexpr const char* kOtherKeys[] = {
    "vocab_size",
    "attention.value_length",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scale_linear",
    "tensor_data_layout",
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
  // Those that the file has, under Hugging Face's names.
  void Copy(std::span<const GgufKey> rows, Json* out) const {
    for (const GgufKey& row : rows) {
      if (!Has(row.gguf)) continue;
      (*out)[row.hf] = row.is_real ? Json(Number(row.gguf)) : Json(Uint(row.gguf));
    }
  }

 private:
  const Gguf& gguf_;
  std::string name_;
};

void RefuseOtherKeys(const Gguf& gguf, const GgufDialect& dialect, const Keys& keys) {
  for (const GgufPair& pair : gguf.metadata().pairs()) {
    if (!pair.key.starts_with(keys.architecture() + ".")) continue;
    const std::string key = pair.key.substr(keys.architecture().size() + 1);
    bool known = false;
    for (const GgufKey& row : kKeys) known = known || key == row.gguf;
    for (const GgufKey& row : dialect.keys) known = known || key == row.gguf;
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

// Divisors of LongRoPE, which come as a pair; false: there are none.
bool AddLongRope(const Gguf& gguf, Json* scaling) {
  const GgufTensor *near = FindSmall(gguf, kShort), *far = FindSmall(gguf, kLong);
  if (!near && !far) return false;
  if (!near || !far) {
    throw Error(gguf.path() + ": tensor " + Quoted(near ? kLong : kShort) + " is missing beside " +
                Quoted(near ? kShort : kLong));
  }
  (*scaling)["short_factor"] = Numbers(gguf, *near);
  (*scaling)["long_factor"] = Numbers(gguf, *far);
  return true;
}

// rope_scaling as config.json would have it; null: none.
Json RopeScaling(const Gguf& gguf, const Keys& keys) {
  Json scaling = Json::object();
  keys.Copy(kScalingKeys, &scaling);
  const char* factor_key =
      keys.Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  const double factor = keys.Has(factor_key) ? keys.Number(factor_key) : 1;
  const bool is_scaled = factor != 0 && factor != 1;
  // Without a type a factor is linear: files of 2023 have no more.
  std::string type = keys.Has("rope.scaling.type") ? keys.Text("rope.scaling.type") : "linear";
  if (AddLongRope(gguf, &scaling)) type = "longrope";
  if (type != "longrope") {
    // llama.cpp multiplies yarn's own scale by it, so it does not mean what Hugging Face's does.
    if (scaling.value("attention_factor", 1.0) != 1) {
      throw Error(gguf.path() + ": key " + Quoted(keys.Full("rope.scaling.attn_factor")) +
                  ": expected 1 for scaling " + Quoted(type) + ", found " +
                  scaling["attention_factor"].dump());
    }
    scaling.erase("attention_factor");
    if (type == "none" || !is_scaled) type = "none";
  }
  if (const GgufTensor* divisors = FindSmall(gguf, kDivisors)) {
    if (type == "none") return {{"rope_type", "divisors"}, {"divisors", Numbers(gguf, *divisors)}};
    throw Error(gguf.path() + ": tensor " + Quoted(kDivisors) + " beside a scaling " +
                Quoted(type) + " is not supported");
  }
  if (type == "none") return nullptr;
  if (is_scaled) scaling["factor"] = factor;
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
  (*config)["partial_rotary_factor"] = static_cast<double>(turned) / static_cast<double>(head_dim);
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
  RefuseOtherKeys(gguf, dialect, keys);
  Json config = Json::object();
  keys.Copy(kKeys, &config);
  keys.Copy(dialect.keys, &config);
  keys.Number("attention.layer_norm_rms_epsilon");  // must be there
  const GgufTensor* embedding = gguf.Find("token_embd.weight");
  if (config.value("sliding_window", uint64_t{1}) == 0) config["sliding_window"] = nullptr;
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

// The first number in a name is the layer's, and what stands before it is the model's affair; a
// second one is an expert's, written "*" in the tables.
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
      const char* end_of_word = word.data() + word.size();
      if (std::from_chars(word.data(), end_of_word, place.part).ec != std::errc()) return {};
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
