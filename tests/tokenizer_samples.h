#pragma once
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

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

}  // namespace glint
