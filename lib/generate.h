#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lib/error.h"
#include "lib/sampler.h"
#include "lib/session.h"
#include "lib/text/chat.h"

namespace glint {

// Called with each token of a reply and the text that became certain with it (maybe none), and with -1
// where text was held back at the end. False ends the reply after this token.
using OnToken = std::function<bool(int32_t id, std::string_view text)>;

// A prompt of so many tokens does not fit, by the policy, into the context. Nothing was computed.
class DoesNotFit : public Error {
 public:
  DoesNotFit(const std::string& message, size_t tokens) : Error(message), tokens_(tokens) {}
  size_t tokens() const { return tokens_; }

 private:
  size_t tokens_;
};

// What becomes of text that the context does not hold. All of it is decided before anything is computed,
// but for the end of a reply that grows into the context's end, which is where it stops.
enum class ContextPolicy : uint8_t {
  kStop,        // a prompt that does not fit gets no reply (Reply::End::kContextFull)
  kDropOldest,  // Chat forgets its oldest whole turns; else as kStop, but what one message alone
                // exceeds is an Error
  kError,       // Error for a prompt that does not fit, or that leaves no room for max_tokens; Continue:
                // for a sequence that leaves none
};
const char* Name(ContextPolicy policy);  // "stop", "drop", "error"
bool ParseContextPolicy(std::string_view name, ContextPolicy* policy);

struct GenerateOptions {
  SamplerOptions sampler;
  // Of the reply; 0: what the context holds. A reply ends in any case: with n tokens of prompt it has at
  // most context - n + 1, the last of which the model has not run on.
  size_t max_tokens = 0;
  ContextPolicy policy = ContextPolicy::kDropOldest;
  const ChatFormat* format = nullptr;   // post-processes the reply; null: the text as it comes
  // Drafts tokens from the text so far and verifies them in batches (lib/lookup.h), as many at a
  // time as the session's max_batch allows, which must be at least 2. Changes the speed alone: the
  // ids are those that are drawn without it, with every option of the sampler.
  bool lookup = false;
  OnToken on_token{};
};

// The max_batch that look-up is tuned for (docs/ARCHITECTURE.md).
inline constexpr size_t kLookupBatch = 8;

struct Reply {
  enum class End : uint8_t { kStop, kLength, kContextFull, kCancelled, kError, kCallback };
  End end = End::kStop;
  Status status = Status::kOk;  // kError: why
  std::vector<int32_t> ids;     // without the stop id
  size_t n_run = 0;             // of these: the model has run on them, the session holds them
  std::string text;             // whole code points
  // With a chat format: the text as the history keeps it, mostly one message. More where the model
  // goes on with another one by itself, as ChatGLM3 does that explains a call of a tool.
  std::vector<ChatMessage> messages;
  size_t prompt_tokens = 0;
  size_t kept_tokens = 0;       // of those: computed before, as the beginning of an earlier prompt
  double prompt_seconds = 0, reply_seconds = 0;
  size_t runs = 0;                   // of the model, after the prompt's
  size_t drafted = 0, accepted = 0;  // tokens, by look-up
};

const char* Name(Reply::End end);  // "stop", "length", ...

// Called with each piece of text that is certain. Pieces are whole code points and add up to the
// reply's text.
using OnText = std::function<void(std::string_view piece)>;

// Starts the session with `prompt` and generates until a stop id, the limit, or a cancel. Throws Error
// for a prompt that cannot start a sequence, a model without a tokenizer, a session of hidden states,
// look-up in a session that takes no batches, or as the policy says.
Reply Generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
               const OnText& on_text);

// Goes on with the session's sequence, whose reply begins behind the prompt of its last Start: first runs
// the model on `pending` (a reply's last id that it has not run on; -1: none), then generates as
// Generate does. Throws Error if there is no sequence, no logits to draw from, or as the policy says.
Reply Continue(Session& session, int32_t pending, const GenerateOptions& options,
               const OnText& on_text);

// A conversation: a system message, tools, the history, and the prompt that the model's chat format
// makes of them. A turn is a user's message and all that follows it up to the next one.
class Chat {
 public:
  using OnPrompt = std::function<void(const ChatPrompt& prompt)>;

  // Throws Error if the model has no chat format or no tokenizer.
  explicit Chat(Session& session);
  ~Chat();

  // From the next message on. An empty text: no system message.
  void SetSystem(std::string_view text) { system_ = text; }
  // A list of tools, in the form that the model knows; null: none. Throws Error if it is no list.
  void SetTools(const nlohmann::ordered_json& tools);
  // Called with each prompt before the model runs.
  void SetOnPrompt(OnPrompt on_prompt) { on_prompt_ = std::move(on_prompt); }

  // Asks and remembers message and reply (a cancelled reply too, as far as it got; not one that
  // failed or is empty). If the history no longer fits the context (and the options' policy is
  // kDropOldest), the oldest whole turns are
  // forgotten, never the system message, until it takes half of what there is for it (the last
  // turn may take more): the prompt then begins otherwise and is read anew, which the next turns
  // are spared. *forgotten (may be
  // null) counts them.
  // Turns beyond the model's max_history go without being counted.
  // A role other than "user" (what a tool answered: "observation", "tool") goes on with the turn.
  // Throws Error if the message alone does not fit, the policy says so, or the chat format refuses it;
  // then, and where kStop gives no reply, the history stays as it was.
  Reply Ask(std::string_view query, GenerateOptions options, const OnText& on_text,
            size_t* forgotten = nullptr, std::string_view role = "user");
  void Clear() { history_.clear(); }  // system message and tools stay
  void SetHistory(std::vector<ChatMessage> history) { history_ = std::move(history); }

  size_t n_turns() const;
  std::span<const ChatMessage> history() const { return history_; }

 private:
  ChatPrompt Build(std::span<const ChatMessage> kept, const ChatMessage& query) const;
  size_t ForgetTurns(const std::vector<size_t>& begins, size_t dropped, const ChatMessage& query,
                     ChatPrompt* prompt) const;

  Session& session_;
  std::string system_;
  std::unique_ptr<nlohmann::ordered_json> tools_;
  std::vector<ChatMessage> history_;
  OnPrompt on_prompt_;
};

}  // namespace glint
