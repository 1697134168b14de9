#include <algorithm>

#include "lib/text/chat.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

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

void ReplyStream::AddContent(std::string_view text, std::string* out) {
  if (rules_.remember_raw) raw_ += text;
  std::string stripped, replaced;
  Strip(text, &stripped);
  Replace(stripped, false, &replaced);
  Widen(replaced, false, out);
}

std::string ReplyStream::Add(std::string_view text) {
  if (!begun_) message_ = {"assistant", ""};
  begun_ = true;
  std::string out;
  if (rules_.first_line_is_metadata && !head_done_) {
    head_ += text;
    const size_t end = head_.find('\n');
    if (end == head_.npos) return out;
    head_done_ = true;
    const std::string rest = head_.substr(end + 1);
    head_.resize(end);
    message_.metadata = head_;
    // A tool's name is shown above its call.
    if (IsCall()) out = std::string(StripRight(StripLeft(head_))) + '\n';
    return out + AddKnown(rest);
  }
  return AddKnown(text);
}

// Of a reply whose first line is known.
std::string ReplyStream::AddKnown(std::string_view text) {
  std::string out;
  if (IsCall()) {
    out = text;
  } else {
    AddContent(text, &out);
  }
  if (!rules_.remember_raw || IsCall()) message_.content += out;
  return out;
}

std::string ReplyStream::Finish() {
  std::string replaced, out;
  if (!begun_) message_ = {"assistant", ""};
  if (rules_.first_line_is_metadata && !head_done_) AddContent(head_, &out);
  Replace("", true, &replaced);
  Widen(replaced, true, &out);
  if (!rules_.remember_raw) message_.content += out;
  if (rules_.remember_raw && !IsCall()) message_.content = StripRight(StripLeft(raw_));
  begun_ = head_done_ = started_ = after_chinese_ = false;
  head_.clear();
  raw_.clear();
  space_.clear();
  mark_ = 0;
  return out;
}

std::string PostProcess(const ReplyRules& rules, std::string_view reply) {
  ReplyStream stream(rules);
  std::string text = stream.Add(reply);
  return text + stream.Finish();
}

}  // namespace glint
