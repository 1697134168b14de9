#include "examples/commands/options.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <string_view>

#include "examples/commands/builtin.h"
#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "formats/mapped_file.h"
#include "formats/output_file.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/system/file.h"
#include "lib/text/parse_float.h"

namespace glint {
namespace {

// The value of all of `text`, false if it has another form or does not fit.
template <class T>
bool ParseAll(const std::string& text, T* value) {
  const char* const end = text.data() + text.size();
  std::from_chars_result result;
  if constexpr (std::is_floating_point_v<T>) {
    result = ParseFloat(text.data(), end, *value);
  } else {
    result = std::from_chars(text.data(), end, *value);
  }
  return result.ec == std::errc() && result.ptr == end;
}

// The numbers of "128,512"; empty if `text` has another form or one is not within [low, high].
std::vector<size_t> ParseList(const std::string& text, uint64_t low, uint64_t high) {
  std::vector<size_t> list;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    uint64_t value = 0;
    if (!ParseAll(text.substr(begin, end - begin), &value) || value < low || value > high) return {};
    list.push_back(value);
    begin = end + 1;
  }
  return list;
}

void RefuseType(const ComputeOptions& options) {
  if (options.type.empty()) return;
  throw UsageError("--type is for GGUF files and Hugging Face folders; what a .glint file holds "
                   "is settled (glint convert makes another)");
}

}  // namespace

std::string ReadTextFile(const std::string& path) {
  const MappedFile file(path);
  std::string text(static_cast<size_t>(file.bytes()), '\0');
  file.ReadAt(0, text.data(), text.size());
  return text;
}

std::string FileStart(const std::string& path, size_t bytes) {
  // A pipe would lose what is read of it.
  const FileState state = StateOf(path);
  SystemFile file;
  if (state.kind != FileKind::kRegular || !file.OpenToRead(path)) return "";
  std::string start(bytes, '\0');
  file.ReadAt(0, start.data(), bytes);
  return start;
}

bool IsCheckpoint(const std::string& path) {
  if (IsFolder(path)) return true;
  const std::string start = FileStart(path, 6);
  if (start.empty()) return false;
  if (start.starts_with("GGUF")) return true;
  for (const char* ending : {".bin", ".safetensors", ".pt", ".pth", ".ckpt", ".gguf"}) {
    if (path.ends_with(ending)) return start != "\x89GLINT";
  }
  return false;
}

CLI::Validator WholeNumber(uint64_t low, uint64_t high) {
  return CLI::Validator(
      [low, high](std::string& text) {
        uint64_t value = 0;
        if (ParseAll(text, &value) && value >= low && value <= high) return std::string();
        return "expected a whole number from " + std::to_string(low) + " to " +
               std::to_string(high) + ", found " + Quoted(text);
      },
      "");
}

CLI::Validator ExistingFile() {
  return CLI::Validator(
      [](std::string& path) {
        const FileKind kind = StateOf(path).kind;
        if (kind == FileKind::kNone) return "File does not exist: " + path;
        return kind == FileKind::kFolder ? "File is actually a directory: " + path : std::string();
      },
      "");
}

CLI::Validator RealNumber(double low, double high) {
  return CLI::Validator(
      [low, high](std::string& text) {
        double value = 0;
        if (ParseAll(text, &value) && value >= low && value <= high) return std::string();
        return Format("expected a number from %g to %g, found ", low, high) + Quoted(text);
      },
      "");
}

void AddListOption(CLI::App& app, const char* name, const char* help, std::vector<size_t>* list,
                   uint64_t low, uint64_t high) {
  const auto check = [low, high](std::string& text) {
    if (!ParseList(text, low, high).empty()) return std::string();
    return "expected whole numbers from " + std::to_string(low) + " to " + std::to_string(high) +
           " with commas between them, found " + Quoted(text);
  };
  app.add_option_function<std::string>(
         name,
         [list, low, high](const std::string& text) { *list = ParseList(text, low, high); }, help)
      ->check(CLI::Validator(check, ""))
      ->option_text("N,...");
}

