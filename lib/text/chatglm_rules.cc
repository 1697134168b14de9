#include "lib/text/chatglm_rules.h"

#include <algorithm>

#include "lib/error.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr std::string_view kNewline = "<n>";
constexpr std::string_view kTab = "<|tab|>";
constexpr std::string_view kBlank = "<|blank_";
constexpr std::string_view kBlankEnd = "|>";

std::string BlankTag(size_t spaces) {
  return std::string(kBlank) + std::to_string(spaces) + std::string(kBlankEnd);
}

enum class Match { kNone, kPartial, kFull };

// Whether `text` begins with `tag`, or is its beginning.
Match MatchTag(std::string_view text, std::string_view tag) {
  if (text.starts_with(tag)) return Match::kFull;
  return tag.starts_with(text) ? Match::kPartial : Match::kNone;
}

// A tag at the beginning of `text` (which begins with '<'): how many bytes it takes, what it stands
// for.
Match ReadTag(std::string_view text, size_t max_blank, size_t* bytes, std::string* meaning) {
  const std::pair<std::string_view, const char*> kFixed[] = {{kNewline, "\n"}, {kTab, "\t"}};
  bool partial = false;
  for (const auto& [tag, value] : kFixed) {
    const Match match = MatchTag(text, tag);
    if (match == Match::kFull) {
      *bytes = tag.size();
      *meaning = value;
      return match;
    }
    partial = partial || match == Match::kPartial;
  }
  const Match match = MatchTag(text, kBlank);
  if (match != Match::kFull) return partial ? Match::kPartial : match;
  size_t at = kBlank.size();
  size_t spaces = 0;
  // The published code knows no leading zero and stops at max_blank, which has two digits.
  while (at < text.size() && text[at] >= '0' && text[at] <= '9' && spaces <= max_blank) {
    if (spaces == 0 && text[at] == '0') return Match::kNone;
    spaces = 10 * spaces + static_cast<size_t>(text[at++] - '0');
  }
  if (spaces > max_blank) return Match::kNone;
  if (at == text.size()) return Match::kPartial;
  if (spaces < 2) return Match::kNone;
  const Match end = MatchTag(text.substr(at), kBlankEnd);
  *bytes = at + kBlankEnd.size();
  if (end == Match::kFull) *meaning = std::string(spaces, ' ');
  return end;
}

// Appends `tag` to `out` with its tags read. What may be the beginning of a tag stays, unless
// `last`.
void ReadTags(bool last, size_t max_blank, std::string* tag, std::string* out) {
  std::string_view text = *tag;
  while (!text.empty()) {
    const size_t plain = std::min(text.find('<'), text.size());
    *out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    size_t bytes = 1;
    std::string meaning;
    const Match match = ReadTag(text, max_blank, &bytes, &meaning);
    if (match == Match::kPartial && !last) break;
    if (match == Match::kFull) {
      *out += meaning;
      text.remove_prefix(bytes);
    } else {
      *out += '<';
      text.remove_prefix(1);
    }
  }
  tag->erase(0, tag->size() - text.size());
}

int32_t Choose(int32_t option, int32_t found) {
  return option >= 0 ? option : found;
}

}  // namespace

ChatGlmTokenizer::ChatGlmTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                                   const std::string& where)
    : unigram_(options, tables, where) {
  gmask_id_ = Choose(options.gmask_id, unigram_.FindSpecial("[gMASK]"));
  sop_id_ = Choose(options.sop_id, unigram_.FindSpecial("<sop>"));
  pad_id_ = Choose(options.pad_id, unigram_.FindSpecial("<pad>"));
  // [gMASK] is no special token of the published tokenizer's, so it is read as plain text.
  const Special kTyped[] = {{"[MASK]", Choose(options.mask_id, unigram_.FindSpecial("[MASK]"))},
                            {"<sop>", sop_id_},
                            {"<eop>", Choose(options.eop_id, unigram_.FindSpecial("<eop>"))},
                            {"<unk>", Choose(options.unk_id, unigram_.FindSpecial("<unk>"))},
                            {"<pad>", pad_id_}};
  for (const Special& special : kTyped) {
    if (special.id >= 0) typed_.push_back(special);
  }
  typed_.push_back({"[gMASK]", gmask_id_});
  for (const auto& [name, id] : {std::pair("gmask_id", gmask_id_), std::pair("sop_id", sop_id_)}) {
    if (id < 0) {
      throw Error(where + ": rules chatglm1: expected " + name +
                  " or a piece [gMASK] and <sop>, found neither");
    }
  }
  for (size_t spaces = 2; spaces <= kMaxBlank; ++spaces) {
    has_blank_[spaces] = unigram_.FindSpecial(BlankTag(spaces)) >= 0;
  }
}

