#include "lib/text/merged_pieces.h"

#include <algorithm>

#include "lib/text/utf8.h"

namespace glint {

MergedPieceTokenizer::MergedPieceTokenizer(const TokenizerOptions& options,
                                           const TokenizerTables& tables, const std::string& where)
    : PieceTokenizer(options, tables, where), merger_(tables_, index_, where) {}

void MergedPieceTokenizer::AppendNormalized(std::string_view normalized,
                                            std::vector<int32_t>* ids) const {
  Merger::Scratch scratch;
  bool after_unknown = false;
  size_t begin = 0;
  const auto append = [&](size_t end) {
    if (end == begin) return;
    merger_.Append(normalized.substr(begin, end - begin), false, &scratch, ids);
    after_unknown = false;
  };
  for (size_t at = 0; at < normalized.size();) {
    const size_t bytes = std::min<size_t>(NominalBytes(normalized[at]), normalized.size() - at);
    const std::string_view character = normalized.substr(at, bytes);
    if (!merger_.IsInitial(character)) {
      append(at);
      Write(unk_, character, &after_unknown, ids);
      begin = at + bytes;
    }
    at += bytes;
  }
  append(normalized.size());
}

}  // namespace glint
