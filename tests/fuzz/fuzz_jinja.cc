// A chat template: parsed, and rendered within bounds over a chat that has all that chats have.
#include <nlohmann/json.hpp>
#include <string>

#include "lib/text/jinja.h"
#include "lib/text/utf8.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {
namespace {

const nlohmann::ordered_json& Chat() {
  static const auto chat = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": "A <b>"},
      {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "1",
        "function": {"name": "f", "arguments": {"x": 1.5, "y": [null, true]}}}]},
      {"role": "tool", "content": "\u4f60", "name": "f"}, {"role": "user", "content": "C\n"}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d",
      "parameters": {"type": "object", "properties": {"x": {"type": "number"}}}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": 3, "z": -0.5,
    "empty": [], "none": null})");
  return chat;
}

}  // namespace

void FuzzJinja(Input input) {
  const JinjaTemplate program(Text(input), "x: 'chat_template'");
  JinjaLimits limits;
  limits.steps = 100'000;
  limits.memory = 8 << 20;
  limits.output = 1 << 20;
  limits.now = 1'700'000'000;
  const std::string text = program.Render(Chat(), limits);
  Require(text.size() <= limits.output, "the output is within its limit");
  Require(IsUtf8(text), "the output is UTF-8");
}

}  // namespace glint::fuzz
