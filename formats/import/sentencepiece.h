#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "lib/text/tokenizer.h"

namespace glint {

// A sentencepiece model as our tables: what a .glint file stores as tensors, and its "tokenizer"
// object. Owns everything.
struct SentencePieceModel {
  std::vector<uint8_t> piece_bytes;
  std::vector<int32_t> piece_ends;
  std::vector<float> scores;
  std::vector<uint8_t> types;
  std::vector<uint8_t> charsmap;
  std::vector<int32_t> index;
  nlohmann::json options;

  size_t size() const { return piece_ends.size(); }
  // Valid as long as this object stays where it is.
  TokenizerTables Tables() const;
};

// Which model's rules stand around the pieces. With "chatglm1", a file of ChatGLM-6B's first
// revision, which lacks the special, blank and byte pieces, gets them as the published code adds
// them; `id_offset` is that revision's 20000 image tokens. With "chatglm2" and "chatglm3" the
// special tokens that the published code puts behind the file's pieces become control pieces.
struct SentencePieceRules {
  std::string rules = "plain";  // or "chatglm1", "chatglm2", "chatglm3", "llama"
  int32_t id_offset = 0;
};

// Reads a serialized ModelProto (sentencepiece_model.proto), checks it as sentencepiece does and
// builds the index. Only Unigram and BPE models. `where` begins each message. Throws Error.
SentencePieceModel ParseSentencePiece(std::span<const uint8_t> bytes,
                                      const SentencePieceRules& rules, const std::string& where);
SentencePieceModel ReadSentencePiece(const std::string& path, const SentencePieceRules& rules = {});

// A tokenizer with the tables that it reads.
struct LoadedTokenizer {
  SentencePieceModel model;
  std::unique_ptr<Tokenizer> tokenizer;
};
std::unique_ptr<LoadedTokenizer> LoadSentencePiece(const std::string& path,
                                                   const SentencePieceRules& rules = {});

}  // namespace glint
