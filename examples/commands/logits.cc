// glint logits: what the model computes for every token of a prompt, as a NumPy file.
#include <exception>

#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "formats/output_file.h"
#include "lib/error.h"

namespace glint {
namespace {

constexpr size_t kRowsTogether = 16;  // logits in memory

struct Options {
  ComputeOptions compute;
  std::string ids, token_types, output;
  size_t chunk = 512;
  bool force = false;
};

// The head of a .npy file, version 1.0: magic, version, u16 length of the text, the text (a Python
// literal, padded with spaces so that the data is aligned to 64 bytes, ended by a newline).
std::string NpyHead(size_t rows, size_t cols) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) +
                     ", " + std::to_string(cols) + "), }";
  const size_t fixed = 10;
  text.append(63 - (fixed + text.size()) % 64, ' ');
  text += '\n';
  std::string head("\x93NUMPY\x01\x00", 8);
  head += static_cast<char>(text.size() & 0xFF);
  head += static_cast<char>(text.size() >> 8);
  return head + text;
}

void Run(const Options& options) {
  const std::vector<int64_t> ids = ParseIds(options.ids);
  const std::unique_ptr<Model> model = OpenModel(options.compute);
  if (!options.token_types.empty()) {
    throw Error("--token-types: " + options.compute.model + " has no token types");
  }
  SessionOptions session_options = SessionOptionsFor(*model, options.compute, ids.size());
  session_options.chunk = options.chunk;
  session_options.max_outputs = kRowsTogether;
  Session session(*model, session_options);
  const OpenAdapters adapters = OpenAdaptersOf(*model, options.compute);
  session.SetAdapters(adapters.uses);
  const std::vector<int32_t> prompt = CheckIds(ids, session, 0);

  const size_t cols = model->n_outputs(), row_bytes = cols * sizeof(float);
  const std::string head = NpyHead(prompt.size(), cols);
  OutputFile file(options.output, options.force);
  file.Resize(head.size() + prompt.size() * row_bytes);
  file.WriteAt(0, head.data(), head.size());
  // Running throws nothing, so what writing throws waits until it is over.
  std::exception_ptr failure;
  const auto write = [&](size_t begin, size_t n, const float* rows, size_t stride) {
    try {
      for (size_t i = 0; i < n && !failure; ++i) {
        file.WriteAt(head.size() + (begin + i) * row_bytes, rows + i * stride, row_bytes);
      }
    } catch (...) {
      failure = std::current_exception();
      session.Cancel();
    }
  };
  const OutputSink sink(write);
  const Status status = session.Start(prompt, &sink);
  if (failure) std::rethrow_exception(failure);
  Expect(status, *model);
  file.Commit();
}

}  // namespace

RunCommand SetUpLogits(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  AddModelOption(app, &options->compute);
  app.add_option("--ids", options->ids, "the prompt: token ids with commas between them")
      ->required()
      ->option_text("IDS");
  app.add_option("-o,--output", options->output, "the file to write")
      ->required()
      ->option_text("OUT.npy");
  app.add_option("--token-types", options->token_types,
                 "types of the tokens, for models that have them")
      ->option_text("TYPES");
  app.add_option("--chunk", options->chunk,
                 "tokens that pass together; changes no bit of the result [512]")
      ->check(WholeNumber(1, 1 << 24))
      ->option_text("N");
  app.add_flag("--force", options->force, "replace the file if it exists");
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  app.footer(
      "Writes the logits of every token as f32 (tokens, vocabulary) in NumPy's format: the same "
      "bytes\n"
      "with any number of threads, any chunk and any instruction set (GLINT_ISA).\n\n"
      "Example:\n"
      "  glint logits builtin --ids 5,2537,2540 -o logits.npy");
  return [options] { Run(*options); };
}

}  // namespace glint
