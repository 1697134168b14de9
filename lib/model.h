#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "formats/glint_file.h"
#include "lib/graph.h"
#include "lib/text/tokenizer.h"

namespace glint {

// No context is longer, whatever a file or a caller says.
inline constexpr uint64_t kMaxContext = uint64_t{1} << 24;

class ChatFormat;       // lib/text/chat.h
struct PositionScheme;  // lib/positions.h

// What a session computes for a token: a row of logits, or the final hidden state, which is what the
// model's head would read, after the last norm.
enum class SessionOutput : uint8_t { kLogits, kHidden };

// The ids that a prompt is made of and a reply ends with; -1 where the model has none.
struct PromptIds {
  int32_t bos = -1, mask = -1, gmask = -1, sop = -1, eop = -1, pad = -1;
  std::vector<int32_t> stop;  // any of these ends a reply
};

// The ids that a file's "prompt" section names; without the stop ids. Throws Error.
PromptIds ReadPromptIds(const nlohmann::json& prompt, uint64_t vocab_size, const std::string& where);

// An open model: the file, its checked graph, tokenizer and prompt rules. Immutable; any number of
// sessions on any threads may share it.
class Model {
 public:
  // Throws Error if anything about the file or its graph is not as this version of glint expects.
  // A private copy that this machine has no memory for is refused, too. Cancelled: `progress` of the
  // options said so. The model and its sessions log to the options' log.
  static std::unique_ptr<Model> Open(const std::string& path, LoadMode mode = LoadMode::kMap);
  static std::unique_ptr<Model> Open(const std::string& path, const LoadOptions& options);
  static std::unique_ptr<Model> OpenDescriptor(int descriptor, const std::string& name,
                                               const LoadOptions& options = {});
  static std::unique_ptr<Model> FromMemory(const void* data, uint64_t size, const std::string& name,
                                           std::shared_ptr<const void> owner = nullptr,
                                           const LoadOptions& options = {});
  ~Model();

  const GlintFile& file() const { return *file_; }
  const Log& log() const { return log_; }  // may be empty
  const Graph& graph() const { return *graph_; }
  // The graph that makes these outputs, and the floats of their rows. Throws Error: a model that does
  // not end with a linear op has no hidden states.
  const Graph& graph(SessionOutput output) const;
  uint64_t OutputSize(SessionOutput output) const {
    return output == SessionOutput::kLogits ? n_outputs_ : hidden_size_;
  }
  uint64_t hidden_size() const { return hidden_size_; }  // floats of a hidden state; 0: it has none
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }  // null if the file has none
  // Null if the file has none, or no tokenizer.
  const ChatFormat* chat() const { return chat_.get(); }
  const PositionScheme& positions() const { return *positions_; }
  const PromptIds& prompt_ids() const { return prompt_ids_; }
  uint64_t vocab_size() const { return vocab_size_; }    // rows of the embedding
  uint64_t n_outputs() const { return n_outputs_; }      // floats of a row of logits
  uint64_t max_context() const { return max_context_; }  // that the model was trained on
  uint64_t max_history() const { return max_history_; }  // past turns that a chat shows it at most

  // What a token costs: parameters of the linear ops that it meets (of experts, as many as are
  // chosen), and bytes that a decode step reads apart from the cache (their weights, of experts the
  // mean; one row of the embedding).
  struct Cost {
    uint64_t linear_parameters = 0;
    uint64_t head_parameters = 0;  // of those, the part that runs only where logits are wanted
    uint64_t decode_bytes = 0;
    uint64_t head_bytes = 0;       // of those, the weights of that part
    uint64_t chunk_bytes = 0;      // weights of all linear ops: a chunk of many tokens meets every expert
  };
  const Cost& cost() const { return cost_; }

  // No token sees a later one: tokens may be computed a few at a time, in order.
  bool causal() const { return causal_; }

 private:
  explicit Model(std::unique_ptr<GlintFile> file);
  template <class OpenFile>
  static std::unique_ptr<Model> OpenWith(const LoadOptions& options, const OpenFile& open_file);
  std::string Summary() const;
  void CheckMainGraph();
  void MakeHiddenGraph(uint64_t width, size_t head);
  void ReadPrompt();
  void CheckPositionInputs() const;
  void ReadTokenizer();
  void ReadChatFormat();

  std::unique_ptr<GlintFile> file_;
  Log log_;
  const Graph* graph_ = nullptr;
  Graph hidden_graph_;  // the main graph up to its head; empty if it has none
  uint64_t hidden_size_ = 0;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatFormat> chat_;
  const PositionScheme* positions_ = nullptr;
  PromptIds prompt_ids_;
  uint64_t vocab_size_ = 0, n_outputs_ = 0, max_context_ = 0;
  uint64_t max_history_ = UINT64_MAX;
  bool causal_ = true;
  Cost cost_;
};

}  // namespace glint
