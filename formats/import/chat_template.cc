#include "formats/import/chat_template.h"

#include <nlohmann/json.hpp>

#include "formats/import/input_file.h"
#include "lib/error.h"
#include "lib/text/jinja.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxTemplateBytes = 1 << 20;
constexpr const char* kTokens[] = {"bos_token", "eos_token", "unk_token", "pad_token"};

void Remark(const ImportRemark& warn, const std::string& text) {
  if (warn) warn(text + "; chat will not work");
}

// A member that is text; empty if it is not.
std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The template of tokenizer_config.json.
std::string ConfigTemplate(const Json& config, const std::string& where, const ImportRemark& warn) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const Json& named : *found) {
      if (named.is_object() && TextOf(named, "name") == "default") return TextOf(named, "template");
    }
  }
  Remark(warn, where +
                   ": tokenizer_config.json: 'chat_template': expected a text, or a list with one "
                   "named 'default'");
  return "";
}

// A special token of tokenizer_config.json: its text, or an object that has it.
std::string TokenText(const Json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end()) return "";
  return found->is_object() ? TextOf(*found, "content") : TextOf(config, name);
}

// The section, or an empty object if the template is none.
Json Section(const std::string& text, const std::string& where, const ImportRemark& warn) {
  Json section = Json::object();
  if (text.empty()) return section;
  try {
    if (!IsUtf8(text)) throw Error(where + ": chat template: expected UTF-8");
    const JinjaTemplate parsed(text, where + ": chat template");
    section = {{"format", "jinja"}, {"template", text}};
  } catch (const Error& error) {
    Remark(warn, error.what());
  }
  return section;
}

}  // namespace

Json ChatPromptSection(const Json& tokenizer_config, const std::string& template_path,
                       const std::string& where, const ImportRemark& warn) {
  const Json config = tokenizer_config.is_object() ? tokenizer_config : Json::object();
  std::string text;
  if (!template_path.empty()) {
    try {
      const std::vector<uint8_t> bytes = ReadWholeFile(InputFile(template_path), kMaxTemplateBytes);
      text.assign(bytes.begin(), bytes.end());
    } catch (const Error& error) {
      Remark(warn, error.what());
      return Json::object();
    }
  } else {
    text = ConfigTemplate(config, where, warn);
  }
  Json section = Section(text, where, warn);
  for (const char* name : kTokens) {
    const std::string token = TokenText(config, name);
    if (!section.empty() && !token.empty() && IsUtf8(token)) section[name] = token;
  }
  return section;
}

Json ChatPromptSection(const GgufMetadata& metadata, const std::string& where,
                       const ImportRemark& warn) {
  if (!metadata.Find("tokenizer.chat_template")) return Json::object();
  Json section = Json::object();
  try {
    section = Section(std::string(metadata.String("tokenizer.chat_template")), where, warn);
    if (section.empty()) return section;
    const GgufValue& tokens = metadata.Array("tokenizer.ggml.tokens", GgufType::kString);
    for (const char* name : kTokens) {
      // GGUF's names: unknown_token_id and padding_token_id.
      const std::string short_name(name, 3);
      const std::string key = "tokenizer.ggml." +
                              (short_name == "unk"   ? "unknown"
                               : short_name == "pad" ? "padding"
                                                     : short_name) +
                              "_token_id";
      if (!metadata.Find(key)) continue;
      const uint64_t id = metadata.Uint(key, 0, UINT32_MAX);
      if (id < tokens.count && IsUtf8(tokens.String(id))) {
        section[name] = std::string(tokens.String(id));
      }
    }
  } catch (const Error& error) {
    Remark(warn, error.what());
    return Json::object();
  }
  return section;
}

}  // namespace glint
