// glint perplexity: how well a model foretells text, and how far it is from another one.
#include "lib/perplexity.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "formats/npy.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kRowsTogether = 64;    // logits in memory, of each model
constexpr size_t kDefaultWindow = 512;  // tokens

struct Options {
  ComputeOptions compute;
  std::string text, windows, base;
  size_t stride = 0;  // 0: half the window
  bool json = false;
};

std::string ReadText(const std::string& path) {
  return path == "-" ? ReadAllInput() : ReadTextFile(path);
}

// Both must see the same ids in the same frame, or their distributions are of different things.
void CheckBase(const Model& base, const WindowSet& set, const std::string& text) {
  if (TextPrefix(base) != set.prefix) {
    throw Error(base.file().path() + ": begins a text with other special ids than the model");
  }
  if (base.tokenizer() && base.tokenizer()->Encode(text) != set.ids) {
    throw Error(base.file().path() + ": its tokenizer gives other ids than the model's");
  }
}

WindowSet TextWindows(const Options& options, const Model& model, const Model* base) {
  if (!model.tokenizer()) {
    throw Error(options.compute.model + ": the model has no tokenizer; --windows takes ids");
  }
  const std::string text = ReadText(options.text);
  const size_t length =
      options.compute.context != 0
          ? options.compute.context
          : static_cast<size_t>(std::min<uint64_t>(model.max_context(), kDefaultWindow));
  const size_t stride = options.stride != 0 ? options.stride : std::max<size_t>(1, length / 2);
  WindowSet set =
      StridedWindows(options.text == "-" ? "standard input" : options.text, TextPrefix(model),
                     model.tokenizer()->Encode(text), length, stride);
  if (base) CheckBase(*base, set, text);
  return set;
}

WindowSet FileWindows(const Options& options, const Model& model) {
  IdMatrix matrix = ReadIdMatrix(options.windows, model.vocab_size());
  const uint64_t context =
      options.compute.context != 0 ? options.compute.context : model.max_context();
  if (matrix.cols > context) {
    throw Error(options.windows + ": windows of " + std::to_string(matrix.cols) +
                " tokens; the context holds " + std::to_string(context) + " (-c raises it)");
  }
  return RowWindows(options.windows, std::move(matrix.ids), matrix.rows, matrix.cols);
}

std::unique_ptr<Session> SessionFor(const Model& model, const ComputeOptions& options,
                                    size_t context) {
  SessionOptions session = SessionOptionsFor(model, options);
  session.context = context;
  session.max_outputs = kRowsTogether;
  return std::make_unique<Session>(model, session);
}

Json Report(const WindowSet& set, const TokenScores& scores) {
  const Mean nll = MeanOf(scores.nll);
  const double perplexity = std::exp(nll.mean);
  Json out = {{"perplexity", perplexity}, {"perplexity_stderr", perplexity * nll.error},
              {"nll", nll.mean},          {"nll_stderr", nll.error},
              {"tokens", set.n_scored},   {"windows", set.windows.size()},
              {"window", set.longest}};
  if (scores.kl.empty()) return out;
  const Mean kl = MeanOf(scores.kl), loss = MeanDifference(scores.nll, scores.base_nll);
  size_t same = 0;
  for (const uint8_t is_same : scores.same_top) same += is_same;
  out["kl_mean"] = kl.mean;
  out["kl_stderr"] = kl.error;
  out["kl_p99"] = Quantile(scores.kl, 0.99);
  out["kl_max"] = Quantile(scores.kl, 1);
  out["same_top"] = static_cast<double>(same) / static_cast<double>(set.n_scored);
  out["base_perplexity"] = std::exp(MeanOf(scores.base_nll).mean);
  out["perplexity_ratio"] = std::exp(loss.mean);
  out["nll_difference"] = loss.mean;
  out["nll_difference_stderr"] = loss.error;
  return out;
}

