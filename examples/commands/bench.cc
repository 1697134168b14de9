// glint bench: how fast a model runs here, and how much of the machine that is.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "examples/commands/interrupt.h"
#include "examples/commands/machine_peaks.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "lib/error.h"
#include "simd/cpu_info.h"

namespace glint {
namespace {

constexpr int kPrefillRuns = 3;
constexpr double kPrefillSeconds = 30;  // no further run after so long

struct Options {
  ComputeOptions compute;
  std::string shape;
  size_t prompt = 512, tokens = 64;
  bool json = false;
};

struct Results {
  MachinePeaks peaks;
  double load_ms = 0;
  double prefill_seconds = 0, token_seconds = 0;  // best run; median token
  double prefill_macs = 0, token_bytes = 0;
  double anonymous_mib = 0;
};

// A synthesized model's file. On disk only until it is opened.
class TemporaryModel {
 public:
  TemporaryModel(const std::string& shape, size_t threads) {
    const char* folder = std::getenv("TMPDIR");
    path_ = (std::filesystem::path(folder && *folder ? folder : "/tmp") /
             ("glint-bench-" + std::to_string(getpid()) + ".glint"))
                .string();
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
  void Remove() const {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

 private:
  std::string path_;
};

double AnonymousMib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::atof(line.c_str() + 8) / 1024;
  }
  return 0;
}

// Ids that stand for text: any but the special ones.
class RandomIds {
 public:
  explicit RandomIds(const Model& model) : model_(model) {}
  int32_t Next() {
    for (int tries = 0;; ++tries) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      const auto id = static_cast<int32_t>((state_ >> 33) % model_.vocab_size());
      const PromptIds& ids = model_.prompt_ids();
      const bool special = id == ids.mask || id == ids.gmask || id == ids.sop || id == ids.eop;
      if (!special || tries == 100) return id;
    }
  }
  std::vector<int32_t> Prompt(size_t n) {
    std::vector<int32_t> prompt(n);
    for (int32_t& id : prompt) id = Next();
    if (model_.prompt_ids().gmask >= 0 && model_.prompt_ids().sop >= 0) {
      prompt[n - 2] = model_.prompt_ids().gmask;
      prompt[n - 1] = model_.prompt_ids().sop;
    }
    return prompt;
  }

 private:
  const Model& model_;
  uint64_t state_ = 1;
};

void MeasurePrefill(Session& session, RandomIds& ids, size_t n, Results* results) {
  const std::vector<int32_t> prompt = ids.Prompt(n);
  const Model& model = session.model();
  results->prefill_macs =
      static_cast<double>(model.cost().linear_parameters - model.cost().head_parameters) *
          static_cast<double>(n) +
      static_cast<double>(model.cost().head_parameters);
  const double begin = Now();
  for (int run = 0; run < kPrefillRuns && (run == 0 || Now() - begin < kPrefillSeconds); ++run) {
    const double start = Now();
    Expect(session.Start(prompt), model);
    const double seconds = Now() - start;
    results->prefill_seconds = run == 0 ? seconds : std::min(results->prefill_seconds, seconds);
  }
}

void MeasureDecode(Session& session, RandomIds& ids, size_t n, Results* results) {
  const size_t length = session.length();
  std::vector<double> seconds(n);
  for (double& token : seconds) {
    const double start = Now();
    Expect(session.Append(ids.Next()), session.model());
    token = Now() - start;
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<ptrdiff_t>(n / 2), seconds.end());
  results->token_seconds = seconds[n / 2];
  // A token reads the cache of all before it; the capacity is rounded up to whole blocks of keys.
  const size_t capacity = (session.context() + kKeyBlock - 1) / kKeyBlock * kKeyBlock;
  const double per_token =
      static_cast<double>(session.cache_bytes()) / static_cast<double>(capacity);
  results->token_bytes = static_cast<double>(session.model().cost().decode_bytes) +
                         per_token * (static_cast<double>(length) + static_cast<double>(n) / 2);
}

uint64_t Parameters(const GlintFile& file) {
  uint64_t parameters = 0;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    if (tensor.name.starts_with("tokenizer.") || !file.TiedTo(i).empty()) continue;
    uint64_t elements = 1;
    for (const uint64_t n : tensor.shape) elements *= n;
    parameters += elements;
  }
  return parameters;
}

// Numbers to six digits or so: what a stopwatch gives, without the noise after.
nlohmann::ordered_json Number(double value) {
  return std::stod(Format("%.6g", value));
}

nlohmann::ordered_json Report(const Options& options, Session& session, const Results& r) {
  const GlintFile& file = session.model().file();
  const double prefill_gmac = r.prefill_macs / r.prefill_seconds * 1e-9;
  const double decode_gb = r.token_bytes / r.token_seconds * 1e-9;
  return {{"machine",
           {{"cpu", CpuModelName()},
            {"isa", session.kernels().isa},
            {"threads", session.pool().size()},
            {"read_gb_per_s", Number(r.peaks.read_gb_per_s)},
            {"dot_gmac_per_s", Number(r.peaks.dot_gmac_per_s)}}},
          {"model",
           {{"name", MetadataText(file, "name")},
            {"type", MetadataText(file, "recipe")},
            {"bytes", file.bytes()},
            {"parameters", Parameters(file)}}},
          {"load_ms", Number(r.load_ms)},
          {"prefill",
           {{"tokens", options.prompt},
            {"tokens_per_s", Number(static_cast<double>(options.prompt) / r.prefill_seconds)},
            {"gmac_per_s", Number(prefill_gmac)},
            {"share_of_dot_peak", Number(prefill_gmac / r.peaks.dot_gmac_per_s)}}},
          {"decode",
           {{"tokens", options.tokens},
            {"context", options.prompt},
            {"tokens_per_s", Number(1 / r.token_seconds)},
            {"gb_per_s", Number(decode_gb)},
            {"share_of_bandwidth", Number(decode_gb / r.peaks.read_gb_per_s)}}},
          {"anonymous_mib", Number(r.anonymous_mib)}};
}

