#include "lib/text/normalizer.h"

#include "lib/text/utf8.h"

namespace glint {

Normalizer::Normalizer(const NormalizerOptions& options, const TokenizerTables& tables,
                       const PieceIndex& index, const std::string& where)
    : options_(options),
      tables_(tables),
      index_(index),
      charsmap_(tables.charsmap, where),
      space_(options.escape_whitespaces ? kSpaceSymbol : " ") {
  for (size_t id = 0; id < tables.types.size(); ++id) {
    if (tables.types[id] != static_cast<uint8_t>(PieceType::kUserDefined)) continue;
    const std::string_view piece = PieceOf(tables, id);
    if (!piece.empty()) begins_user_defined_[static_cast<uint8_t>(piece[0])] = true;
  }
}

size_t Normalizer::UserDefinedBytes(std::string_view text) const {
  if (!begins_user_defined_[static_cast<uint8_t>(text[0])]) return 0;
  size_t longest = 0;
  index_.ForEachPrefix(text, [&](uint32_t id, size_t bytes) {
    if (tables_.types[id] == static_cast<uint8_t>(PieceType::kUserDefined)) longest = bytes;
  });
  return longest;
}

Normalizer::Step Normalizer::FirstStep(std::string_view text) const {
  if (const size_t bytes = UserDefinedBytes(text)) return {text.substr(0, bytes), bytes};
  std::string_view replacement;
  if (const size_t bytes = charsmap_.Match(text, &replacement)) return {replacement, bytes};
  const CodePoint c = FirstCodePoint(text);
  if (c.value < 0) return {kReplacement, 1};
  return {text.substr(0, c.bytes), c.bytes};
}

void Normalizer::AppendEscaped(std::string_view text, std::string* out) const {
  for (const char c : text) {
    if (c == ' ') {
      *out += space_;
    } else {
      *out += c;
    }
  }
}

void Normalizer::Normalize(std::string_view text, bool first, std::string* out) const {
  out->clear();
  const bool remove = options_.remove_extra_whitespaces;
  while (remove && !text.empty()) {
    const Step step = FirstStep(text);
    if (step.text != " ") break;
    text.remove_prefix(step.bytes);
  }
  if (text.empty()) return;
  out->reserve(text.size() + text.size() / 2 + space_.size());
  const bool suffix = options_.treat_whitespace_as_suffix;
  const bool dummy = options_.add_dummy_prefix && (first || !options_.dummy_prefix_first_only) &&
                     !(options_.dummy_prefix_unless_space &&
                       (text[0] == ' ' || text.starts_with(kSpaceSymbol)));
  if (dummy && !suffix) *out += space_;
  bool after_space = remove;
  while (!text.empty()) {
    const Step step = FirstStep(text);
    text.remove_prefix(step.bytes);
    std::string_view piece = step.text;
    while (after_space && !piece.empty() && piece[0] == ' ') piece.remove_prefix(1);
    if (piece.empty()) continue;
    AppendEscaped(piece, out);
    after_space = remove && piece.back() == ' ';
  }
  while (remove && std::string_view(*out).ends_with(space_))
    out->resize(out->size() - space_.size());
  if (dummy && suffix) *out += space_;
}

}  // namespace glint
