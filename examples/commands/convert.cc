// glint convert: from a published checkpoint to a .glint file.
#include "formats/convert/convert.h"

#include "formats/convert/convert_adapter.h"

#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/interrupt.h"
#include "examples/commands/options.h"
#include "examples/commands/written.h"
#include "lib/error.h"

namespace glint {
namespace {

struct Options {
  ConvertOptions convert;
  std::string type;
  std::vector<std::string> tensor_types;
  std::string recipe, base;
};

std::pair<std::string, DType> ParseTensorType(const std::string& text) {
  const size_t equals = text.rfind('=');
  const std::string type = equals == std::string::npos ? "" : text.substr(equals + 1);
  DType dtype;
  if (equals == 0 || !IsConvertType(type) || !ParseDType(type, &dtype)) {
    throw UsageError("--tensor-type: expected PATTERN=TYPE with a type of " + ConvertTypes() +
                     "; found " + Quoted(text));
  }
  return {text.substr(0, equals), dtype};
}

// A text to calibrate with asks for a recipe that does so.
void ChooseRecipe(const std::string& name, ConvertOptions* convert) {
  const bool has_text = !convert->calibrate.empty();
  convert->recipe = has_text ? Recipe::kBalanced : Recipe::kFast;
  if (!name.empty()) ParseRecipe(name, &convert->recipe);
  if (has_text == (convert->recipe != Recipe::kFast)) return;
  throw UsageError(has_text ? "--calibrate goes with --recipe balanced or best"
                            : "--recipe " + name + " needs --calibrate TEXT: a text like those that "
                              "the model will read");
}

// A LoRA or a prefix: their numbers stay floats.
void RunAdapter(const Options& options, AdapterSource kind) {
  const ConvertOptions& convert = options.convert;
  if (!options.recipe.empty() || !convert.calibrate.empty() || !options.tensor_types.empty()) {
    throw UsageError("--recipe, --calibrate and --tensor-type are for models, not for adapters");
  }
  AdapterConvertOptions adapter;
  adapter.source = convert.source;
  adapter.write = convert.write;
  if (!options.type.empty()) {
    DType type = DType::kF32;
    ParseDType(options.type, &type);
    if (Info(type).block != 1) throw UsageError("--type of an adapter: expected f32, f16 or bf16");
    adapter.type = type;
  }
  std::unique_ptr<Model> base;
  if (kind == AdapterSource::kLora) {
    if (options.base.empty()) {
      throw UsageError("a LoRA needs --base MODEL, which says what its tensors are called");
    }
    ComputeOptions compute;
    compute.model = options.base;
    base = OpenModelOutline(compute);
    adapter.base = &base->file();
  } else if (!options.base.empty()) {
    throw UsageError("--base is for a LoRA; a prefix has its own config.json");
  }
  WriteWithProgress("converting", convert.write.output, [&](std::function<void(double)> progress) {
    adapter.write.progress = std::move(progress);
    ConvertAdapter(adapter);
  });
}

void Run(Options& options) {
  ConvertOptions& convert = options.convert;
  const AdapterSource kind = AdapterSourceOf(convert.source);
  if (kind != AdapterSource::kNone) {
    RefuseReplacingSource(convert.source, convert.write.output);
    return RunAdapter(options, kind);
  }
  if (!options.base.empty()) throw UsageError("--base is for a LoRA's folder");
  convert.has_type = !options.type.empty();
  if (convert.has_type) ParseDType(options.type, &convert.type);
  for (const std::string& text : options.tensor_types) {
    convert.tensor_types.push_back(ParseTensorType(text));
  }
  ChooseRecipe(options.recipe, &convert);
  RefuseReplacingSource(convert.source, convert.write.output);
  convert.warn = [](const std::string& text) { Note(text); };
  WriteWithProgress("converting", convert.write.output, [&](std::function<void(double)> progress) {
    convert.write.progress = std::move(progress);
    Convert(convert);
  });
}

}  // namespace

RunCommand SetUpConvert(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("SRC", options->convert.source,
                 "a .gguf file, a Hugging Face folder, a .safetensors, .bin or .glint file; or an\n"
                 "adapter: a PEFT folder of a LoRA, THUDM's folder of a P-Tuning prefix")
      ->required()
      ->option_text(" ");
  app.add_option("-o,--output", options->convert.write.output, "the file to write")
      ->required()
      ->option_text("OUT.glint");
  app.add_option("--type", options->type,
                 "numbers of the matrices: " + ConvertTypes() +
                     "\n(default: int4, or what the source is quantized to)")
      ->check(CLI::Validator(CheckConvertType, ""))
      ->option_text("TYPE");
  app.add_option("--tensor-type", options->tensor_types,
                 "another type for tensors whose name matches a pattern with * and ?;\n"
                 "may be repeated, the first match holds")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text("PATTERN=TYPE");
  app.add_option("--recipe", options->recipe,
                 "fast: looks at the weights alone; balanced: and at the inputs that they meet;\n"
                 "best: GPTQ, and better types for the matrices that need them\n"
                 "(default: fast; with --calibrate balanced)")
      ->check(CLI::IsMember({"fast", "balanced", "best"}).description(""))
      ->option_text("RECIPE");
  app.add_option("--calibrate", options->convert.calibrate,
                 "the text, or a NumPy file of token ids (windows, length)")
      ->option_text("TEXT");
  app.add_option("--calibrate-tokens", options->convert.calibrate_tokens,
                 "how many tokens of it are read; more is better and slower (default: 8192;\n"
                 "best: at least twice the widest input of a matrix)")
      ->check(WholeNumber(16, 1 << 24))
      ->option_text("N");
  app.add_option("--base", options->base,
                 "SRC is a LoRA's folder (PEFT): the model that it is for, in any form")
      ->option_text("MODEL");
  app.add_flag("--force", options->convert.write.overwrite, "replace the file if it exists");
  AddThreadsOption(app, &options->convert.write.threads);
  app.footer(
      "Recipe 'fast' needs little memory whatever the size of the model, the others some GiB for a 6B. "
      "The output appears complete or not at all.\n\n"
      "Examples:\n"
      "  glint convert ~/models/chatglm-6b -o chatglm-6b.glint\n"
      "  glint convert chatglm-6b -o best.glint --recipe best --calibrate book.txt\n"
      "  glint convert chatglm-6b -o mixed.glint --type int4 --tensor-type "
      "'layer.*.ffn_down.*=int8'\n"
      "  glint convert my-lora -o my-lora.glint --base llama.glint");
  return [options] { Run(*options); };
}

}  // namespace glint