void AddModelOption(CLI::App& app, ComputeOptions* options, const char* model_default) {
  std::string help =
      "a .glint or .gguf file, a Hugging Face folder, or 'builtin' for the\nbuilt-in model";
  CLI::Option* model = app.add_option("MODEL", options->model, "");
  if (model_default) {
    options->model = model_default;
    help += " (the default)";
  } else {
    model->required();
  }
  model->description(help)->option_text(" ");
}

void AddThreadsOption(CLI::App& app, size_t* threads) {
  app.add_option("-t,--threads", *threads, "threads (default: the physical performance cores)")
      ->check(WholeNumber(1, kMaxThreads))
      ->option_text("THREADS");
}

void AddComputeOptions(CLI::App& app, ComputeOptions* options, std::vector<size_t>* thread_list) {
  if (thread_list) {
    AddListOption(app, "-t,--threads", "threads (default: the physical performance cores)",
                  thread_list, 1, kMaxThreads);
  } else {
    AddThreadsOption(app, &options->threads);
  }
  app.add_option("-c,--context", options->context,
                 "tokens of prompt and reply together (default: the model's, at most 8192,\n"
                 "or what the input needs)")
      ->check(WholeNumber(1, kMaxContext))
      ->option_text("CONTEXT");
  app.add_option("--kv", options->kv, "key-value cache: f32, f16 or int8 (default: f16; f32 for f32 models)")
      ->check(CLI::IsMember({"f32", "f16", "int8"}).description(""))
      ->option_text("TYPE");
  app.add_option("--load", options->load, "map the file (default) or copy it into private memory")
      ->check(CLI::IsMember({"map", "copy"}).description(""))
      ->option_text("MODE");
  app.add_option("--type", options->type,
                 "of a GGUF file or folder: convert its matrices to int8, int4, ... (default: a\n"
                 "GGUF file as it is, floats of a folder to int4)")
      ->option_text("TYPE");
  app.add_flag("--cache", options->cache,
               "keep what is converted in the user's cache folder: the next start is instant");
}

std::unique_ptr<Model> OpenModel(const std::string& path, const std::string& load) {
  if (path == kBuiltinName) {
    const std::span<const uint8_t> file = BuiltinModel();
    if (file.empty()) {
      throw Error("this build has no built-in model: name a .glint file (glint chat MODEL)");
    }
    return Model::FromMemory(file.data(), file.size(), kBuiltinName);
  }
  if (IsCheckpoint(path)) {
    throw Error(path + ": a checkpoint, not a .glint file: convert it first (glint convert " +
                path + " -o MODEL.glint)");
  }
  return Model::Open(path, load == "copy" ? LoadMode::kCopy : LoadMode::kMap);
}

std::unique_ptr<Model> OpenModel(const ComputeOptions& options) {
  if (options.model != kBuiltinName && IsCheckpoint(options.model)) {
    return OpenDirectly({options.model, options.type, options.threads, options.cache});
  }
  RefuseType(options);
  return OpenModel(options.model, options.load);
}

std::unique_ptr<Model> OpenModelOutline(const ComputeOptions& options) {
  if (options.model != kBuiltinName && IsCheckpoint(options.model)) {
    return OpenOutline({options.model, options.type, options.threads, options.cache});
  }
  RefuseType(options);
  return OpenModel(options.model);
}

SessionOptions SessionOptionsFor(const Model& model, const ComputeOptions& options,
                                 size_t needed) {
  SessionOptions session;
  const uint64_t enough = std::max(kDefaultContext, needed);
  session.context = options.context != 0 ? options.context : std::min(model.max_context(), enough);
  session.threads = options.threads != 0 ? options.threads : DefaultThreads();
  session.kv = DefaultKv(model);
  if (!options.kv.empty()) ParseKvType(options.kv, &session.kv);
  return session;
}

void NoteDefaultContext(const Model& model, const ComputeOptions& options) {
  if (options.context != 0 || model.max_context() <= kDefaultContext) return;
  Note("a context of " + std::to_string(kDefaultContext) + " tokens; the model was trained on " +
       std::to_string(model.max_context()) + " (-c N takes more, and more memory)");
}

