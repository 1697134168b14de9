#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace glint {

// What a template may use, whoever wrote it. What goes beyond is an error.
struct JinjaLimits {
  uint64_t steps = 20'000'000;            // expressions, statements, and 64 bytes of text each
  uint64_t memory = uint64_t{256} << 20;  // bytes of values that live at one time, about
  uint64_t output = uint64_t{64} << 20;   // bytes
  int64_t now = -1;  // what strftime_now tells, seconds since 1970 UTC; -1: the clock
};

// A chat template of Hugging Face's kind: the part of Jinja2 (jinja.palletsprojects.com) that
// published ones use, with the settings of transformers' apply_chat_template: trim_blocks,
// lstrip_blocks, break and continue, `generation` blocks, raise_exception, strftime_now, and a
// tojson that is json.dumps(ensure_ascii=False). Values are Python's: how they print, compare,
// slice. What is not known (a tag, filter, test, method, option) is an error that names it and the
// line; it is never skipped. The list of what is known is in docs/CHAT.md. Immutable: any threads
// may render it.
class JinjaTemplate {
 public:
  // Parses a source in UTF-8. `where` ("model.glint: prompt: 'template'") begins each message.
  // Throws Error.
  JinjaTemplate(std::string_view source, std::string where);
  ~JinjaTemplate();

  // `variables` is an object. Text in it that is not UTF-8 gets U+FFFD. Throws Error; an exception
  // that the template raises ends with the template's own words.
  std::string Render(const nlohmann::ordered_json& variables, const JinjaLimits& limits = {}) const;

 private:
  struct Program;
  std::unique_ptr<const Program> program_;
  std::string where_;
};

}  // namespace glint
