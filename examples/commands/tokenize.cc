// glint tokenize: text to ids and back, one JSON value per line.
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "examples/commands/options.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

struct Options {
  std::string source, type;
  bool special = false, decode = false;
};

const std::vector<std::string> kTypes = {"chatglm1",   "chatglm2", "chatglm3", "llama",  "bert",
                                         "bert-cased", "gpt2",     "qwen2",    "llama3", "glm4"};

struct Source {
  std::unique_ptr<Model> model;
  std::shared_ptr<const Tokenizer> imported;

  const Tokenizer& tokenizer() const { return model ? *model->tokenizer() : *imported; }
};

Source Open(const Options& options) {
  Source source;
  if (options.source != kBuiltinName && !options.source.ends_with(".glint")) {
    source.imported = ImportTokenizer(options.source, options.type);
    return source;
  }
  if (!options.type.empty()) {
    throw UsageError("--type is for tokenizers alone: a .glint file names its rules itself");
  }
  source.model = OpenModel(options.source);
  if (!source.model->tokenizer()) throw Error(options.source + ": the model has no tokenizer");
  return source;
}

std::string Encode(const Tokenizer& tokenizer, const nlohmann::json& value, bool special,
                   const std::string& where) {
  if (!value.is_string()) {
    throw Error(where + ": expected a JSON string, found " + value.type_name());
  }
  const std::string& text = value.get_ref<const std::string&>();
  const std::vector<int32_t> ids =
      special ? tokenizer.EncodeWithSpecial(text) : tokenizer.Encode(text);
  return nlohmann::json(ids).dump();
}

std::string Decode(const Tokenizer& tokenizer, const nlohmann::json& value,
                   const std::string& where) {
  if (!value.is_array()) {
    throw Error(where + ": expected a JSON list of ids, found " + value.type_name());
  }
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : value) {
    const bool fits =
        id.is_number_integer() && !(id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX);
    if (!fits || id.get<int64_t>() < INT32_MIN) {
      throw Error(where + ": item " + std::to_string(ids.size()) +
                  ": expected an id, an integer of 32 bits");
    }
    ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  // The text may hold what no JSON may: replaced, so that every line is valid.
  return nlohmann::json(tokenizer.Decode(ids))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Run(const Options& options) {
  const Source source = Open(options);
  std::string line;
  for (size_t number = 1; ReadInputLine(&line) == InputLine::kRead; ++number) {
    const std::string where = "standard input: line " + std::to_string(number);
    const nlohmann::json value = ParseJson(line, where);
    Print(options.decode ? Decode(source.tokenizer(), value, where)
                         : Encode(source.tokenizer(), value, options.special, where));
    Print("\n");
  }
}

}  // namespace

RunCommand SetUpTokenize(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("SRC", options->source,
                 "a .glint file, 'builtin', a Hugging Face folder, a GGUF file, or a tokenizer's "
                 "file alone")
      ->required()
      ->option_text(" ");
  CLI::Option* special =
      app.add_flag("--special", options->special,
                   "add what the model's own tokenizer adds ([gMASK], <sop>, <s>)");
  app.add_flag("--decode", options->decode, "ids to text")->excludes(special);
  app.add_option(
         "--type", options->type,
         "whose rules, where the file cannot say: chatglm1, chatglm2, chatglm3, llama, bert, "
         "bert-cased, gpt2, qwen2, llama3, glm4")
      ->check(CLI::IsMember(kTypes).description(""))
      ->option_text("TYPE");
  app.footer(
      "Reads one JSON string per line from standard input and writes one JSON list of ids per "
      "line;\n"
      "with --decode the other way round.\n\n"
      "Example:\n"
      "  echo '\"hello\"' | glint tokenize builtin");
  return [options] { Run(*options); };
}

}  // namespace glint
