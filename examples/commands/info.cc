// glint info: what is in a model file, a checkpoint, or this machine.
#include "examples/commands/adapters.h"
#include "examples/commands/builtin.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/graph_text.h"
#include "examples/commands/import_side.h"
#include "examples/commands/memory_info.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "lib/error.h"
#include "lib/system/file.h"
#include "simd/cpu.h"
#include "simd/cpu_info.h"
#include "simd/kernels.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string file;
  bool json = false, graph = false, planned = false, cpu = false, memory = false;
  ComputeOptions compute;  // for memory
};

void PrintCpu(bool as_json) {
  const uint32_t features = CpuFeatures();
  std::vector<std::string> targets;
  for (const KernelTable* const* table = kKernelTables; *table; ++table) {
    if (((*table)->requires_ & ~features) == 0) targets.push_back((*table)->isa);
  }
  const Json out = {{"cpu", CpuModelName()},
                    {"features", CpuFeatureNames(features)},
                    {"isa", ChooseKernels().isa},
                    {"targets", targets},
                    {"threads", DefaultThreads()}};
  if (as_json) return PrintJson(out);
  const auto list = [](const Json& names) {
    std::string text;
    for (const Json& name : names) text += (text.empty() ? "" : ", ") + name.get<std::string>();
    return text.empty() ? std::string("none") : text;
  };
  PrintColumns({{"cpu", OneLine(out["cpu"].get<std::string>())},
                {"features", list(out["features"])},
                {"isa", out["isa"].get<std::string>() + "   (runs; GLINT_ISA chooses another)"},
                {"targets", list(out["targets"]) + "   (of this build, on this CPU)"},
                {"threads", std::to_string(DefaultThreads()) + "   (by default)"}},
               {});
}

std::vector<TensorRow> TensorRows(const GlintFile& file) {
  std::vector<TensorRow> rows;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    TensorRow row{tensor.name, Info(tensor.dtype).name, tensor.shape, 1, tensor.bytes, ""};
    if (tensor.offset != BlockOffset::kNone) row.type += std::string("+") + Name(tensor.offset);
    for (const uint64_t n : tensor.shape) row.elements *= n;
    if (!file.TiedTo(i).empty()) {
      row.remark = file.TiedTo(i);
      row.elements = row.bytes = 0;  // stored under the other name
    }
    rows.push_back(row);
  }
  return rows;
}

std::string DescribeGraphs(const GlintFile& file) {
  std::string text;
  const FindTensor find = [&](const std::string& name) { return file.Find(name); };
  for (const Graph& graph : file.header().graphs) {
    text += DescribeGraph(file.path() + ": graph '" + graph.name + "'", graph, find);
  }
  return text;
}

// The plan for prompts, as a session with the model's own context makes it.
std::string DescribePromptPlan(const Model& model) {
  const FindTensor find = [&](const std::string& name) { return model.file().Find(name); };
  SessionOptions session;
  session.threads = DefaultThreads();
  RopeTables rope_tables;
  PlanOptions plan_options = PromptPlanOptions(model, session);
  plan_options.sizes_only = true;
  const Plan plan(model.graph(), find, plan_options, &rope_tables);
  return DescribePlan(plan, find);
}

// A LoRA's targets are many: told by number, as the tensors show each.
void PrintAdapter(const Options& options, const GlintFile& file) {
  if (options.graph || options.planned) throw Error(options.file + ": an adapter has no graph");
  Json config = *file.header().config;
  const std::vector<TensorRow> rows = TensorRows(file);
  if (options.json) {
    return PrintJson({{"file", options.file},
                      {"format", "glint"},
                      {"bytes", file.bytes()},
                      {"metadata", *file.header().metadata},
                      {"config", config},
                      {"tensors", TensorsJson(rows, "tied_to")}});
  }
  Print(OneLine(options.file) + ": glint adapter (" + AdapterKindOf(file) + "), " +
        HumanBytes(file.bytes()) + "\n");
  PrintObject("metadata", *file.header().metadata);
  if (config.contains("targets") && config["targets"].is_array()) {
    config["targets"] = config["targets"].size();
  }
  PrintObject("config", config);
  PrintTensors(rows);
}

