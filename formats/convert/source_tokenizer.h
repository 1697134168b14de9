#pragma once
#include <functional>
#include <optional>
#include <string>

#include "formats/convert/source_model.h"
#include "formats/import/imported_tokenizer.h"

namespace glint {

// A vector of a model's, of this type and contents.
template <class T>
SourceWeight VectorWeight(const std::string& name, DType dtype, const T* data, size_t n) {
  SourceWeight weight{name, {n}};
  weight.stored = dtype;
  const auto* bytes = reinterpret_cast<const uint8_t*>(data);
  weight.bytes.assign(bytes, bytes + n * sizeof(T));
  return weight;
}

// Gives a model its tokenizer: the tables, the header's section with `more` options, and of a model
// that chats the ids of tokens that end a turn. Without a tokenizer a remark to `warn` (may be
// empty) says what does not work then; so it does of one with more tokens than the model, and of one
// without those that the chat format needs, which is then left out. `where` begins it. The weights
// must be there already.
void AddTokenizer(const std::optional<ImportedTokenizer>& tokenizer, const nlohmann::json& more,
                  const std::string& where, const std::function<void(const std::string&)>& warn,
                  SourceModel* model);

}  // namespace glint
