// glint bench: how fast a model runs here, and how much of the machine that is.
#include <algorithm>

#include "examples/commands/bench_measure.h"
#include "examples/commands/bench_report.h"
#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "examples/commands/interrupt.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "lib/system/file.h"

namespace glint {
namespace {

struct Options {
  ComputeOptions compute;
  std::string shape;
  std::vector<size_t> prompts = {512};
  std::vector<size_t> depths;   // empty: the prompts
  std::vector<size_t> threads;  // empty: DefaultThreads()
  size_t tokens = 64;
  size_t repeat = 0;  // 0: MeasurePrefill's default
  bool profile = false;
  bool json = false;
};

// A synthesized model's file. On disk only until it is opened.
class TemporaryModel {
 public:
  TemporaryModel(const std::string& shape, size_t threads) {
    path_ = JoinPath(TemporaryFolder(), "glint-bench-" + std::to_string(ProcessId()) + ".glint");
    const InterruptScope interrupts;
    ProgressBar bar("writing random weights");
    SynthRequest request;
    request.shape = shape;
    request.output = path_;
    request.threads = threads;
    request.progress = [&](double share) {
      if (InterruptScope::Count() != 0) throw Interrupted();
      bar.Update(share);
    };
    SynthesizeModel(request);
  }
  ~TemporaryModel() { Remove(); }
  TemporaryModel(const TemporaryModel&) = delete;
  const std::string& path() const { return path_; }
  void Remove() const { RemoveFile(path_); }

 private:
  std::string path_;
};

// The sweep of one number of threads. Row i is the prompt i and the decoding at depth i; where one
// list is shorter, the row has only the other. Peaks stand between the rows, so that each row has
// one on both sides.
void Sweep(const Options& options, const Model& model, double open_seconds, size_t threads,
           std::vector<nlohmann::ordered_json>* out) {
  const double start = Now();
  SessionOptions session_options = SessionOptionsFor(model, options.compute);
  if (threads != 0) session_options.threads = threads;
  const std::vector<size_t>& prompts = options.prompts;
  const std::vector<size_t>& depths = options.depths.empty() ? prompts : options.depths;
  for (const std::vector<size_t>* lengths : {&prompts, &depths}) {
    const size_t longest = *std::max_element(lengths->begin(), lengths->end());
    session_options.context = std::max(session_options.context, longest + options.tokens);
  }
  Session session(model, session_options);
  const OpenAdapters adapters = OpenAdaptersOf(model, options.compute);
  session.SetAdapters(adapters.uses);
  Measurement row;
  row.threads = session.pool().size();
  row.load_ms = (open_seconds + Now() - start) * 1000;

  RandomIds ids(model);
  row.first_token_ms = FirstTokenSeconds(session, ids) * 1000;
  row.after = MeasurePeaks(session.kernels(), session.pool(), model.file());
  for (size_t i = 0; i < std::max(prompts.size(), depths.size()); ++i) {
    row.before = row.after;
    row.prefill.reset();
    row.decode.reset();
    if (i < prompts.size()) {
      row.prefill = MeasurePrefill(session, ids, prompts[i], options.repeat, options.profile);
    }
    if (i < depths.size()) {
      row.decode = MeasureDecode(session, ids, depths[i], options.tokens, options.profile);
    }
    row.anonymous_mib = AnonymousMib();
    row.after = MeasurePeaks(session.kernels(), session.pool(), model.file());
    out->push_back(MeasurementJson(row, session, options.compute.load));
  }
}

void Run(const Options& options) {
  if (options.compute.model.empty() == options.shape.empty()) {
    throw UsageError(options.shape.empty() ? "MODEL or --shape is required"
                                           : "MODEL and --shape exclude each other");
  }
  const std::vector<size_t> threads =
      options.threads.empty() ? std::vector<size_t>{0} : options.threads;
  std::unique_ptr<TemporaryModel> temporary;
  if (!options.shape.empty()) {
    temporary = std::make_unique<TemporaryModel>(options.shape, threads[0]);
  }
  const double start = Now();
  const std::unique_ptr<Model> model = temporary
                                           ? OpenModel(temporary->path(), options.compute.load)
                                           : OpenModel(options.compute);
  const double open_seconds = Now() - start;
  // The open file lives on, and a killed bench leaves nothing. Windows keeps it until the bench ends.
  if (temporary) temporary->Remove();
  std::vector<nlohmann::ordered_json> measurements;
  for (const size_t n : threads) Sweep(options, *model, open_seconds, n, &measurements);
  if (options.json) {
    PrintJson(measurements.size() == 1 ? measurements[0] : nlohmann::ordered_json(measurements));
  } else {
    PrintMeasurements(measurements, *model);
  }
}

}  // namespace

RunCommand SetUpBench(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("MODEL", options->compute.model, "a .glint or .gguf file, a Hugging Face folder, or\n'builtin'")->option_text(" ");
  app.add_option("--shape", options->shape,
                 "instead of MODEL: random weights in a published shape (chatglm-6b,\n"
                 "llama-7b), in a temporary file")
      ->option_text("SHAPE");
  AddListOption(app, "-p,--prompt", "tokens of the prompt [512]", &options->prompts, 3, 1 << 20);
  AddListOption(app, "-d,--depth", "decode after so many tokens of context [as -p]",
                &options->depths, 3, 1 << 20);
  app.add_option("-n,--tokens", options->tokens, "tokens to decode at each depth [64]")
      ->check(WholeNumber(1, 1 << 20))
      ->option_text("N");
  app.add_option("-r,--repeat", options->repeat,
                 "runs of each prompt (default: 3, no further one after 30 s)")
      ->check(WholeNumber(1, 1000))
      ->option_text("N");
  app.add_flag("--profile", options->profile, "where the time goes, op by op");
  app.add_flag("--json", options->json, "one JSON object; a list of them for a sweep");
  AddComputeOptions(app, &options->compute, &options->threads);
  AddAdapterOption(app, &options->compute);
  app.footer(
      "Prefill is the median run (with the slowest and the fastest), decode the median token\n"
      "(with the quartiles). Lists (-p 128,512 -t 1,2) make a sweep: a row for each prompt and\n"
      "depth. The shares compare with what this machine does at most with the same threads: int8\n"
      "multiply-adds on registers, and reading 1 GiB of memory; both are measured before and after\n"
      "each row, and the greater counts.\n\n"
      "Examples:\n"
      "  glint bench chatglm-6b.glint\n"
      "  glint bench chatglm-6b.glint -p 256,512,2048 -n 32 -t 1,2\n"
      "  glint bench --shape chatglm-6b -p 2048 --profile --json");
  return [options] { Run(*options); };
}

}  // namespace glint