void PrintReport(const Json& report) {
  const auto number = [&](const char* key) { return report[key].get<double>(); };
  const auto with_error = [&](const char* value, const char* error) {
    return Format("%.5f +/- %.5f", number(value), number(error));
  };
  std::vector<std::vector<std::string>> rows = {
      {"perplexity", with_error("perplexity", "perplexity_stderr")},
      {"nll per token", with_error("nll", "nll_stderr")},
      {"tokens scored", report["tokens"].dump() + " in " + report["windows"].dump() +
                            " windows of up to " + report["window"].dump()}};
  if (report.contains("kl_mean")) {
    rows.push_back({"base's perplexity", Format("%.5f", number("base_perplexity"))});
    rows.push_back({"ratio to the base's", Format("%.5f   (nll ", number("perplexity_ratio")) +
                                               Format("%+.5f +/- %.5f)", number("nll_difference"),
                                                      number("nll_difference_stderr"))});
    rows.push_back({"KL from the base", with_error("kl_mean", "kl_stderr")});
    rows.push_back({"  99% are below", Format("%.5f", number("kl_p99"))});
    rows.push_back({"  greatest", Format("%.5f", number("kl_max"))});
    rows.push_back({"same likeliest token", Format("%.3f%%", 100 * number("same_top"))});
  }
  PrintColumns(rows, {});
}

void Run(const Options& options) {
  if (options.text.empty() == options.windows.empty()) {
    throw UsageError(options.text.empty() ? "-f or --windows is required"
                                          : "-f and --windows exclude each other");
  }
  if (options.stride != 0 && !options.windows.empty()) {
    throw UsageError("--stride and --windows exclude each other");
  }
  const std::unique_ptr<Model> model = OpenModel(options.compute);
  std::unique_ptr<Model> base;
  if (!options.base.empty()) {
    ComputeOptions other = options.compute;  // --type is MODEL's alone
    other.model = options.base;
    other.type.clear();
    base = OpenModel(other);
  }
  const WindowSet set = options.windows.empty() ? TextWindows(options, *model, base.get())
                                                : FileWindows(options, *model);
  const std::unique_ptr<Session> session = SessionFor(*model, options.compute, set.longest);
  const OpenAdapters adapters = OpenAdaptersOf(*model, options.compute);
  session->SetAdapters(adapters.uses);
  std::unique_ptr<Session> base_session;
  if (base) {
    ComputeOptions compute = options.compute;
    compute.kv.clear();  // the yardstick keeps its own
    base_session = SessionFor(*base, compute, set.longest);
  }
  Json report;
  {
    ProgressBar bar("reading " + std::to_string(set.windows.size()) + " windows");
    report = Report(set, ScoreWindows(*session, base_session.get(), set, bar.Callback()));
  }
  if (options.json) {
    PrintJson(report);
  } else {
    PrintReport(report);
  }
}

}  // namespace

RunCommand SetUpPerplexity(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  AddModelOption(app, &options->compute);
  app.add_option("-f,--file", options->text, "the text to read; - reads standard input")
      ->option_text("TEXT");
  app.add_option("--windows", options->windows,
                 "instead of a text: token ids, a NumPy array of i4 or i8\n(windows, length)")
      ->option_text("IDS.npy");
  app.add_option("--stride", options->stride,
                 "tokens from one window of the text to the next\n(default: half the window)")
      ->check(WholeNumber(1, kMaxContext))
      ->option_text("N");
  app.add_option("--base", options->base,
                 "another model of the same vocabulary: how far MODEL is\nfrom it (--adapter is MODEL's alone)")
      ->option_text("OTHER");
  app.add_flag("--json", options->json, "one JSON object");
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  app.get_option("--context")
      ->description("tokens of a window (default: the model's context, at most 512)");
  app.footer(
      "A text is read in windows that overlap, each from an empty cache: every token but the "
      "first\n"
      "counts once, in the first window that has it. Of the ids in IDS.npy all but the first of "
      "each\n"
      "window count. Errors (+/-) are standard errors, as if tokens were independent. With "
      "--base:\n"
      "the Kullback-Leibler divergence of the base's predictions from the model's, in nats; --kv is\n"
      "then MODEL's alone, so a cache can be measured against its better self.\n\n"
      "Examples:\n"
      "  glint perplexity model-int4.glint -f wikitext-2-test.txt\n"
      "  glint perplexity model-int4.glint -f text.txt -c 1024 --stride 512 --base "
      "model-f16.glint\n"
      "  glint perplexity model.glint --windows windows.npy --json");
  return [options] { Run(*options); };
}

}  // namespace glint
