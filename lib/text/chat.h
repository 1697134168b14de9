#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/text/utf8.h"

namespace glint {

class JinjaTemplate;  // lib/text/jinja.h
class Tokenizer;

struct ChatMessage {
  // "system", "user", "assistant", or what a tool answered: "observation" (THUDM's word) or "tool"
  // (Hugging Face's). The built-in formats take the last two for one, a template sees the very
  // word.
  std::string role;
  std::string content;
  // Of an assistant: the name of the tool that it calls; the content is then the call. Mostly
  // empty.
  std::string metadata{};
};

// What a model sees before it replies.
struct ChatPrompt {
  std::vector<int32_t> ids;
  std::string text;  // for people: the same with special tokens written out
};

// What is done to a reply before it is shown.
struct ReplyRules {
  bool strip;                                 // space at both ends goes
  std::string_view placeholder, replacement;  // each of the first becomes the second; empty: none
  bool widen_punctuation;  // , ! : ; ? next to a Chinese character becomes its full-width form
  // The first line names the tool that the reply calls, and all that follows is kept as it is. If
  // that line is blank or the only one, it is a reply in words.
  bool first_line_is_metadata;
  bool remember_raw;  // the history keeps the reply stripped, but with the placeholder
};

struct ChatFormatRow;

// How a model was taught to chat: messages to ids, and a reply's text to what is shown. The formats
// are a table in chat.cc, named by a file's "prompt" object (docs/FORMAT.md). Immutable, safe to
// share between threads. In the built-in formats special tokens are written by id, and no text of a
// message can become one. A template's output is parsed as a whole, as transformers does: there a
// message can write special tokens.
class ChatFormat {
 public:
  // Reads "format" and what belongs to it from `prompt`. The tokenizer must outlive the format.
  // Throws Error, beginning with `where`, for an unknown format (lists the known ones), options
  // that are not its own, special tokens that the tokenizer lacks, and a template that does not
  // parse.
  static std::unique_ptr<ChatFormat> Create(const nlohmann::json& prompt,
                                            const Tokenizer& tokenizer, const std::string& where);
  // Throws Error, beginning with `where`, that lists the known formats.
  static void CheckName(const std::string& name, const std::string& where);
  ~ChatFormat();

  const char* name() const;
  const ReplyRules& reply() const;
  // A reply's id that begins another message of the same reply; -1 if the format has none.
  int32_t part_id() const { return part_id_; }

  // The prompt for a reply to the last message. A system message comes first or not at all. `tools`
  // (may be null) is a JSON list of tools as the model's documentation writes them; order of keys
  // is kept. Throws Error for roles or tools that the format does not have, and what a template
  // refuses, with its words.
  ChatPrompt Build(std::span<const ChatMessage> messages,
                   const nlohmann::ordered_json* tools = nullptr) const;

 private:
  friend class PromptWriter;
  ChatFormat(const ChatFormatRow& row, const Tokenizer& tokenizer, const std::string& where);
  void ReadTemplate(const nlohmann::json& prompt);

  const ChatFormatRow* row_;
  const Tokenizer* tokenizer_;
  std::string where_;
  std::vector<int32_t> special_ids_;  // of the row's special tokens
  int32_t part_id_ = -1;
  std::unique_ptr<JinjaTemplate> template_;  // of "jinja" alone, as the next
  std::vector<std::pair<std::string, std::string>>
      tokens_;  // a template's variables: bos_token, ...
};

// Post-processes a reply while it grows. What Add and Finish return is, put together, PostProcess
// of the whole reply: nothing shown is ever taken back. Held back are only a first line that may be
// metadata, space that may prove to be the end, what may become a placeholder, and one punctuation
// mark whose right neighbour decides. So a streaming chat prints Add(detokenizer.Add(id)) for each
// id, then Add(detokenizer.Finish()), Finish().
class ReplyStream {
 public:
  explicit ReplyStream(const ReplyRules& rules) : rules_(rules) {}
  std::string Add(std::string_view text);  // whole code points
  std::string Finish();                    // the next Add begins a new reply

  // The reply as the history keeps it. Valid after Finish, until the next Add.
  const ChatMessage& message() const { return message_; }

 private:
  bool IsCall() const { return !StripLeft(message_.metadata).empty(); }
  std::string AddKnown(std::string_view text);
  void AddContent(std::string_view text, std::string* out);
  void Strip(std::string_view text, std::string* out);
  void Replace(std::string_view text, bool last, std::string* out);
  void Widen(std::string_view text, bool last, std::string* out);

  ReplyRules rules_;
  ChatMessage message_{"assistant", ""};
  bool begun_ = false;          // since the last Finish
  bool head_done_ = false;      // the first line is known
  std::string head_;            // perhaps metadata
  std::string raw_;             // the content as it came, if the history keeps it so
  bool started_ = false;        // something other than space has come
  std::string space_;           // perhaps the end of the reply
  std::string placeholder_;     // perhaps the beginning of a placeholder
  bool after_chinese_ = false;  // the last character was Chinese
  char mark_ = 0;               // waits for its right neighbour
};

std::string PostProcess(const ReplyRules& rules, std::string_view reply);

}  // namespace glint
