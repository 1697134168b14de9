#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "lib/sampler.h"
#include "lib/session.h"

// Options that several commands share, said once.
namespace glint {

// Options that are wrong by themselves or together: exit status 2 and a hint at --help.
class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const std::string& message) : std::runtime_error(message) {}
};

inline constexpr char kBuiltinName[] = "builtin";

// MODEL -t -c --kv --load --type --cache: what every command takes that computes.
struct ComputeOptions {
  std::string model;
  size_t threads = 0;  // 0: DefaultThreads()
  size_t context = 0;  // 0: the model's, at most kDefaultContext
  std::string kv;      // empty: DefaultKv()
  std::string load = "map";
  std::string type;    // of what is converted on opening; empty: as it is, or int4
  bool cache = false;  // keep what was converted
  std::vector<std::string> adapters{};  // FILE[=SCALE] (adapters.h)
};

// Adds MODEL, required unless `model_default` is given.
void AddModelOption(CLI::App& app, ComputeOptions* options, const char* model_default = nullptr);
// With `thread_list`, -t takes a list, which goes there, and options->threads stays as it is.
void AddComputeOptions(CLI::App& app, ComputeOptions* options,
                       std::vector<size_t>* thread_list = nullptr);
void AddThreadsOption(CLI::App& app, size_t* threads);

// Opens MODEL: a .glint file or "builtin". Throws Error.
std::unique_ptr<Model> OpenModel(const std::string& path, const std::string& load = "map");
// The same, or a GGUF file, a Hugging Face folder, a .safetensors or .bin file, which is converted.
std::unique_ptr<Model> OpenModel(const ComputeOptions& options);
// Without -c: at most so many tokens, for the cache of a model that was trained on many more would
// take all the memory that a small machine has.
inline constexpr size_t kDefaultContext = 8192;
// The whole file. Throws Error.
std::string ReadTextFile(const std::string& path);
// The first bytes, zeros behind the end; empty if it is no regular file that can be read.
std::string FileStart(const std::string& path, size_t bytes);
// Whether it is what has to be converted before it can run.
bool IsCheckpoint(const std::string& path);
// What it is without the numbers of matrices: all that sizes, plans and graphs need.
std::unique_ptr<Model> OpenModelOutline(const ComputeOptions& options);
// What -t -c --kv mean for this model. Without -c the context holds `needed` tokens too, as far as
// the model was trained on so many.
SessionOptions SessionOptionsFor(const Model& model, const ComputeOptions& options,
                                 size_t needed = 0);
// Notes that the model could do more than the default context.
void NoteDefaultContext(const Model& model, const ComputeOptions& options);

// --temp --top-p --top-k --repeat-penalty --seed -n --lookup: of the commands that write text.
struct SamplingOptions {
  SamplerOptions sampler;
  std::optional<uint64_t> seed;
  size_t max_tokens = 0;  // 0: what the context holds
  bool lookup = false;
};
void AddSamplingOptions(CLI::App& app, SamplingOptions* options);
// With a seed from the system where none was given.
SamplerOptions SamplerFor(const SamplingOptions& options);
// What both mean for a session that is to write text.
SessionOptions SessionOptionsFor(const Model& model, const ComputeOptions& options,
                                 const SamplingOptions& sampling, size_t needed = 0);

// Checks of option values: numbers within [low, high], written in decimal.
CLI::Validator WholeNumber(uint64_t low, uint64_t high = UINT64_MAX);
CLI::Validator RealNumber(double low, double high);
// A file that is there. CLI11's own takes names in the system's code page.
CLI::Validator ExistingFile();

// An option that takes numbers within [low, high] with commas between them: "128,512".
void AddListOption(CLI::App& app, const char* name, const char* help, std::vector<size_t>* list,
                   uint64_t low, uint64_t high);

// "1,2,3". Throws UsageError for what is no list of integers.
std::vector<int64_t> ParseIds(const std::string& text);
// The ids as the model takes them. Throws Error naming one that is outside the vocabulary, and if
// they and `more` further tokens are more than the context holds.
std::vector<int32_t> CheckIds(const std::vector<int64_t>& ids, const Session& session, size_t more);
// What the library says of a failure, and the option that helps.
std::string Explain(const std::exception& error);
// "the prompt has 3000 tokens; the context holds 2048 (-c raises it)"
std::string PromptTooLong(size_t tokens, size_t context);

// Throws Error if `output` is `source` or a file of that folder: it would destroy what is being read.
void RefuseReplacingSource(const std::string& source, const std::string& output);

// Throws Error unless the computation went well.
void Expect(Status status, const Model& model);

}  // namespace glint