void PrintModel(const Options& options) {
  if (const std::unique_ptr<GlintFile> adapter = OpenAdapterFile(options.file)) {
    return PrintAdapter(options, *adapter);
  }
  // Opening the whole model, not the file alone, also checks graph, tokenizer and prompt.
  const std::unique_ptr<Model> model = OpenModel(options.file);
  const GlintFile& file = model->file();
  const ModelHeader& header = file.header();
  const Json tokenizer = header.tokenizer ? Json(*header.tokenizer) : Json(nullptr);
  std::vector<TensorRow> rows = TensorRows(file);
  if (options.json) {
    Json out = {{"file", options.file},     {"format", "glint"},
                {"bytes", file.bytes()},    {"metadata", *header.metadata},
                {"config", *header.config}, {"tokenizer", tokenizer},
                {"prompt", *header.prompt}, {"tensors", TensorsJson(rows, "tied_to")}};
    if (options.graph) out["graphs"] = DescribeGraphs(file);
    if (options.planned) out["plan"] = DescribePromptPlan(*model);
    return PrintJson(out);
  }
  if (options.planned) return Print(DescribePromptPlan(*model));
  if (options.graph) return Print(DescribeGraphs(file));
  Print(OneLine(options.file) + ": glint model, " + HumanBytes(file.bytes()) + "\n");
  PrintObject("metadata", *header.metadata);
  PrintObject("config", *header.config);
  if (header.tokenizer) PrintObject("tokenizer", *header.tokenizer);
  PrintObject("prompt", *header.prompt);
  for (TensorRow& row : rows) {
    if (!row.remark.empty()) row.remark = "= " + row.remark;
  }
  PrintTensors(rows);
}

void Run(const Options& options) {
  if (options.cpu != options.file.empty()) {
    throw UsageError(options.cpu ? "FILE and --cpu exclude each other"
                                 : "FILE or --cpu is required");
  }
  if (options.cpu) {
    if (options.graph) throw UsageError("--graph and --cpu exclude each other");
    if (options.planned) throw UsageError("--planned and --cpu exclude each other");
    if (options.memory) throw UsageError("--memory and --cpu exclude each other");
    return PrintCpu(options.json);
  }
  const std::string magic = FileStart(options.file, 4);
  const bool is_checkpoint = IsFolder(options.file) || (!options.file.ends_with(".glint") &&
                                           options.file != kBuiltinName && magic != "\x89GLI");
  ComputeOptions compute = options.compute;
  compute.model = options.file;
  if (options.memory) return PrintMemory(compute, options.json);
  if (!is_checkpoint) return PrintModel(options);
  if (options.graph || options.planned) {
    if (options.json) {
      throw UsageError("--graph and --planned of a checkpoint are text only: leave out --json");
    }
    const std::unique_ptr<Model> model = OpenModelOutline(compute);
    return Print(options.planned ? DescribePromptPlan(*model) : DescribeGraphs(model->file()));
  }
  if (magic == "GGUF" || options.file.ends_with(".gguf")) {
    return PrintGguf(options.file, options.json);
  }
  PrintCheckpoint(options.file, options.json);
}

}  // namespace

RunCommand SetUpInfo(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("FILE", options->file,
                 "a .glint file, 'builtin', a Hugging Face folder, .safetensors, .bin or .gguf")
      ->option_text(" ");
  app.add_flag("--json", options->json, "one JSON object");
  app.add_flag("--graph", options->graph, "the graph instead: one line per node, like layers once");
  app.add_flag("--planned", options->planned,
               "the graph as the steps that it runs as, fused where that pays");
  app.add_flag("--cpu", options->cpu, "about this machine: which kernels run here");
  CLI::Option* memory =
      app.add_flag("--memory", options->memory,
                   "the memory that computing with it takes, and whether this machine has it");
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  for (const char* name : {"--threads", "--context", "--kv", "--load", "--adapter"}) {
    app.get_option(name)->needs(memory);
  }
  app.footer(
      "Checks the whole structure of the file (checksums of weights: glint verify), then lists\n"
      "metadata and tensors. Of a GGUF file's long arrays the first items are shown. --graph, --planned\n"
      "and --memory of a GGUF file or folder tell what it would be converted to (--type), without\n"
      "converting it.\n\n"
      "Examples:\n"
      "  glint info chatglm-6b.glint\n"
      "  glint info --graph builtin\n"
      "  glint info chatglm-6b.glint --memory -c 8192 --kv int8 --adapter my-lora.glint\n"
      "  glint info --cpu --json");
  return [options] { Run(*options); };
}

}  // namespace glint
