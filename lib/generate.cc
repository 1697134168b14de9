#include "lib/generate.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "lib/lookup.h"

namespace glint {
namespace {

// Tokens that the history leaves free for a reply, if the context is large enough.
constexpr size_t kReplyRoom = 256;

size_t ReplyRoom(size_t context) {
  return std::min(kReplyRoom, context / 2);
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// From ids to the text that is shown, a piece at a time.
class ReplyText {
 public:
  ReplyText(const Tokenizer& tokenizer, const GenerateOptions& options, const OnText& on_text,
            Reply* reply)
      : detokenizer_(tokenizer), on_text_(on_text), on_token_(options.on_token), reply_(reply) {
    if (!options.format) return;
    stream_ = std::make_unique<ReplyStream>(options.format->reply());
    part_id_ = options.format->part_id();
  }
  // Ids that were shown before: the text goes on from them.
  void Skip(std::span<const int32_t> ids) {
    for (const int32_t id : ids) detokenizer_.Add(id);
  }
  // False if the reply is to end after this id.
  bool Add(int32_t id) {
    reply_->ids.push_back(id);
    piece_.clear();
    if (part_id_ < 0 || id != part_id_) {
      Show(detokenizer_.Add(id));
    } else {
      FinishMessage();
      between_ = !reply_->text.empty();
    }
    return !on_token_ || on_token_(id, piece_);
  }
  void Finish() {
    piece_.clear();
    FinishMessage();
    if (on_token_ && !piece_.empty()) on_token_(-1, piece_);
  }

 private:
  void FinishMessage() {
    Show(detokenizer_.Finish());
    if (!stream_) return;
    Emit(stream_->Finish());
    const ChatMessage& message = stream_->message();
    if (!message.content.empty() || !StripLeft(message.metadata).empty()) {
      reply_->messages.push_back(message);
    }
  }
  void Show(const std::string& text) { Emit(stream_ ? stream_->Add(text) : text); }
  void Emit(std::string text) {
    if (text.empty()) return;
    if (between_) text.insert(0, "\n");
    between_ = false;
    reply_->text += text;
    if (on_token_) piece_ += text;
    if (on_text_) on_text_(text);
  }

  Detokenizer detokenizer_;
  std::unique_ptr<ReplyStream> stream_;
  int32_t part_id_ = -1;
  bool between_ = false;  // two messages of a reply: a newline parts what they show
  const OnText& on_text_;
  const OnToken& on_token_;
  std::string piece_;  // what on_token_ gets next
  Reply* reply_;
};

const Tokenizer& TokenizerOf(const Model& model) {
  if (model.tokenizer()) return *model.tokenizer();
  throw Error(model.file().path() + ": the model has no tokenizer");
}

// Whether the session can generate so. Throws Error.
void CheckSession(const Session& session, const GenerateOptions& options) {
  if (options.lookup && session.max_batch() < 2) {
    throw Error("look-up needs a session with a max_batch of at least 2");
  }
  if (session.output() != SessionOutput::kLogits) {
    throw Error("a session of hidden states has no logits to draw from");
  }
}

Reply::End EndOf(Status status) {
  return status == Status::kCancelled     ? Reply::End::kCancelled
         : status == Status::kContextFull ? Reply::End::kContextFull
                                          : Reply::End::kError;
}

// "the prompt has 30 tokens and 50 more are wanted; the context holds 64". `what` is "the
// prompt", or "the sequence" that goes on.
void CheckRoom(size_t context, const char* what, size_t tokens, const GenerateOptions& options) {
  if (options.policy != ContextPolicy::kError) return;
  // The last token of a reply need not fit.
  const size_t after = options.max_tokens == 0 ? 0 : options.max_tokens - 1;
  if (tokens <= context && after <= context - tokens) return;
  const std::string more =
      after == 0 ? "" : " and " + std::to_string(options.max_tokens) + " more are wanted";
  throw DoesNotFit(what + (" has " + std::to_string(tokens)) + " tokens" + more +
                       "; the context holds " + std::to_string(context),
                   tokens);
}

bool IsStop(const Model& model, int32_t id) {
  const std::vector<int32_t>& stop = model.prompt_ids().stop;
  return std::find(stop.begin(), stop.end(), id) != stop.end();
}

// Runs the model on the tokens of a reply, and with look-up on guesses of those that follow. The
// guesses wait in the session as a batch: as long as the tokens drawn are the ones guessed, the
// logits after them are there already.
class TokenRunner {
 public:
  TokenRunner(Session& session, std::span<const int32_t> prompt, bool use_lookup, Reply* reply)
      : session_(session), reply_(reply), logits_(session.logits()), batch_(session.max_batch()) {
    if (!use_lookup) return;
    lookup_ = std::make_unique<LookupDraft>(session.context() + 1);
    for (const int32_t id : prompt) lookup_->Add(id);
  }
  // Guesses that have not come true go. The session is then as if there had been none.
  ~TokenRunner() { session_.Truncate(session_.length() - (n_batch_ - n_taken_)); }

  // Logits after the last token taken.
  std::span<const float> logits() const { return logits_; }

  // Takes the reply's next token; at most `n_after` more are wanted, at least 1.
  Status Take(int32_t id, size_t n_after) {
    if (lookup_) lookup_->Add(id);
    if (n_taken_ < n_batch_ && batch_[n_taken_] == id) {
      if (session_.cancelled()) return Status::kCancelled;
      ++reply_->accepted;
    } else {
      session_.Truncate(session_.length() - (n_batch_ - n_taken_));
      const Status status = RunBatch(id, n_after);
      if (status != Status::kOk) return status;
    }
    logits_ = session_.BatchLogits(n_taken_++);
    ++reply_->n_run;
    return Status::kOk;
  }

 private:
  Status RunBatch(int32_t id, size_t n_after) {
    const size_t free = session_.context() - session_.length();
    const size_t room = std::min({batch_.size(), free, n_after});
    size_t n = 1;
    batch_[0] = id;
    n_batch_ = n_taken_ = 0;
    if (lookup_ && room > 1) n += lookup_->Propose(std::span(batch_).subspan(1, room - 1));
    Status status = session_.AppendBatch(std::span(batch_).first(n));
    if (status == Status::kNonFinite && n > 1) {
      // Perhaps after a guess, which must not end a reply that does not come to it.
      ++reply_->runs;
      n = 1;
      status = session_.Append(id);
    }
    if (status != Status::kOk) return status;
    ++reply_->runs;
    reply_->drafted += n - 1;
    n_batch_ = n;
    return status;
  }

  Session& session_;
  Reply* reply_;
  std::span<const float> logits_;
  std::unique_ptr<LookupDraft> lookup_;
  std::vector<int32_t> batch_;  // a token and the guesses after it
  size_t n_batch_ = 0, n_taken_ = 0;
};

void GenerateReply(Session& session, std::vector<int32_t> history, const GenerateOptions& options,
                   ReplyText* text, Reply* reply) {
  Sampler sampler(options.sampler, session.model().n_outputs());
  TokenRunner runner(session, history, options.lookup, reply);
  const size_t limit = options.max_tokens == 0 ? session.context() : options.max_tokens;
  for (;;) {
    const int32_t id = sampler.Sample(runner.logits(), history);
    if (IsStop(session.model(), id)) return;
    const bool go_on = text->Add(id);
    history.push_back(id);
    if (!go_on || reply->ids.size() >= limit) {
      reply->end = go_on ? Reply::End::kLength : Reply::End::kCallback;
      return;
    }
    reply->status = runner.Take(id, limit - reply->ids.size());
    if (reply->status != Status::kOk) {
      reply->end = EndOf(reply->status);
      return;
    }
  }
}

bool IsQuestion(const ChatMessage& message) {
  return message.role == "user";
}

// Where each turn of a history begins, and last where the past turns end: before the last turn if a
// message goes on with it.
std::vector<size_t> TurnsBegin(std::span<const ChatMessage> history, bool new_turn) {
  std::vector<size_t> begins;
  for (size_t i = 0; i < history.size(); ++i) {
    if (i == 0 || IsQuestion(history[i])) begins.push_back(i);
  }
  if (new_turn || begins.empty()) begins.push_back(history.size());
  return begins;
}

}  // namespace

const char* Name(Reply::End end) {
  static constexpr const char* kNames[] = {"stop",      "length", "context full",
                                           "cancelled", "error",  "callback"};
  return kNames[static_cast<size_t>(end)];
}

constexpr const char* kPolicies[] = {"stop", "drop", "error"};

const char* Name(ContextPolicy policy) { return kPolicies[static_cast<size_t>(policy)]; }

bool ParseContextPolicy(std::string_view name, ContextPolicy* policy) {
  for (size_t i = 0; i < std::size(kPolicies); ++i) {
    if (name != kPolicies[i]) continue;
    *policy = static_cast<ContextPolicy>(i);
    return true;
  }
  return false;
}

Reply Generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
               const OnText& on_text) {
  Reply reply;
  ReplyText text(TokenizerOf(session.model()), options, on_text, &reply);
  CheckSession(session, options);
  CheckRoom(session.context(), "the prompt", prompt.size(), options);
  reply.prompt_tokens = prompt.size();
  const auto start = std::chrono::steady_clock::now();
  reply.status = session.Start(prompt);
  reply.prompt_seconds = SecondsSince(start);
  reply.kept_tokens = session.kept();
  if (reply.status != Status::kOk) {
    reply.end = EndOf(reply.status);
    return reply;
  }
  const auto first = std::chrono::steady_clock::now();
  GenerateReply(session, {prompt.begin(), prompt.end()}, options, &text, &reply);
  text.Finish();
  reply.reply_seconds = SecondsSince(first);
  return reply;
}

Reply Continue(Session& session, int32_t pending, const GenerateOptions& options,
               const OnText& on_text) {
  Reply reply;
  ReplyText text(TokenizerOf(session.model()), options, on_text, &reply);
  CheckSession(session, options);
  CheckRoom(session.context(), "the sequence", session.length() + (pending >= 0 ? 1 : 0), options);
  const auto first = std::chrono::steady_clock::now();
  if (pending >= 0) {
    reply.status = session.Append(pending);
  } else if (!session.model().file().Unchanged()) {
    reply.status = Status::kFileChanged;  // the tokenizer's tables lie in the file too
  }
  if (reply.status != Status::kOk) {
    reply.end = EndOf(reply.status);
    return reply;
  }
  if (session.length() == 0 || session.logits().empty()) {
    throw Error("there is no sequence to go on with, or there are no logits of its last token");
  }
  const std::span<const int32_t> ids = session.ids();
  text.Skip(ids.subspan(session.prompt_length()));
  GenerateReply(session, {ids.begin(), ids.end()}, options, &text, &reply);
  text.Finish();
  reply.reply_seconds = SecondsSince(first);
  return reply;
}

Chat::Chat(Session& session) : session_(session) {
  TokenizerOf(session.model());
  if (!session.model().chat()) {
    throw Error(session.model().file().path() +
                ": the model has no chat format: nothing says how it was taught to chat");
  }
}

Chat::~Chat() = default;

void Chat::SetTools(const nlohmann::ordered_json& tools) {
  if (!tools.is_null() && !tools.is_array()) {
    throw Error(std::string("expected a list of tools, found ") + tools.type_name());
  }
  tools_ = tools.is_null() ? nullptr : std::make_unique<nlohmann::ordered_json>(tools);
}

size_t Chat::n_turns() const {
  return static_cast<size_t>(std::count_if(history_.begin(), history_.end(), IsQuestion));
}

ChatPrompt Chat::Build(std::span<const ChatMessage> kept, const ChatMessage& query) const {
  std::vector<ChatMessage> messages;
  if (!system_.empty()) messages.push_back({"system", system_});
  messages.insert(messages.end(), kept.begin(), kept.end());
  messages.push_back(query);
  return session_.model().chat()->Build(messages, tools_.get());
}

// How many past turns are to go, at least `dropped`, so that the others take at most half of what the
// system message, the query and room for a reply leave. *prompt is then the prompt.
size_t Chat::ForgetTurns(const std::vector<size_t>& begins, size_t dropped,
                         const ChatMessage& query, ChatPrompt* prompt) const {
  const size_t context = session_.context(), all = context - ReplyRoom(context);
  const size_t alone = Build(std::span(history_).subspan(begins.back()), query).ids.size();
  const size_t most = all > alone ? alone + (all - alone) / 2 : 0, n_past = begins.size() - 1;
  const auto fits = [&] {
    return prompt->ids.size() <= (dropped + 1 == n_past ? all : most);  // the last turn is worth all
  };
  while (dropped < n_past && !fits()) {
    *prompt = Build(std::span(history_).subspan(begins[++dropped]), query);
  }
  return dropped;
}

Reply Chat::Ask(std::string_view query, GenerateOptions options, const OnText& on_text,
                size_t* forgotten, std::string_view role) {
  const ChatMessage asked{std::string(role), std::string(query)};
  if (!session_.model().file().Unchanged()) {
    // Before the text is read: the tokenizer's tables lie in the file too.
    Reply reply;
    reply.status = Status::kFileChanged;
    reply.end = EndOf(reply.status);
    return reply;
  }
  // What a tool answers belongs to the last turn, which is then no past one.
  const std::vector<size_t> begins = TurnsBegin(history_, IsQuestion(asked));
  const size_t n_past = begins.size() - 1, context = session_.context();
  const size_t beyond = n_past - std::min<size_t>(n_past, session_.model().max_history());
  ChatPrompt prompt = Build(std::span(history_).subspan(begins[beyond]), asked);
  size_t dropped = beyond;
  if (options.policy == ContextPolicy::kDropOldest &&
      prompt.ids.size() + ReplyRoom(context) > context) {
    dropped = ForgetTurns(begins, beyond, asked, &prompt);
  }
  CheckRoom(context, "the prompt", prompt.ids.size(), options);
  if (forgotten) *forgotten = 0;
  if (prompt.ids.size() > context && options.policy == ContextPolicy::kStop) {
    Reply full;
    full.prompt_tokens = prompt.ids.size();
    full.status = Status::kContextFull;
    full.end = EndOf(full.status);
    return full;
  }
  if (prompt.ids.size() > context) {
    throw DoesNotFit("the message has " + std::to_string(prompt.ids.size()) +
                         " tokens; the context holds " + std::to_string(context),
                     prompt.ids.size());
  }
  if (forgotten) *forgotten = dropped - beyond;
  if (on_prompt_) on_prompt_(prompt);
  options.format = session_.model().chat();
  Reply reply = Generate(session_, prompt.ids, options, on_text);
  if (reply.end != Reply::End::kError && !reply.messages.empty()) {
    history_.erase(history_.begin(), history_.begin() + static_cast<ptrdiff_t>(begins[dropped]));
    history_.push_back(asked);
    history_.insert(history_.end(), reply.messages.begin(), reply.messages.end());
  } else if (forgotten) {
    *forgotten = 0;  // what comes to nothing leaves the history as it was
  }
  return reply;
}

}  // namespace glint
