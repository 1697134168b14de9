// glint greedy: the likeliest token again and again, as ids. What tests compare with goldens.
#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "lib/error.h"

namespace glint {
namespace {

struct Options {
  ComputeOptions compute;
  std::string ids;
  size_t n = 0;
};

void Run(const Options& options) {
  const std::vector<int64_t> ids = ParseIds(options.ids);
  const std::unique_ptr<Model> model = OpenModel(options.compute);
  Session session(*model, SessionOptionsFor(*model, options.compute, ids.size() + options.n - 1));
  const OpenAdapters adapters = OpenAdaptersOf(*model, options.compute);
  session.SetAdapters(adapters.uses);
  // The last token is chosen, not computed with.
  Expect(session.Start(CheckIds(ids, session, options.n - 1)), *model);
  std::string line;
  for (size_t i = 0; i < options.n; ++i) {
    const int32_t id = Sampler::Greedy(session.logits());
    line += (i == 0 ? "" : ",") + std::to_string(id);
    if (i + 1 == options.n) break;
    if (static_cast<uint64_t>(id) >= model->vocab_size()) {
      throw Error(options.compute.model + ": the model chose id " + std::to_string(id) +
                  ", which its embedding lacks");
    }
    Expect(session.Append(id), *model);
  }
  Print(line + "\n");
}

}  // namespace

RunCommand SetUpGreedy(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  AddModelOption(app, &options->compute);
  app.add_option("--ids", options->ids, "the prompt: token ids with commas between them")
      ->required()
      ->option_text("IDS");
  app.add_option("-n,--tokens", options->n, "tokens to choose")
      ->required()
      ->check(WholeNumber(1, 1 << 24))
      ->option_text("N");
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  app.footer(
      "Prints the ids of the N likeliest tokens that follow, comma-separated. Does not stop where "
      "the\n"
      "model would end its reply.\n\n"
      "Example:\n"
      "  glint greedy builtin --ids 5,2537,2540 -n 8");
  return [options] { Run(*options); };
}

}  // namespace glint
