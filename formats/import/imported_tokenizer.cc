#include "formats/import/imported_tokenizer.h"

namespace glint {

TokenizerTables ImportedTokenizer::Tables() const {
  return {piece_bytes, piece_ends, scores, types, charsmap, index, splits, pairs, added};
}

void ImportedTokenizer::AppendPiece(std::string_view text, PieceType type) {
  piece_bytes.insert(piece_bytes.end(), text.begin(), text.end());
  piece_ends.push_back(static_cast<int32_t>(piece_bytes.size()));
  types.push_back(static_cast<uint8_t>(type));
}

std::unique_ptr<LoadedTokenizer> LoadTokenizer(ImportedTokenizer model, const std::string& where) {
  auto loaded = std::make_unique<LoadedTokenizer>();
  loaded->model = std::move(model);
  loaded->tokenizer = Tokenizer::Create(loaded->model.options, loaded->model.Tables(), where);
  return loaded;
}

}  // namespace glint
