// glint verify: reads every byte of a model file and compares checksums.
#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "lib/check_numbers.h"

namespace glint {

RunCommand SetUpVerify(CLI::App& app) {
  const auto options = std::make_shared<ComputeOptions>();
  const auto numbers = std::make_shared<bool>(false);
  AddModelOption(app, options.get());
  app.add_flag("--numbers", *numbers, "and look for numbers that are inf or nan, in every tensor");
  app.footer(
      "Checks the structure, the graph, the tokenizer and the checksum of every tensor. Prints "
      "one\n"
      "line and exits with status 0 if all is well.\n\n"
      "Example:\n"
      "  glint verify chatglm-6b.glint");
  return [options, numbers] {
    const std::unique_ptr<GlintFile> adapter = OpenAdapterFile(options->model);
    const std::unique_ptr<Model> model = adapter ? nullptr : OpenModel(options->model);
    const GlintFile& file = adapter ? *adapter : model->file();
    {
      ProgressBar bar("verifying");
      file.Verify(bar.Callback());
    }
    if (*numbers) {
      ProgressBar bar("looking at numbers");
      CheckNumbers(file, bar.Callback());
    }
    Print(OneLine(options->model) + ": ok, " + std::to_string(file.tensors().size()) + " tensors, " +
          std::to_string(file.bytes()) + " bytes\n");
  };
}

}  // namespace glint