void AddSamplingOptions(CLI::App& app, SamplingOptions* options) {
  SamplerOptions& sampler = options->sampler;
  app.add_option("-n,--tokens", options->max_tokens,
                 "at most so many tokens of reply (default: what the context holds)")
      ->check(WholeNumber(1, kMaxContext))
      ->option_text("N");
  app.add_option("--temp", sampler.temperature, "temperature; 0: always the likeliest token")
      ->check(RealNumber(0.0, 100.0))
      ->option_text("T [0.95]");
  app.add_option("--top-p", sampler.top_p, "choose among the likeliest with this much probability")
      ->check(RealNumber(1e-6, 1.0))
      ->option_text("P [0.7]");
  app.add_option("--top-k", sampler.top_k, "choose among so many of the likeliest; 0: all")
      ->check(WholeNumber(0, UINT32_MAX))
      ->option_text("K [50]");
  app.add_option("--repeat-penalty", sampler.repetition_penalty,
                 "above 1: makes tokens that occurred less likely")
      ->check(RealNumber(0.01, 100.0))
      ->option_text("X [1]");
  app.add_option("--seed", options->seed, "the same seed gives the same reply (default: random)")
      ->check(WholeNumber(0))
      ->option_text("S");
  app.add_flag("--lookup", options->lookup,
               "draft from the text so far and verify several tokens at once: the same text, "
               "faster where it repeats itself");
}

SamplerOptions SamplerFor(const SamplingOptions& options) {
  SamplerOptions sampler = options.sampler;
  // Seeds stay below 2^53, so that every JSON reader can hand them back.
  std::random_device device;
  sampler.seed = options.seed ? *options.seed
                              : (uint64_t{device()} << 32 | device()) & ((uint64_t{1} << 53) - 1);
  return sampler;
}

SessionOptions SessionOptionsFor(const Model& model, const ComputeOptions& options,
                                 const SamplingOptions& sampling, size_t needed) {
  SessionOptions session = SessionOptionsFor(model, options, needed);
  if (sampling.lookup) session.max_batch = kLookupBatch;
  return session;
}

std::vector<int64_t> ParseIds(const std::string& text) {
  std::vector<int64_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    while (at != end && *at == ' ') ++at;
    int64_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    at = next;
    while (at != end && *at == ' ') ++at;
    if (error != std::errc() || (at != end && *at != ',')) {
      throw UsageError(
          "--ids: expected integers with commas between them, such as 5,64286; found " +
          Quoted(text));
    }
    ids.push_back(id);
    if (at == end) return ids;
    ++at;
  }
}

std::vector<int32_t> CheckIds(const std::vector<int64_t>& ids, const Session& session,
                              size_t more) {
  const uint64_t vocabulary = session.model().vocab_size();
  std::vector<int32_t> checked;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<uint64_t>(ids[i]) >= vocabulary) {
      throw Error("--ids: id " + std::to_string(ids[i]) + " at index " + std::to_string(i) +
                  " is outside the vocabulary of " + std::to_string(vocabulary));
    }
    checked.push_back(static_cast<int32_t>(ids[i]));
  }
  const size_t context = session.context();
  if (ids.size() > context) throw Error(PromptTooLong(ids.size(), context));
  if (more > context - ids.size()) {
    throw Error("the prompt has " + std::to_string(ids.size()) + " tokens and " +
                std::to_string(more) + " more are to follow; the context holds " +
                std::to_string(context) + " (-c raises it)");
  }
  return checked;
}

std::string Explain(const std::exception& error) {
  const bool context_is_short = dynamic_cast<const DoesNotFit*>(&error);
  return std::string(error.what()) + (context_is_short ? " (-c raises it)" : "");
}

std::string PromptTooLong(size_t tokens, size_t context) {
  return "the prompt has " + std::to_string(tokens) + " tokens; the context holds " +
         std::to_string(context) + " (-c raises it)";
}

void RefuseReplacingSource(const std::string& source, const std::string& output) {
  bool same = SameFile(source, output);
  std::vector<std::string> names;
  if (IsFolder(source) && ListFolder(source, &names)) {
    for (const std::string& name : names) same = same || SameFile(JoinPath(source, name), output);
  }
  if (same) throw Error(output + ": is the source itself; choose another name for the output");
}

void Expect(Status status, const Model& model) {
  if (status != Status::kOk) throw Error(model.file().path() + ": " + Describe(status));
}

}  // namespace glint
