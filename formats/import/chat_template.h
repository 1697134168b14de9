#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "formats/import/gguf_metadata.h"

namespace glint {

// The parts of a file's "prompt" section that make a model with a chat template chat: "format",
// "template", and the texts of special tokens that templates use. An empty object if there is no
// template. One that does not parse is left out too, with a remark to `warn` (may be empty): the
// rest of the model is none the worse for it. `where` begins remarks. Thread-safe.
using ImportRemark = std::function<void(const std::string&)>;

// Of a Hugging Face folder: tokenizer_config.json (may be null), in which the template is a text or
// a list of named ones, of which "default" is taken; and the path of chat_template.jinja, which
// comes first (empty: there is none).
nlohmann::json ChatPromptSection(const nlohmann::json& tokenizer_config,
                                 const std::string& template_path, const std::string& where,
                                 const ImportRemark& warn);

// Of a GGUF file: tokenizer.chat_template, and the tokens that its ids name.
nlohmann::json ChatPromptSection(const GgufMetadata& metadata, const std::string& where,
                                 const ImportRemark& warn);

}  // namespace glint
