#include "lib/model.h"

#include <algorithm>
#include <set>

#include "formats/checksum.h"
#include "formats/json.h"
#include "lib/adapter.h"
#include "lib/error.h"
#include "lib/ops/ops.h"
#include "lib/positions.h"
#include "lib/system/file.h"
#include "lib/system/free_memory.h"
#include "lib/text/chat.h"

namespace glint {
namespace {

// A plain tensor of the tokenizer; empty if it is absent and may be.
template <class T>
std::span<const T> Table(const GlintFile& file, const char* name, bool required) {
  constexpr DType dtype = std::is_same_v<T, float>     ? DType::kF32
                          : std::is_same_v<T, int32_t> ? DType::kI32
                                                       : DType::kU8;
  const Tensor* tensor = file.Find(std::string("tokenizer.") + name);
  if (!tensor) {
    if (!required) return {};
    throw Error(file.path() + ": tensor 'tokenizer." + name + "' is missing");
  }
  if (tensor->dtype != dtype || tensor->shape.size() != 1) {
    throw Error(file.path() + ": tensor " + Quoted(tensor->name) + ": expected a vector of " +
                Info(dtype).name);
  }
  return {tensor->As<T>(), static_cast<size_t>(tensor->shape[0])};
}

}  // namespace

PromptIds ReadPromptIds(const nlohmann::json& prompt, uint64_t vocab_size,
                        const std::string& where) {
  PromptIds ids;
  const auto read = [&](const char* key, int32_t* id) {
    if (!prompt.contains(key)) return;
    *id = static_cast<int32_t>(GetUint(prompt, key, 0, vocab_size - 1, where));
  };
  read("bos_id", &ids.bos);
  read("mask_id", &ids.mask);
  read("gmask_id", &ids.gmask);
  read("sop_id", &ids.sop);
  read("eop_id", &ids.eop);
  read("pad_id", &ids.pad);
  return ids;
}

Model::Model(std::unique_ptr<GlintFile> file) : file_(std::move(file)) {
  if (const std::string kind = AdapterKindOf(*file_); !kind.empty()) {
    throw Error(file_->path() + ": is " + (kind == "lora" ? "a LoRA" : "a P-Tuning prefix") +
                ", which goes with a model and is none");
  }
  CheckMainGraph();
  ReadPrompt();
  ReadTokenizer();
  ReadChatFormat();
}

Model::~Model() = default;

// `open_file` gets the options as they are meant for the file. The last call of `progress` is the end.
template <class OpenFile>
std::unique_ptr<Model> Model::OpenWith(const LoadOptions& options, const OpenFile& open_file) {
  try {
    LoadOptions all = options;
    if (all.mode == LoadMode::kCopy) all.copy_limit = std::min(all.copy_limit, FreeMemory());
    std::unique_ptr<Model> model(new Model(open_file(all)));
    if (options.progress && !options.progress(1)) {
      throw Cancelled(model->file().path() + ": the loading was stopped");
    }
    model->log_ = options.log;
    if (options.log) {
      const char* const how = all.mode == LoadMode::kCopy ? ", copied" : "";
      options.log(LogLevel::kInfo, model->Summary() + how + (all.verify ? ", verified" : ""));
    }
    return model;
  } catch (const Error& error) {
    if (options.log) options.log(LogLevel::kError, error.what());
    throw;
  }
}

std::unique_ptr<Model> Model::Open(const std::string& path, LoadMode mode) {
  LoadOptions options;
  options.mode = mode;
  return Open(path, options);
}

std::unique_ptr<Model> Model::Open(const std::string& path, const LoadOptions& options) {
  return OpenWith(options, [&](const LoadOptions& all) { return GlintFile::Open(path, all); });
}

std::unique_ptr<Model> Model::OpenDescriptor(int descriptor, const std::string& name,
                                             const LoadOptions& options) {
  return OpenWith(options, [&](const LoadOptions& all) {
    return GlintFile::OpenDescriptor(descriptor, name, all);
  });
}

std::unique_ptr<Model> Model::FromMemory(const void* data, uint64_t size, const std::string& name,
                                         std::shared_ptr<const void> owner,
                                         const LoadOptions& options) {
  return OpenWith(options, [&](const LoadOptions& all) {
    return GlintFile::FromMemory(data, size, name, std::move(owner), all);
  });
}

// "m.glint: 3476 MiB, hash 0123456789abcdef, 449 tensors; vocabulary 130528, context 2048, tokenizer,
// chat"
std::string Model::Summary() const {
  return file_->path() + ": " + std::to_string(file_->bytes() >> 20) + " MiB, hash " +
         ChecksumText(file_->Hash()) + ", " + std::to_string(file_->tensors().size()) +
         " tensors; vocabulary " + std::to_string(vocab_size_) + ", context " +
         std::to_string(max_context_) + (tokenizer_ ? ", tokenizer" : "") + (chat_ ? ", chat" : "");
}

void Model::CheckMainGraph() {
  graph_ = file_->FindGraph("main");
  if (!graph_) throw Error(file_->path() + ": graph 'main' is missing");
  const FindTensor find = [this](const std::string& name) { return file_->Find(name); };
  const auto values = CheckGraph(file_->path() + ": graph 'main'", *graph_, find);
  if (graph_->outputs.size() != 1) throw Error(file_->path() + ": graph 'main': expected 1 output");
  n_outputs_ = static_cast<uint64_t>(values.at(graph_->outputs[0]).shape[1]);

  const size_t head = FindHead(*graph_);
  // A graph that computes nothing before its head's input has no steps to run.
  if (head < graph_->nodes.size() && values.count(graph_->nodes[head].inputs[0]) != 0) {
    MakeHiddenGraph(static_cast<uint64_t>(values.at(graph_->nodes[head].inputs[0]).shape[1]), head);
  }

  const std::string where = file_->path() + ": graph 'main'";
  std::set<int64_t> layers;
  size_t after_attention = 0;
  vocab_size_ = UINT64_MAX;
  for (const Node& node : graph_->nodes) {
    if (node.op == "embedding") {
      vocab_size_ = std::min(vocab_size_, file_->Find(node.inputs[1])->shape[0]);
    }
    for (const std::string& input : node.inputs) causal_ = causal_ && input != "prefix_len";
    if (node.op != "attention") continue;
    ++after_attention;
    const int64_t layer = IntOf(node, "layer");
    if (!layers.insert(layer).second) {
      throw Error(where + ": two attentions share the cache of layer " + std::to_string(layer));
    }
  }
  if (vocab_size_ == UINT64_MAX || layers.empty()) {
    throw Error(where + ": expected an embedding and an attention");
  }
  if (*layers.begin() != 0 || *layers.rbegin() != static_cast<int64_t>(layers.size()) - 1) {
    throw Error(where + ": expected attentions of layers 0 to " + std::to_string(layers.size() - 1));
  }
  if (n_outputs_ > vocab_size_) {
    throw Error(where + ": " + std::to_string(n_outputs_) + " logits, but an embedding of " +
                std::to_string(vocab_size_) + " rows");
  }
  // What the last segment of a plan holds runs only where outputs are wanted.
  for (const Node& node : graph_->nodes) {
    if (node.op == "attention") --after_attention;
    if (node.op == "embedding") {
      const Tensor& table = *file_->Find(node.inputs[1]);
      cost_.decode_bytes += table.bytes / table.shape[0];
    }
    const std::span<const std::string> weights = WeightsOf(node);
    if (weights.empty()) continue;
    // Of experts, which have one shape but maybe several types, a token meets a few.
    const Tensor& first = *file_->Find(weights[0]);
    const uint64_t met = static_cast<uint64_t>(values.at(node.outputs[0]).shape[1]) / first.shape[0];
    uint64_t all_bytes = 0;
    for (const std::string& weight : weights) all_bytes += file_->Find(weight)->bytes;
    const uint64_t parameters = met * first.shape[0] * first.shape[1];
    const uint64_t bytes = static_cast<uint64_t>(
        static_cast<double>(all_bytes) * static_cast<double>(met) / static_cast<double>(weights.size()));
    cost_.linear_parameters += parameters;
    cost_.chunk_bytes += all_bytes;
    cost_.decode_bytes += bytes;
    if (after_attention != 0) continue;
    cost_.head_parameters += parameters;
    cost_.head_bytes += bytes;
  }
}

void Model::MakeHiddenGraph(uint64_t width, size_t head) {
  hidden_size_ = width;
  hidden_graph_ = {graph_->name, graph_->inputs, {graph_->nodes[head].inputs[0]}, {}};
  hidden_graph_.nodes.assign(graph_->nodes.begin(),
                             graph_->nodes.begin() + static_cast<ptrdiff_t>(head));
}

const Graph& Model::graph(SessionOutput output) const {
  if (output == SessionOutput::kLogits) return *graph_;
  if (hidden_size_ != 0) return hidden_graph_;
  throw Error("the model has no hidden states: its graph does not end with a linear op");
}

void Model::ReadPrompt() {
  const std::string where = file_->path() + ": prompt";
  const nlohmann::json& prompt = *file_->header().prompt;
  static const std::set<std::string> kKnown = {
      "format",   "position_scheme", "bos_id",   "mask_id",   "gmask_id",  "sop_id",
      "eop_id",   "pad_id",          "stop_ids", "max_history", "template", "bos_token",
      "eos_token", "unk_token",      "pad_token"};
  for (const auto& [key, value] : prompt.items()) {
    if (kKnown.count(key) == 0) throw Error(where + ": unknown option " + Quoted(key));
  }
  const std::string scheme = GetString(prompt, "position_scheme", where);
  positions_ = FindPositionScheme(scheme);
  if (!positions_) {
    throw Error(where + ": unknown position scheme " + Quoted(scheme) + "; known: " +
                PositionSchemeNames());
  }
  CheckPositionInputs();
  prompt_ids_ = ReadPromptIds(prompt, vocab_size_, where);
  if (prompt.contains("max_history")) {
    max_history_ = GetUint(prompt, "max_history", 0, UINT32_MAX, where);
  }
  std::string why;
  if (!positions_->check(prompt_ids_, &why)) throw Error(where + ": " + why);
  for (const nlohmann::json& stop : GetArray(prompt, "stop_ids", where)) {
    if (!stop.is_number_unsigned() || stop.get<uint64_t>() >= n_outputs_) {
      throw Error(where + ": 'stop_ids': expected ids below " + std::to_string(n_outputs_));
    }
    prompt_ids_.stop.push_back(stop.get<int32_t>());
  }
  max_context_ =
      GetUint(*file_->header().config, "max_seq_len", 1, kMaxContext, file_->path() + ": config");
}

// An input that the scheme does not fill would be read from nowhere.
void Model::CheckPositionInputs() const {
  size_t n = 0;
  for (const std::string& input : graph_->inputs) {
    if (!input.starts_with("position.")) continue;
    n = std::max<size_t>(n, input == "position.0" ? 1 : 2);
  }
  if (n <= positions_->n_positions) return;
  throw Error(file_->path() + ": graph 'main': input 'position." + std::to_string(n - 1) +
              "': position scheme " + Quoted(positions_->name) + " has only " +
              std::to_string(positions_->n_positions));
}

void Model::ReadTokenizer() {
  if (!file_->header().tokenizer) return;
  TokenizerTables tables;
  ForEachTable(tables, [&]<class T>(const char* name, std::span<const T>& table) {
    table = Table<T>(*file_, name, std::string_view(name).starts_with("piece_"));
  });
  tokenizer_ = Tokenizer::Create(*file_->header().tokenizer, tables, file_->path() + ": tokenizer");
}

void Model::ReadChatFormat() {
  const nlohmann::json& prompt = *file_->header().prompt;
  const std::string where = file_->path() + ": prompt";
  if (!prompt.contains("format")) {
    if (prompt.contains("template")) throw Error(where + ": 'template' without 'format'");
    return;
  }
  ChatFormat::CheckName(GetString(prompt, "format", where), where);
  if (!tokenizer_) return;
  chat_ = ChatFormat::Create(prompt, *tokenizer_, where);
  if (!prompt.contains("eos_token")) return;
  // The template's token that ends a message ends a reply, whatever the model's configuration says.
  const int32_t end = tokenizer_->FindToken(GetString(prompt, "eos_token", where));
  std::vector<int32_t>& stop = prompt_ids_.stop;
  const bool known = std::find(stop.begin(), stop.end(), end) != stop.end();
  if (end >= 0 && static_cast<uint64_t>(end) < n_outputs_ && !known) stop.push_back(end);
}

}  // namespace glint
