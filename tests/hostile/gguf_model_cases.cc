// Complete GGUF models of one layer that tell one lie each (RELIABILITY.md 2.1, "model stage").
#include <cmath>
#include <functional>

#include "tests/gguf_files.h"
#include "tests/hostile/runner.h"

namespace glint::hostile {
namespace {

using namespace test;

struct ModelTensor {
  std::string name;
  std::vector<uint64_t> dims;  // innermost first
  uint32_t type = 0;
};

struct GgufModel {
  std::vector<std::pair<std::string, std::string>> pairs;  // by key
  std::vector<ModelTensor> tensors;

  // A pair of this key, in place of the old one.
  void Set(const std::string& key, const std::string& pair) {
    Drop(key);
    pairs.emplace_back(key, pair);
  }
  void Drop(const std::string& key) {
    std::erase_if(pairs, [&](const auto& pair) { return pair.first == key; });
  }
  ModelTensor& Tensor(const std::string& name) {
    for (ModelTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    throw std::runtime_error(name);
  }
  void U32Key(const std::string& key, uint32_t value) { Set(key, GgufU32(key, value)); }
  void F32Key(const std::string& key, float value) { Set(key, GgufF32(key, value)); }
};

constexpr uint64_t kDim = 32, kHeads = 4, kKvHeads = 2, kHidden = 48, kVocab = 40;
constexpr char kTokens[] = "tokenizer.ggml.tokens", kScores[] = "tokenizer.ggml.scores",
               kTypes[] = "tokenizer.ggml.token_type";

std::vector<std::string> Tokens() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "\u2581"};
  for (char c = 'A'; tokens.size() < kVocab; ++c) tokens.push_back(std::string(1, c));
  return tokens;
}
std::vector<int32_t> Types() {
  std::vector<int32_t> types(kVocab, 1);
  types[0] = 2, types[1] = types[2] = 3;
  return types;
}

void SetTokens(GgufModel* m, const std::vector<std::string>& tokens) {
  m->Set(kTokens, GgufTexts(kTokens, tokens));
}

GgufModel Llama() {
  GgufModel m;
  m.Set("general.architecture", GgufText("general.architecture", "llama"));
  m.U32Key("llama.context_length", 128);
  m.U32Key("llama.embedding_length", kDim);
  m.U32Key("llama.block_count", 1);
  m.U32Key("llama.feed_forward_length", kHidden);
  m.U32Key("llama.attention.head_count", kHeads);
  m.U32Key("llama.attention.head_count_kv", kKvHeads);
  m.U32Key("llama.rope.dimension_count", kDim / kHeads);
  m.F32Key("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  m.F32Key("llama.rope.freq_base", 10000);
  m.Set("tokenizer.ggml.model", GgufText("tokenizer.ggml.model", "llama"));
  SetTokens(&m, Tokens());
  m.Set(kScores, GgufF32s(kScores, std::vector<float>(kVocab, -1)));
  m.Set(kTypes, GgufI32s(kTypes, Types()));
  m.U32Key("tokenizer.ggml.bos_token_id", 1);
  m.U32Key("tokenizer.ggml.eos_token_id", 2);
  m.U32Key("tokenizer.ggml.unknown_token_id", 0);
  const uint64_t kv = kDim / kHeads * kKvHeads;
  m.tensors = {
      {"token_embd.weight", {kDim, kVocab}},    {"output_norm.weight", {kDim}},
      {"output.weight", {kDim, kVocab}},        {"blk.0.attn_norm.weight", {kDim}},
      {"blk.0.attn_q.weight", {kDim, kDim}},    {"blk.0.attn_k.weight", {kDim, kv}},
      {"blk.0.attn_v.weight", {kDim, kv}},      {"blk.0.attn_output.weight", {kDim, kDim}},
      {"blk.0.ffn_norm.weight", {kDim}},        {"blk.0.ffn_gate.weight", {kDim, kHidden}},
      {"blk.0.ffn_up.weight", {kDim, kHidden}}, {"blk.0.ffn_down.weight", {kHidden, kDim}}};
  return m;
}

std::string BytesOf(const GgufModel& m) {
  GgufParts parts;
  for (const auto& [key, pair] : m.pairs) parts.pairs.push_back(pair);
  for (const ModelTensor& tensor : m.tensors) {
    parts.tensors.push_back(GgufEntry(tensor.name, tensor.dims, tensor.type, parts.data.size()));
    uint64_t elements = 1;
    for (const uint64_t dim : tensor.dims) elements *= dim;
    std::string bytes;
    if (tensor.type == 8) {  // Q8_0: halves of 2^-6, and small codes
      for (uint64_t i = 0; i < elements / 32; ++i) bytes += U16(0x2400) + std::string(32, '\1');
    } else if (tensor.type == 24) {
      bytes.assign(elements, '\1');
    } else {
      for (uint64_t i = 0; i < elements; ++i) bytes += Bytes(0.01f * static_cast<float>(i % 7));
    }
    bytes.resize((bytes.size() + 31) / 32 * 32);
    parts.data += bytes;
  }
  return GgufBytes(parts);
}

using Change = std::function<void(GgufModel*)>;

class Adder {
 public:
  explicit Adder(Cases* cases) : cases_(cases) {}
  void Refuse(const std::string& name, const Change& change, const std::string& words = "") {
    Add("m_" + name, change, false, words);
  }
  void Accept(const std::string& name, const Change& change) {
    Add("m_ok_" + name, change, true, "");
  }

 private:
  void Add(const std::string& name, const Change& change, bool accept, const std::string& words) {
    GgufModel model = Llama();
    change(&model);
    cases_->push_back(
        {"gguf/" + name, Stage::kModel, "x.gguf", {{"x.gguf", BytesOf(model)}}, accept, words});
  }
  Cases* cases_;
};

void AddShapes(Adder* add) {
  add->Refuse(
      "arch_missing", [](GgufModel* m) { m->Drop("general.architecture"); }, "architecture");
  add->Refuse(
      "arch_unknown",
      [](GgufModel* m) {
        m->Set("general.architecture", GgufText("general.architecture", "nosuch"));
      },
      "nosuch");
  add->Refuse(
      "arch_u32", [](GgufModel* m) { m->U32Key("general.architecture", 1); }, "architecture");
  const struct {
    const char* name;
    const char* key;
    std::vector<uint32_t> values;
  } kNumbers[] = {{"embd", "llama.embedding_length", {0, 33, 64, 1u << 31, ~0u}},
                  {"blocks", "llama.block_count", {0, 2, 100000, ~0u}},
                  {"heads", "llama.attention.head_count", {0, 3, 5, ~0u}},
                  {"kv_heads", "llama.attention.head_count_kv", {3, 5, 8, ~0u}},
                  {"ff", "llama.feed_forward_length", {0, 47, 49, ~0u}},
                  {"rope_dim", "llama.rope.dimension_count", {4096, 15, ~0u}},
                  {"context", "llama.context_length", {0}},
                  {"head_dim", "llama.attention.key_length", {7, 16, ~0u}},
                  {"experts", "llama.expert_count", {2, ~0u}}};
  for (const auto& number : kNumbers) {
    for (const uint32_t value : number.values) {
      add->Refuse(std::string(number.name) + "_" + std::to_string(value),
                  [&](GgufModel* m) { m->U32Key(number.key, value); });
    }
    add->Refuse(
        std::string(number.name) + "_str",
        [&](GgufModel* m) { m->Set(number.key, GgufText(number.key, "1")); }, number.key);
  }
  add->Refuse("kv_heads_0", [](GgufModel* m) { m->U32Key("llama.attention.head_count_kv", 0); });
  const std::pair<const char*, std::vector<float>> kFloats[] = {
      {"llama.attention.layer_norm_rms_epsilon", {NAN, -1, INFINITY}},
      {"llama.rope.freq_base", {0, NAN, -1, INFINITY}}};
  for (const auto& [key, values] : kFloats) {
    for (const float value : values) {
      add->Refuse(std::string(key).substr(6) + "_" + std::to_string(value),
                  [&, k = key](GgufModel* m) { m->F32Key(k, value); });
    }
  }
}

void AddTensors(Adder* add) {
  for (const ModelTensor& tensor : Llama().tensors) {
    if (tensor.name == "output.weight") continue;  // tied, if it is not there
    add->Refuse("missing_" + tensor.name, [&](GgufModel* m) {
      std::erase_if(m->tensors, [&](const ModelTensor& t) { return t.name == tensor.name; });
    });
    add->Refuse("i8_" + tensor.name, [&](GgufModel* m) { m->Tensor(tensor.name).type = 24; });
    add->Refuse("short_" + tensor.name,
                [&](GgufModel* m) { --m->Tensor(tensor.name).dims.back(); });
    add->Refuse("flat_" + tensor.name, [&](GgufModel* m) {
      std::vector<uint64_t>& dims = m->Tensor(tensor.name).dims;
      if (dims.size() == 1) {
        dims = {dims[0], 2};
      } else {
        dims = {dims[0] * dims[1]};
      }
    });
  }
  add->Refuse(
      "split_count_3",
      [](GgufModel* m) {
        m->Set("split.count", GgufPairOf("split.count", 2, U16(3)));
        m->Set("split.no", GgufPairOf("split.no", 2, U16(0)));
      },
      "00003");
  add->Refuse(
      "another_tensor",
      [](GgufModel* m) {
        m->tensors.push_back({"blk.0.attn_q.bias2", {kDim}});
      },
      "bias2");
  add->Refuse(
      "another_layer",
      [](GgufModel* m) {
        m->tensors.push_back({"blk.1.attn_norm.weight", {kDim}});
      },
      "blk.1");
  add->Refuse("layer_2e64", [](GgufModel* m) {
    m->tensors.push_back({"blk.99999999999999999999.attn_norm.weight", {kDim}});
  });
}

void AddVocabulary(Adder* add) {
  const auto tokens = [&](const char* name,
                          const std::function<void(std::vector<std::string>*)>& edit,
                          const char* words = "") {
    add->Refuse(
        name,
        [&](GgufModel* m) {
          std::vector<std::string> list = Tokens();
          edit(&list);
          SetTokens(m, list);
        },
        words);
  };
  add->Refuse(
      "tokens_missing", [](GgufModel* m) { m->Drop(kTokens); }, kTokens);
  add->Refuse(
      "tokens_u32", [](GgufModel* m) { m->Set(kTokens, GgufI32s(kTokens, Types())); }, kTokens);
  add->Refuse(
      "tokens_scalar", [](GgufModel* m) { m->Set(kTokens, GgufText(kTokens, "a")); }, kTokens);
  add->Refuse("tokens_none", [](GgufModel* m) { SetTokens(m, {}); });
  tokens("tokens_dup", [](auto* list) { (*list)[5] = (*list)[4]; });
  tokens("tokens_more", [](auto* list) { list->push_back("zz"); });
  tokens("tokens_utf8", [](auto* list) { (*list)[5] = "\xFF"; });
  const auto bytes = [&](const char* name, const char* token) {
    add->Refuse(name, [&](GgufModel* m) {
      std::vector<std::string> list = Tokens();
      std::vector<int32_t> types = Types();
      list[5] = token, types[5] = 6;
      SetTokens(m, list);
      m->Set(kTypes, GgufI32s(kTypes, types));
    });
  };
  bytes("byte_minus_1", "<0x-1>");
  bytes("byte_zz", "<0xZZ>");
  bytes("byte_long", "<0x100>");
  bytes("byte_one_of_256", "<0x41>");
  add->Refuse(
      "scores_short",
      [](GgufModel* m) { m->Set(kScores, GgufF32s(kScores, std::vector<float>(kVocab - 1))); },
      kScores);
  add->Refuse(
      "scores_u8",
      [](GgufModel* m) {
        m->Set(kScores, GgufPairOf(kScores, 9, GgufArray(0, kVocab, std::string(kVocab, '\1'))));
      },
      kScores);
  for (const float bad : {NAN, INFINITY}) {
    add->Refuse("scores_" + std::to_string(bad), [&](GgufModel* m) {
      std::vector<float> scores(kVocab, -1);
      scores[7] = bad;
      m->Set(kScores, GgufF32s(kScores, scores));
    });
  }
  add->Refuse(
      "types_short",
      [](GgufModel* m) { m->Set(kTypes, GgufI32s(kTypes, std::vector<int32_t>(kVocab - 1, 1))); },
      kTypes);
  add->Refuse(
      "types_u8",
      [](GgufModel* m) {
        m->Set(kTypes, GgufPairOf(kTypes, 9, GgufArray(0, kVocab, std::string(kVocab, '\1'))));
      },
      kTypes);
  for (const int32_t bad : {99, -1, 7}) {
    add->Refuse("types_" + std::to_string(bad), [&](GgufModel* m) {
      std::vector<int32_t> types = Types();
      types[6] = bad;
      m->Set(kTypes, GgufI32s(kTypes, types));
    });
  }
  for (const char* which : {"bos", "eos", "unknown"}) {
    const std::string key = std::string("tokenizer.ggml.") + which + "_token_id";
    for (const uint32_t id : {static_cast<uint32_t>(kVocab), 1u << 31, ~0u - 1}) {
      add->Refuse(
          std::string(which) + "_" + std::to_string(id), [&](GgufModel* m) { m->U32Key(key, id); },
          which);
    }
    add->Refuse(
        std::string(which) + "_str", [&](GgufModel* m) { m->Set(key, GgufText(key, "1")); }, which);
  }
  add->Refuse("bpe_without_merges", [](GgufModel* m) {
    m->Set("tokenizer.ggml.model", GgufText("tokenizer.ggml.model", "gpt2"));
    m->Set("tokenizer.ggml.pre", GgufText("tokenizer.ggml.pre", "qwen2"));
  });
  add->Refuse(
      "tokenizer_unknown",
      [](GgufModel* m) {
        m->Set("tokenizer.ggml.model", GgufText("tokenizer.ggml.model", "nosuch"));
      },
      "nosuch");
  const auto charsmap = [&](const char* name, const std::string& map) {
    constexpr char kKey[] = "tokenizer.ggml.precompiled_charsmap";
    add->Refuse(name, [&](GgufModel* m) {
      m->Set("tokenizer.ggml.model", GgufText("tokenizer.ggml.model", "t5"));
      m->Set(kKey, GgufPairOf(kKey, 9, GgufArray(0, map.size(), map)));
    });
  };
  charsmap("charsmap_2", "xy");
  charsmap("charsmap_size", U32(~0u) + "xxxxxxxx");
}

}  // namespace

void AddGgufModelCases(Cases* cases) {
  Adder add(cases);
  AddShapes(&add);
  AddTensors(&add);
  AddVocabulary(&add);
  add.Accept("llama", [](GgufModel*) {});
  add.Accept("tied", [](GgufModel* m) {
    std::erase_if(m->tensors, [](const ModelTensor& t) { return t.name == "output.weight"; });
  });
  add.Accept("q8_0", [](GgufModel* m) {
    for (ModelTensor& tensor : m->tensors) {
      if (tensor.dims.size() == 2 && tensor.dims[0] == kDim) tensor.type = 8;
    }
  });
  add.Accept("no_scores_norm", [](GgufModel* m) {
    m->Set(kScores, GgufF32s(kScores, std::vector<float>(kVocab, 0)));
  });
  add.Accept("no_tokenizer", [](GgufModel* m) {
    std::erase_if(m->pairs, [](const auto& p) { return p.first.starts_with("tokenizer."); });
  });
}

}  // namespace glint::hostile
