// glint embed: texts as vectors.
#include <iostream>

#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "lib/embedding.h"
#include "lib/error.h"

namespace glint {
namespace {

constexpr size_t kRowsTogether = 16;  // hidden states in memory

struct Options {
  ComputeOptions compute;
  std::optional<std::string> text;
  std::string pooling = "last";
  bool json = false, no_normalize = false;
};

// "[0.25,-1]": digits enough that every number reads back as the same f32.
std::string ListText(const std::vector<float>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) text += ',';
    text += Format("%.9g", static_cast<double>(values[i]));
  }
  return text + "]";
}

class Embedder {
 public:
  Embedder(const Model& model, const Options& options, const OpenAdapters& adapters)
      : model_(model), options_(options) {
    SessionOptions session = SessionOptionsFor(model, options.compute);
    session.output = SessionOutput::kHidden;
    session.max_outputs = kRowsTogether;
    session_ = std::make_unique<Session>(model, session);
    session_->SetAdapters(adapters.uses);
    embedding_.pooling = options.pooling == "mean" ? Pooling::kMean : Pooling::kLast;
    embedding_.normalize = !options.no_normalize;
  }

  void Write(const std::string& text) {
    const std::vector<int32_t> ids = model_.tokenizer()->EncodeWithSpecial(text);
    if (ids.size() > session_->context()) {
      throw Error(PromptTooLong(ids.size(), session_->context()));
    }
    std::vector<float> values;
    Expect(Embed(*session_, ids, embedding_, &values), model_);
    if (!options_.json) {
      Print(ListText(values) + "\n");
    } else {
      Print("{\"tokens\":" + std::to_string(ids.size()) + ",\"embedding\":" + ListText(values) +
            "}\n");
    }
    Flush();
  }

 private:
  const Model& model_;
  const Options& options_;
  std::unique_ptr<Session> session_;
  EmbeddingOptions embedding_;
};

void Run(const Options& options) {
  const std::unique_ptr<Model> model = OpenModel(options.compute);
  if (!model->tokenizer()) throw Error(options.compute.model + ": the model has no tokenizer");
  const OpenAdapters adapters = OpenAdaptersOf(*model, options.compute);
  Embedder embedder(*model, options, adapters);
  if (options.text) return embedder.Write(*options.text);
  std::string line;
  while (std::getline(std::cin, line)) embedder.Write(line);
}

}  // namespace

RunCommand SetUpEmbed(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  AddModelOption(app, &options->compute);
  app.add_option("-p,--prompt", options->text, "the text (default: each line of standard input)")
      ->option_text("TEXT");
  app.add_option("--pooling", options->pooling,
                 "the last token's hidden state (default), or the mean of all")
      ->check(CLI::IsMember({"last", "mean"}).description(""))
      ->option_text("POOLING");
  app.add_flag("--no-normalize", options->no_normalize,
               "as it is, not scaled to a Euclidean length of 1");
  app.add_flag("--json", options->json, "one JSON object a line: tokens, embedding");
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  app.footer(
      "Prints the model's final hidden state of a text, the input of its head, as a list of f32,\n"
      "one text a line. The same bits with any number of threads and any instruction set.\n\n"
      "Example:\n"
      "  glint embed builtin -p 'What is \"cat\" in Chinese?'");
  return [options] { Run(*options); };
}

}  // namespace glint
