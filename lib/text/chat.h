#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace glint {

struct ChatTurn {
  std::string query;
  std::string reply;  // as PostProcess gave it: so the published code keeps it
};

// What is done to a reply before it is shown: space at both ends goes, each `placeholder` becomes
// `replacement`, and , ! : ; ? next to a Chinese character becomes its full-width form.
struct ReplyRules {
  bool strip;
  std::string_view placeholder, replacement;  // empty: none
  bool widen_punctuation;
};

// How one family of models was taught to chat. A file's "prompt" object names it.
struct ChatFormat {
  const char* name;
  std::string (*build_prompt)(std::span<const ChatTurn> history, std::string_view query);
  ReplyRules reply;
};

// Throws Error, beginning with `where`, that lists the names that are known.
const ChatFormat& FindChatFormat(std::string_view name, const std::string& where);

// Post-processes a reply while it grows. What Add and Finish return is, put together, PostProcess
// of the whole reply: nothing shown is ever taken back. Held back are only space that may prove to
// be the end, what may become a placeholder, and one punctuation mark whose right neighbour
// decides. So a streaming chat prints Add(detokenizer.Add(id)) for each id, then
// Add(detokenizer.Finish()), Finish().
class ReplyStream {
 public:
  explicit ReplyStream(const ChatFormat& format) : rules_(format.reply) {}
  std::string Add(std::string_view text);  // whole code points
  std::string Finish();                    // the next Add begins a new reply

 private:
  void Strip(std::string_view text, std::string* out);
  void Replace(std::string_view text, bool last, std::string* out);
  void Widen(std::string_view text, bool last, std::string* out);

  ReplyRules rules_;
  bool started_ = false;        // something other than space has come
  std::string space_;           // perhaps the end of the reply
  std::string placeholder_;     // perhaps the beginning of a placeholder
  bool after_chinese_ = false;  // the last character was Chinese
  char mark_ = 0;               // waits for its right neighbour
};

std::string PostProcess(const ChatFormat& format, std::string_view reply);

}  // namespace glint
