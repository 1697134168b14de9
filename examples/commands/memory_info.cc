#include "examples/commands/memory_info.h"

#include "examples/commands/adapters.h"
#include "examples/commands/console.h"
#include "examples/commands/report.h"
#include "lib/error.h"
#include "lib/memory_estimate.h"
#include "lib/system/free_memory.h"

namespace glint {
namespace {

struct Figures {
  SessionOptions session;
  MemoryEstimate estimate;
  bool copied = false, converted = false;
  uint64_t trained = 0;  // tokens
  uint64_t weights = 0, private_bytes = 0, free = 0;
  uint64_t adapters = 0, private_adapters = 0;  // private ones are among private_bytes

  uint64_t Peak() const { return estimate.Total() + weights + adapters; }
  size_t longest = 0;
};

Figures Estimate(const Model& model, const ComputeOptions& options, const OpenAdapters& adapters) {
  Figures f;
  f.session = WithDefaults(model, SessionOptionsFor(model, options));
  f.converted = options.model != kBuiltinName && !options.cache && IsCheckpoint(options.model);
  f.copied = options.load == "copy" || f.converted;
  f.trained = model.max_context();
  f.weights = model.file().bytes();
  f.free = FreeMemory();
  f.adapters = adapters.bytes;
  f.private_adapters = adapters.private_bytes;
  f.estimate = EstimateMemory(model, f.session, adapters.uses);
  // Mapped weights are the system's to drop and to read again.
  const uint64_t fixed = (f.copied ? f.weights : 0) + f.private_adapters;
  f.private_bytes = f.estimate.Total() + fixed;
  const uint64_t room = f.free > fixed ? f.free - fixed : 0;
  f.longest = LongestContext(model, f.session, room, adapters.uses);
  return f;
}

const char* Load(const Figures& f) {
  return f.converted ? "convert" : f.copied ? "copy" : "map";
}

std::string Weights(const Figures& f) {
  return f.converted ? "private: converted in memory (a file of glint convert or --cache is mapped)"
         : f.copied  ? "private"
                     : "mapped: shared, and dropped where memory is short";
}

void PrintAsJson(const Figures& f, const std::string& file) {
  nlohmann::ordered_json out = {{"file", file},
                                {"context", f.session.context},
                                {"trained_context", f.trained},
                                {"kv", Name(f.session.kv)},
                                {"threads", f.session.threads},
                                {"load", Load(f)},
                                {"weight_bytes", f.weights},
                                {"adapter_bytes", f.adapters},
                                {"cache_bytes", f.estimate.cache},
                                {"cache_bytes_without_windows", f.estimate.cache_without_windows},
                                {"activation_bytes", f.estimate.activations},
                                {"rope_bytes", f.estimate.rope_tables},
                                {"row_bytes", f.estimate.rows},
                                {"anonymous_bytes", f.private_bytes},
                                {"peak_bytes", f.Peak()}};
  if (f.free != UINT64_MAX) out["free_bytes"] = f.free;
  out["fits"] = f.private_bytes <= f.free;
  out["longest_context"] = f.longest;
  PrintJson(out);
}

void PrintAsText(const Figures& f, const std::string& file) {
  const std::string tokens = std::to_string(f.session.context) + " tokens";
  std::string cache = std::string(Name(f.session.kv)) + ", when its " + tokens + " are full";
  if (f.estimate.cache != f.estimate.cache_without_windows) {
    cache += "; without the layers' windows " + HumanBytes(f.estimate.cache_without_windows);
  }
  Print(OneLine(file) + ": memory for a context of " + tokens +
        (f.session.context < f.trained
             ? " (-c takes up to the " + std::to_string(f.trained) + " that it was trained on)"
             : "") + "\n");
  std::vector<std::vector<std::string>> rows = {{"weights", HumanBytes(f.weights), Weights(f)}};
  if (f.adapters != 0) {
    rows.push_back({"adapters", HumanBytes(f.adapters),
                    HumanBytes(f.private_adapters) + " of it private; a prefix takes cache, too"});
  }
  rows.insert(rows.end(), {{"cache", HumanBytes(f.estimate.cache), cache},
                           {"activations", HumanBytes(f.estimate.activations),
                            std::to_string(f.session.threads) + " threads"},
                           {"rotary tables", HumanBytes(f.estimate.rope_tables), ""},
                           {"ids, logits", HumanBytes(f.estimate.rows), ""},
                           {"peak", HumanBytes(f.Peak()),
                            HumanBytes(f.private_bytes) + " of it private"}});
  PrintColumns(rows, {false, true, false});
  if (f.free == UINT64_MAX) return;
  std::string verdict = "this machine has " + HumanBytes(f.free) + " free: ";
  if (f.private_bytes > f.free) {
    verdict += f.longest == 0
                   ? "too little"
                   : "too little; a context of " + std::to_string(f.longest) + " would fit";
  } else if (f.Peak() > f.free) {
    verdict += "enough, but not for all weights beside it: they would be read again and again";
  } else {
    verdict += "enough";
  }
  Print(verdict + "\n");
}

}  // namespace

void PrintMemory(const ComputeOptions& options, bool as_json) {
  const std::unique_ptr<Model> model = OpenModelOutline(options);
  const OpenAdapters adapters = OpenAdaptersOf(*model, options);
  Figures figures;
  try {
    figures = Estimate(*model, options, adapters);
  } catch (const Error& error) {
    throw Error(options.model + ": " + error.what());
  }
  (as_json ? PrintAsJson : PrintAsText)(figures, options.model);
}

}  // namespace glint
