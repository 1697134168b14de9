#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "formats/import/imported_tokenizer.h"

namespace glint {

// Reads a serialized ModelProto (sentencepiece_model.proto), checks it as sentencepiece does and
// builds the index. Only Unigram and BPE models. `where` begins each message. Throws Error.
ImportedTokenizer ParseSentencePiece(std::span<const uint8_t> bytes, const ImportRules& rules,
                                     const std::string& where);
ImportedTokenizer ReadSentencePiece(const std::string& path, const ImportRules& rules = {});

std::unique_ptr<LoadedTokenizer> LoadSentencePiece(const std::string& path,
                                                   const ImportRules& rules = {});

}  // namespace glint
