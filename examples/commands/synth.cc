// glint synth: a model of a published shape with random weights, for benchmarks.
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "examples/commands/options.h"
#include "examples/commands/written.h"

namespace glint {

RunCommand SetUpSynth(CLI::App& app) {
  const auto request = std::make_shared<SynthRequest>();
  app.add_option("SHAPE", request->shape, "a published shape: chatglm-6b, llama-7b")
      ->required()
      ->option_text(" ");
  app.add_option("-o,--output", request->output, "the file to write")
      ->required()
      ->option_text("OUT.glint");
  app.add_option("--type", request->type, "numbers of the matrices: " + ConvertTypes() + " [int4]")
      ->check(CLI::Validator(CheckConvertType, ""))
      ->option_text("TYPE");
  app.add_option("--seed", request->seed, "the same seed gives the same file [1]")
      ->check(WholeNumber(0))
      ->option_text("S");
  app.add_flag("--force", request->overwrite, "replace the file if it exists");
  AddThreadsOption(app, &request->threads);
  app.footer(
      "Example:\n"
      "  glint synth chatglm-6b -o synth.glint && glint bench synth.glint");
  return [request] {
    WriteWithProgress("writing", request->output, [&](std::function<void(double)> progress) {
      request->progress = std::move(progress);
      SynthesizeModel(*request);
    });
  };
}

}  // namespace glint
