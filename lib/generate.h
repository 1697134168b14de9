#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/sampler.h"
#include "lib/session.h"
#include "lib/text/chat.h"

namespace glint {

struct GenerateOptions {
  SamplerOptions sampler;
  size_t max_tokens = 0;                // of the reply; 0: what the context holds
  const ChatFormat* format = nullptr;   // post-processes the reply; null: the text as it comes
  // Drafts tokens from the text so far and verifies them in batches (lib/lookup.h), as many at a
  // time as the session's max_batch allows, which must be at least 2. Changes the speed alone: the
  // ids are those that are drawn without it, with every option of the sampler.
  bool lookup = false;
};

// The max_batch that look-up is tuned for (docs/ARCHITECTURE.md).
inline constexpr size_t kLookupBatch = 8;

struct Reply {
  enum class End : uint8_t { kStop, kLength, kContextFull, kCancelled, kError };
  End end = End::kStop;
  Status status = Status::kOk;  // kError: why
  std::vector<int32_t> ids;     // without the stop id
  std::string text;             // whole code points
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
// for a prompt that cannot start a sequence, a model without a tokenizer, or look-up in a session
// that takes no batches.
Reply Generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
               const OnText& on_text);

// A conversation: the history of turns, and the prompt that the model's chat format makes of it.
class Chat {
 public:
  // Throws Error if the model has no chat format or no tokenizer.
  explicit Chat(Session& session);

  // Asks and remembers the turn (a cancelled reply too, as far as it got; not one that failed or is
  // empty). If the history no longer fits the context, the oldest whole turns are forgotten first;
  // *forgotten (may be null) counts them.
  // Turns beyond the model's max_history go without being counted.
  // Throws Error if the query alone does not fit.
  Reply Ask(std::string_view query, GenerateOptions options, const OnText& on_text,
            size_t* forgotten = nullptr);
  void Clear() { history_.clear(); }

  size_t n_turns() const { return history_.size(); }

 private:
  Session& session_;
  std::vector<ChatTurn> history_;
};

}  // namespace glint
