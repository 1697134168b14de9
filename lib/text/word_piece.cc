#include "lib/text/word_piece.h"

#include <utf8proc.h>

#include "lib/error.h"
#include "lib/text/byte_bpe.h"
#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr std::string_view kContinues = "##";

// As BERT has it: the CJK Unified Ideographs and their extensions, no kana, no hangul.
constexpr struct {
  int32_t first, last;
} kChinese[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};

bool IsChinese(int32_t c) {
  if (c < 0x3400) return false;
  for (const auto& range : kChinese) {
    if (c >= range.first && c <= range.last) return true;
  }
  return false;
}

// BERT takes all of ASCII's signs for punctuation, also those that Unicode calls symbols.
bool SplitsWords(int32_t c) {
  if (c >= 0x80) return IsPunctuation(c);
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
         (c >= 123 && c <= 126);
}

// Whether tokenizers' "cleanup" takes the space in front of such a piece away.
bool ClingsToWord(std::string_view piece) {
  for (const char* begin : {".", "?", "!", ",", "'m", "'s", "'ve", "'re", "n't"}) {
    if (piece.starts_with(begin)) return true;
  }
  return false;
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) >= 0x80) return false;
  }
  return true;
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const WordPieceOptions& options,
                                       const TokenizerTables& tables, const std::string& where)
    : options_(options), tables_(tables) {
  CheckPieces(tables_, where);
  if (tables_.index.empty()) {
    own_index_ = BuildPieceIndex(tables_);
    tables_.index = own_index_;
  }
  CheckIndex(tables_, where);
  index_ = PieceIndex(tables_);
  if (options_.unk_id < 0) options_.unk_id = FindToken("[UNK]");
  if (options_.unk_id < 0 || static_cast<size_t>(options_.unk_id) >= size()) {
    throw Error(where + ": expected unk_id below " + std::to_string(size()) +
                " or a piece [UNK], found neither");
  }
}

std::string WordPieceTokenizer::Clean(std::string_view text) const {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    const std::string_view character = text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
    const bool space =
        IsWhiteSpace(c.value) && (c.value >= 0x80 || c.value == ' ' || c.value == '\t' ||
                                  c.value == '\n' || c.value == '\r');
    if (options_.clean_text && !space &&
        (c.value <= 0 || c.value == 0xFFFD || IsOtherCategory(c.value))) {
      continue;
    }
    if (space && options_.clean_text && IsOtherCategory(c.value) && c.value >= 0x80) continue;
    if (space) {
      out += ' ';
    } else if (options_.split_chinese && IsChinese(c.value)) {
      ((out += ' ') += character) += ' ';
    } else {
      out += character;
    }
  }
  return out;
}

std::string WordPieceTokenizer::Lower(std::string_view text) const {
  std::string lowered;
  lowered.reserve(text.size());
  if (!options_.lowercase) {
    lowered = text;
  } else {
    while (!text.empty()) {
      const CodePoint c = FirstCodePoint(text);
      text.remove_prefix(c.bytes);
      if (c.value == 0x130) {  // the one letter whose small form is two characters
        lowered += "i\xCC\x87";
      } else {
        AppendCodePoint(utf8proc_tolower(c.value), &lowered);
      }
    }
  }
  if (!options_.strip_accents || IsAscii(lowered)) return lowered;
  std::string decomposed, out;
  AppendNfd(lowered, &decomposed);
  for (std::string_view rest = decomposed; !rest.empty();) {
    const CodePoint c = FirstCodePoint(rest);
    if (!IsMark(c.value)) out += rest.substr(0, c.bytes);
    rest.remove_prefix(c.bytes);
  }
  return out;
}

void WordPieceTokenizer::Normalize(std::string_view text, bool, std::string* out) const {
  std::string valid;
  AppendValid(text, &valid);
  std::string cleaned = Clean(valid);
  if (options_.compose && !IsAscii(cleaned)) {
    valid.clear();
    AppendNfc(cleaned, &valid);
    cleaned.swap(valid);
  }
  const std::string lowered = Lower(cleaned);
  out->clear();
  out->reserve(lowered.size() + lowered.size() / 2);
  const auto end_word = [out] {
    if (!out->empty() && out->back() != ' ') *out += ' ';
  };
  for (std::string_view rest = lowered; !rest.empty();) {
    const CodePoint c = FirstCodePoint(rest);
    if (IsPythonSpace(c.value)) {
      end_word();
    } else if (SplitsWords(c.value)) {
      end_word();
      (*out += rest.substr(0, c.bytes)) += ' ';
    } else {
      *out += rest.substr(0, c.bytes);
    }
    rest.remove_prefix(c.bytes);
  }
  end_word();
}

void WordPieceTokenizer::AppendNormalized(std::string_view normalized,
                                          std::vector<int32_t>* ids) const {
  std::string buffer;
  while (!normalized.empty()) {
    const size_t bytes = std::min(normalized.find(' '), normalized.size());
    if (bytes > 0) AppendWord(normalized.substr(0, bytes), &buffer, ids);
    normalized.remove_prefix(std::min(bytes + 1, normalized.size()));
  }
}

void WordPieceTokenizer::AppendWord(std::string_view word, std::string* buffer,
                                    std::vector<int32_t>* ids) const {
  const size_t begin = ids->size();
  size_t characters = 0;
  for (const char c : word) characters += IsContinuation(c) ? 0 : 1;
  bool known = characters <= kMaxWordCharacters;
  // "##" is written over the end of what has been cut off.
  (*buffer = kContinues) += word;
  size_t at = kContinues.size();
  while (known && at < buffer->size()) {
    const size_t from = ids->size() == begin ? at : at - kContinues.size();
    if (from < at) buffer->replace(from, kContinues.size(), kContinues);
    size_t longest = 0;
    int32_t id = -1;
    index_.ForEachPrefix(std::string_view(*buffer).substr(from), [&](uint32_t piece, size_t n) {
      if (from + n <= at) return;
      longest = n;
      id = static_cast<int32_t>(piece);
    });
    known = longest > 0;
    if (known) ids->push_back(id);
    at = from + longest;
  }
  if (known) return;
  ids->resize(begin);
  ids->push_back(options_.unk_id);
}

std::string_view WordPieceTokenizer::TextOf(int32_t id) const {
  return PieceOf(tables_, static_cast<size_t>(id));
}

void WordPieceTokenizer::DecodeStep(int32_t id, DecodeState* state, std::string* out) const {
  if (id < 0 || static_cast<size_t>(id) >= size()) return;
  std::string_view piece = TextOf(id);
  if (state->any_text) {
    if (piece.starts_with(kContinues)) {
      piece.remove_prefix(kContinues.size());
    } else if (!options_.clean_up || !ClingsToWord(piece)) {
      *out += ' ';
    }
  }
  *out += piece;
  state->any_text = true;
}

void WordPieceTokenizer::DecodeEnd(DecodeState* state, std::string*) const {
  *state = DecodeState();
}

}  // namespace glint
