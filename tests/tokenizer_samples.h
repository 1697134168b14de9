#pragma once
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "formats/import/bpe_tables.h"
#include "formats/import/imported_tokenizer.h"
#include "lib/text/utf8.h"
#include "tests/test_util.h"

namespace glint {

using Ids = std::vector<int32_t>;

inline std::string TokenizerDir(const std::string& name) {
  return ReferenceDir() + "/tokenizers/" + name + "/";
}

inline std::vector<nlohmann::json> ReadJsonLines(const std::string& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// All pieces of a stream put together; each must be whole characters.
inline std::string StreamedText(const Tokenizer& tokenizer, const Ids& ids) {
  Detokenizer detokenizer(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.Add(id);
    CHECK(IsUtf8(piece));
    text += piece;
  }
  const std::string rest = detokenizer.Finish();
  CHECK(IsUtf8(rest));
  return text + rest;
}

// The ids that vectors.jsonl has, exactly; the texts that decoding gives, also piece by piece.
inline void CheckVectors(const Tokenizer& t, const std::string& path) {
  const std::vector<nlohmann::json> lines = ReadJsonLines(path);
  CHECK(lines.size() == 195);
  for (const nlohmann::json& line : lines) {
    const std::string text = line["text"];
    const Ids ids = line["ids"];
    CAPTURE(path);
    CAPTURE(text);
    CHECK(t.Encode(text) == ids);
    CHECK(t.EncodeWithSpecial(text) == line["ids_special"].get<Ids>());
    CHECK(t.Decode(ids) == line["decoded"].get<std::string>());
    CHECK(StreamedText(t, ids) == line["decoded"].get<std::string>());
  }
}

// A tokenizer.json of this content.
inline std::unique_ptr<LoadedTokenizer> LoadJson(const nlohmann::json& file) {
  const std::string path = TempDir() + "/tokenizer.json";
  WriteFile(path, file.dump());
  return LoadTokenizer(ReadTokenizerFile(path, {"", 0}), path);
}

// An entry of its added tokens.
inline nlohmann::json Token(int id, const std::string& text, bool special = true) {
  return {{"id", id},        {"content", text}, {"special", special}, {"single_word", false},
          {"lstrip", false}, {"rstrip", false}, {"normalized", false}};
}

inline nlohmann::json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

// All bytes in byte text, each byte its own id.
inline nlohmann::json ByteVocabulary() {
  nlohmann::json vocab = nlohmann::json::object();
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    std::string text, back;
    for (int c = 0x21; c < 0x144 && text.empty(); ++c) {
      const std::string candidate = c < 0x80 ? std::string(1, static_cast<char>(c))
                                             : std::string{static_cast<char>(0xC0 | c >> 6),
                                                           static_cast<char>(0x80 | (c & 63))};
      if (FromByteText(candidate, &back) && static_cast<uint8_t>(back[0]) == byte) text = candidate;
    }
    vocab[text] = id++;
  }
  return vocab;
}

inline std::string Base64(std::string_view bytes) {
  const std::string kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += i + k <= bytes.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
    }
  }
  return out;
}

}  // namespace glint
