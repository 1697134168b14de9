#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/tokenizer.h"

namespace glint {

class Gguf;

// A foreign tokenizer as our tables: what a .glint file stores as tensors ("tokenizer." and the
// name that ForEachTable gives), and its "tokenizer" object. Owns everything.
struct ImportedTokenizer {
  std::vector<uint8_t> piece_bytes;
  std::vector<int32_t> piece_ends;
  std::vector<float> scores;
  std::vector<uint8_t> types;
  std::vector<uint8_t> charsmap;
  std::vector<int32_t> index;
  std::vector<int32_t> splits;
  std::vector<int32_t> pairs;
  std::vector<int32_t> added;
  nlohmann::json options;

  size_t size() const { return piece_ends.size(); }
  // Valid as long as this object stays where it is.
  TokenizerTables Tables() const;
  void AppendPiece(std::string_view text, PieceType type);
};

// Which model's rules stand around the pieces, where the files cannot say: "chatglm1", "chatglm2",
// "chatglm3", "llama", "plain" of a sentencepiece model; "gpt2", "qwen2", "llama3", "glm4" of
// byte-level BPE; "bert", "bert-cased" of a vocab.txt. Empty: the files must say.
//
// With "chatglm1", a file of ChatGLM-6B's first revision, which lacks the special, blank and byte
// pieces, gets them as the published code adds them; `id_offset` is that revision's 20000 image
// tokens. With "chatglm2" and "chatglm3" the special tokens that the published code puts behind the
// file's pieces become control pieces.
struct ImportRules {
  std::string rules = "plain";
  int32_t id_offset = 0;
};
using SentencePieceRules = ImportRules;  // the older name

// Each throws Error naming the file (and field) that is not as expected or not supported.

// The tokenizer of a Hugging Face folder, from the first of these that it has: ice_text.model,
// tokenizer.model (sentencepiece, or ranks of tiktoken), tokenizer.json, vocab.json and merges.txt,
// vocab.txt; with the added tokens of tokenizer_config.json and added_tokens.json. None: nullopt.
std::optional<ImportedTokenizer> ReadFolderTokenizer(const std::string& folder,
                                                     const ImportRules& rules);
// A tokenizer's file alone, of any of these kinds (vocab.json has merges.txt beside it).
ImportedTokenizer ReadTokenizerFile(const std::string& path, const ImportRules& rules);
// From the "tokenizer.ggml." keys of a GGUF file. nullopt if it has none.
std::optional<ImportedTokenizer> ReadGgufTokenizer(const Gguf& gguf);

// A tokenizer with the tables that it reads.
struct LoadedTokenizer {
  ImportedTokenizer model;
  std::unique_ptr<Tokenizer> tokenizer;
};
std::unique_ptr<LoadedTokenizer> LoadTokenizer(ImportedTokenizer model, const std::string& where);

}  // namespace glint
