// glint generate: continues a text.
#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "lib/error.h"
#include "lib/generate.h"

namespace glint {
namespace {

// Of a prompt beyond the default context, without -n: so many tokens may follow at least.
constexpr size_t kReplyTokens = 1024;

struct Options {
  ComputeOptions compute;
  SamplingOptions sampling;
  std::string prompt;
  bool json = false;
};

void Run(const Options& options) {
  std::string prompt = options.prompt;
  if (prompt == "-") prompt = ReadAllInput();
  const std::unique_ptr<Model> model = OpenModel(options.compute);
  if (!model->tokenizer()) throw Error(options.compute.model + ": the model has no tokenizer");
  const std::vector<int32_t> ids = model->tokenizer()->EncodeWithSpecial(prompt);
  const size_t more = options.sampling.max_tokens != 0 ? options.sampling.max_tokens : kReplyTokens;
  Session session(*model, SessionOptionsFor(*model, options.compute, options.sampling,
                                            ids.size() + more));
  const OpenAdapters adapters = OpenAdaptersOf(*model, options.compute);
  session.SetAdapters(adapters.uses);
  if (ids.size() > session.context()) throw Error(PromptTooLong(ids.size(), session.context()));

  GenerateOptions generate;
  generate.sampler = SamplerFor(options.sampling);
  generate.max_tokens = options.sampling.max_tokens;
  generate.lookup = options.sampling.lookup;
  const bool terminal = StdoutIsTerminal();
  OnText show;
  if (!options.json) {
    show = [terminal](std::string_view piece) {
      Print(terminal ? ForTerminal(piece) : std::string(piece));
      Flush();
    };
  }
  const Reply reply = Generate(session, ids, generate, show);
  if (!options.json) Print("\n");
  if (reply.end == Reply::End::kError) Expect(reply.status, *model);
  if (!options.json) {
    if (reply.end == Reply::End::kContextFull) {
      Note("the context of " + std::to_string(session.context()) +
           " tokens is full (-c raises it)");
    }
    return;
  }
  nlohmann::ordered_json json = {
      {"text", reply.text},
      {"ids", reply.ids},
      {"end", Name(reply.end)},
      {"prompt_tokens", reply.prompt_tokens},
      {"prompt_tokens_per_s",
       PerSecond(reply.prompt_tokens - reply.kept_tokens, reply.prompt_seconds)},
      {"reply_tokens_per_s", PerSecond(reply.ids.size(), reply.reply_seconds)},
      {"seed", generate.sampler.seed}};
  if (generate.lookup) {
    json["lookup"] = {
        {"drafted", reply.drafted}, {"accepted", reply.accepted}, {"runs", reply.runs}};
  }
  PrintJson(json);
}

}  // namespace

RunCommand SetUpGenerate(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  AddModelOption(app, &options->compute);
  app.add_option("-p,--prompt", options->prompt, "the text to continue; - reads standard input")
      ->required()
      ->option_text("TEXT");
  app.add_flag("--json", options->json, "one JSON object with the text, ids and speeds");
  AddSamplingOptions(app, &options->sampling);
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  app.footer(
      "The text goes to the model as it is, with only the special tokens that its tokenizer adds; "
      "for\n"
      "questions and answers use glint chat.\n\n"
      "Example:\n"
      "  glint generate builtin -p 'What is \"cat\" in Chinese?' --temp 0");
  return [options] { Run(*options); };
}

}  // namespace glint
