#include "lib/text/chat.h"

#include <algorithm>

#include "lib/error.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

// ChatGLM-6B's chat() in THUDM's modeling_chatglm.py: the first query goes bare, rounds count from
// 0.
std::string BuildChatGlmPrompt(std::span<const ChatTurn> history, std::string_view query) {
  if (history.empty()) return std::string(query);
  std::string prompt;
  const auto ask = [&](size_t round, std::string_view question) {
    prompt += "[Round " + std::to_string(round) + "]\n\u95ee\uff1a";
    (prompt += question) += "\n\u7b54\uff1a";
  };
  for (size_t round = 0; round < history.size(); ++round) {
    ask(round, history[round].query);
    (prompt += history[round].reply) += '\n';
  }
  ask(history.size(), query);
  return prompt;
}

// The placeholder is what the model was taught to say for the time of its training.
constexpr ChatFormat kFormats[] = {
    {"chatglm-6b", BuildChatGlmPrompt, {true, "[[\u8bad\u7ec3\u65f6\u95f4]]", "2023\u5e74", true}},
};

constexpr std::string_view kMarks = ",!:;?";
constexpr std::string_view kWideMarks[] = {"\uff0c", "\uff01", "\uff1a", "\uff1b", "\uff1f"};

std::string_view Wide(char mark) {
  return kWideMarks[kMarks.find(mark)];
}
bool IsMark(int32_t c) {
  return c > 0 && c < 0x80 && kMarks.find(static_cast<char>(c)) != kMarks.npos;
}
bool IsChinese(int32_t c) {
  return c >= 0x4E00 && c <= 0x9FFF;
}

}  // namespace

const ChatFormat& FindChatFormat(std::string_view name, const std::string& where) {
  std::string known;
  for (const ChatFormat& format : kFormats) {
    if (name == format.name) return format;
    known += (known.empty() ? "" : ", ") + std::string(format.name);
  }
  throw Error(where + ": expected a known chat format (" + known + "), found " + Quoted(name));
}

void ReplyStream::Strip(std::string_view text, std::string* out) {
  if (!rules_.strip) {
    *out += text;
    return;
  }
  if (!started_) text = StripLeft(text);
  if (text.empty()) return;
  started_ = true;
  const std::string_view solid = StripRight(text);
  if (!solid.empty()) {
    (*out += space_) += solid;
    space_.clear();
  }
  space_ += text.substr(solid.size());
}

void ReplyStream::Replace(std::string_view text, bool last, std::string* out) {
  const std::string_view target = rules_.placeholder;
  placeholder_ += text;
  std::string_view rest = placeholder_;
  if (!target.empty()) {
    for (size_t at; (at = rest.find(target)) != rest.npos;) {
      (*out += rest.substr(0, at)) += rules_.replacement;
      rest.remove_prefix(at + target.size());
    }
  }
  size_t held = last || target.empty() ? 0 : std::min(rest.size(), target.size() - 1);
  while (held > 0 && !target.starts_with(rest.substr(rest.size() - held))) held--;
  *out += rest.substr(0, rest.size() - held);
  placeholder_ = std::string(rest.substr(rest.size() - held));
}

void ReplyStream::Widen(std::string_view text, bool last, std::string* out) {
  if (!rules_.widen_punctuation) {
    *out += text;
    return;
  }
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    if (mark_ != 0 && IsChinese(c.value)) *out += Wide(mark_);
    if (mark_ != 0 && !IsChinese(c.value)) *out += mark_;
    mark_ = 0;
    if (!IsMark(c.value)) {
      *out += text.substr(0, c.bytes);
    } else if (after_chinese_) {
      *out += Wide(text[0]);
    } else {
      mark_ = text[0];
    }
    after_chinese_ = IsChinese(c.value);
    text.remove_prefix(c.bytes);
  }
  if (last && mark_ != 0) *out += mark_;
}

std::string ReplyStream::Add(std::string_view text) {
  std::string stripped, replaced, out;
  Strip(text, &stripped);
  Replace(stripped, false, &replaced);
  Widen(replaced, false, &out);
  return out;
}

std::string ReplyStream::Finish() {
  std::string replaced, out;
  Replace("", true, &replaced);
  Widen(replaced, true, &out);
  started_ = after_chinese_ = false;
  space_.clear();
  mark_ = 0;
  return out;
}

std::string PostProcess(const ChatFormat& format, std::string_view reply) {
  ReplyStream stream(format);
  std::string text = stream.Add(reply);
  return text + stream.Finish();
}

}  // namespace glint