bool HasFloatMatrices(const Model& model) {
  for (const Node& node : model.graph().nodes) {
    if (node.op == "linear" && Info(model.file().Find(node.inputs[1])->dtype).block == 1)
      return true;
  }
  return false;
}

void PrintReport(const nlohmann::ordered_json& r, const Model& model) {
  const auto number = [](const nlohmann::ordered_json& value, int digits) {
    return Format("%.*f", digits, value.get<double>());
  };
  const auto share = [](const nlohmann::ordered_json& value) {
    return Format("%.0f%%", 100 * value.get<double>());
  };
  const auto text = [](const nlohmann::ordered_json& value) {
    return OneLine(value.get<std::string>());
  };
  const auto& machine = r["machine"];
  const auto& prefill = r["prefill"];
  const auto& decode = r["decode"];
  Print("machine  " + text(machine["cpu"]) + ", " + text(machine["isa"]) + ", " +
        machine["threads"].dump() + " threads; reads " + number(machine["read_gb_per_s"], 1) +
        " GB/s, int8 dots " + number(machine["dot_gmac_per_s"], 0) + " GMAC/s\n");
  Print("model    " + text(r["model"]["name"]) + ", " + text(r["model"]["type"]) + ", " +
        HumanBytes(r["model"]["bytes"]) + ", " + HumanCount(r["model"]["parameters"]) +
        " parameters; ready after " + number(r["load_ms"], 1) + " ms\n");
  Print("prefill  " + number(prefill["tokens_per_s"], 1) + " tokens/s (" +
        prefill["tokens"].dump() + " tokens), " + number(prefill["gmac_per_s"], 1) +
        " GMAC/s: " + share(prefill["share_of_dot_peak"]) + " of the int8 dot peak\n");
  Print("decode   " + number(decode["tokens_per_s"], 2) + " tokens/s (at " +
        decode["context"].dump() + " tokens of context), " + number(decode["gb_per_s"], 1) +
        " GB/s: " + share(decode["share_of_bandwidth"]) + " of the read bandwidth\n");
  Print("memory   " + number(r["anonymous_mib"], 1) + " MiB of its own, beside the file's pages\n");
  if (HasFloatMatrices(model)) {
    Note("the model has float matrices, which the int8 dot peak says little about");
  }
}

void Run(const Options& options) {
  if (options.compute.model.empty() == options.shape.empty()) {
    throw UsageError(options.shape.empty() ? "MODEL or --shape is required"
                                           : "MODEL and --shape exclude each other");
  }
  std::unique_ptr<TemporaryModel> temporary;
  if (!options.shape.empty()) {
    temporary = std::make_unique<TemporaryModel>(options.shape, options.compute.threads);
  }
  Results results;
  const double start = Now();
  const std::unique_ptr<Model> model =
      OpenModel(temporary ? temporary->path() : options.compute.model, options.compute.load);
  if (temporary) temporary->Remove();  // the open file lives on; a killed bench leaves nothing
  SessionOptions session_options = SessionOptionsFor(*model, options.compute);
  session_options.context = std::max(session_options.context, options.prompt + options.tokens);
  Session session(*model, session_options);
  results.load_ms = (Now() - start) * 1000;

  RandomIds ids(*model);
  MeasurePrefill(session, ids, options.prompt, &results);
  MeasureDecode(session, ids, options.tokens, &results);
  results.anonymous_mib = AnonymousMib();
  results.peaks = MeasurePeaks(session.kernels(), session.pool());
  const nlohmann::ordered_json report = Report(options, session, results);
  options.json ? PrintJson(report) : PrintReport(report, *model);
}

}  // namespace

RunCommand SetUpBench(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("MODEL", options->compute.model, "a .glint file, or 'builtin'")->option_text(" ");
  app.add_option("--shape", options->shape,
                 "instead of MODEL: random weights in a published shape (chatglm-6b),\n"
                 "in a temporary file")
      ->option_text("SHAPE");
  app.add_option("-p,--prompt", options->prompt, "tokens of the prompt [512]")
      ->check(WholeNumber(3, 1 << 20))
      ->option_text("N");
  app.add_option("-n,--tokens", options->tokens, "tokens to decode after it [64]")
      ->check(WholeNumber(1, 1 << 20))
      ->option_text("N");
  app.add_flag("--json", options->json, "one JSON object");
  AddComputeOptions(app, &options->compute);
  app.footer(
      "Prefill is the best of three runs, decode the median token at that context. The shares "
      "compare\n"
      "them with what this machine does at most with the same threads, measured in the same run: "
      "int8\n"
      "multiply-adds on registers, and reading 1 GiB of memory.\n\n"
      "Examples:\n"
      "  glint bench chatglm-6b.glint\n"
      "  glint bench --shape chatglm-6b -p 2048 --json");
  return [options] { Run(*options); };
}

}  // namespace glint