const ChatGlmTokenizer::Special* ChatGlmTokenizer::SpecialAt(std::string_view text,
                                                             size_t n_sought) const {
  for (size_t i = 0; i < n_sought; ++i) {
    if (text.starts_with(typed_[i].text)) return &typed_[i];
  }
  return nullptr;
}

// Newlines, tabs and runs of spaces as tags; of a run the longest tag that the vocabulary has,
// again and again.
std::string ChatGlmTokenizer::WriteTags(std::string_view text) const {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t at = 0; at < text.size();) {
    const std::string_view next = text.substr(at, kMaxBlank);
    size_t spaces = std::min(next.find_first_not_of(' '), next.size());
    while (spaces > 1 && !has_blank_[spaces]) spaces--;
    if (spaces > 1) {
      out += BlankTag(spaces);
      at += spaces;
      continue;
    }
    const char c = text[at++];
    if (c == '\n') {
      out += kNewline;
    } else if (c == '\t') {
      out += kTab;
    } else {
      out += c;
    }
  }
  return out;
}

// Between special tokens each stretch is a text of its own, without the spaces next to the token:
// transformers strips them.
std::vector<int32_t> ChatGlmTokenizer::EncodeSpecials(std::string_view text,
                                                      size_t n_sought) const {
  std::vector<int32_t> ids;
  bool after_special = false;
  const auto add = [&](std::string_view stretch, bool before_special) {
    if (after_special) stretch = StripLeft(stretch);
    if (before_special) stretch = StripRight(stretch);
    if (!stretch.empty()) unigram_.AppendStretch(WriteTags(stretch), true, &ids);
  };
  size_t begin = 0;
  for (size_t at = 0; (at = text.find_first_of("[<", at)) != text.npos;) {
    const Special* special = SpecialAt(text.substr(at), n_sought);
    if (special == nullptr) {
      at++;
      continue;
    }
    add(text.substr(begin, at - begin), true);
    ids.push_back(special->id);
    after_special = true;
    at += special->text.size();
    begin = at;
  }
  add(text.substr(begin), false);
  return ids;
}

std::vector<int32_t> ChatGlmTokenizer::Encode(std::string_view text) const {
  return EncodeSpecials(text, typed_.size() - 1);
}

std::vector<int32_t> ChatGlmTokenizer::EncodeParsed(std::string_view text) const {
  return EncodeSpecials(text, typed_.size());
}

std::vector<int32_t> ChatGlmTokenizer::EncodePlain(std::string_view text) const {
  return EncodeSpecials(text, 0);
}

int32_t ChatGlmTokenizer::FindToken(std::string_view text) const {
  const int32_t special = unigram_.FindSpecial(text);
  return special >= 0 ? special : unigram_.FindToken(text);
}

std::vector<int32_t> ChatGlmTokenizer::EncodeWithSpecial(std::string_view text) const {
  std::vector<int32_t> ids = Encode(text);
  ids.push_back(gmask_id_);
  ids.push_back(sop_id_);
  return ids;
}

void ChatGlmTokenizer::DecodeStep(int32_t id, DecodeState* state, std::string* out) const {
  if (id == pad_id_) return;
  unigram_.DecodeStep(id, state, &state->tag);
  ReadTags(false, kMaxBlank, &state->tag, out);
}

void ChatGlmTokenizer::DecodeEnd(DecodeState* state, std::string* out) const {
  std::string tag = std::move(state->tag);
  state->tag.clear();
  unigram_.DecodeEnd(state, &tag);
  ReadTags(true, kMaxBlank, &tag, out);
}

}  // namespace glint
