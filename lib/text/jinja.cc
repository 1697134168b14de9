#include "lib/text/jinja.h"

#include "lib/text/jinja/interpreter.h"
#include "lib/text/jinja/syntax.h"

namespace glint {

struct JinjaTemplate::Program {
  jinja::Syntax syntax;
};

JinjaTemplate::JinjaTemplate(std::string_view source, std::string where)
    : program_(new Program{jinja::Parse(source, where)}), where_(std::move(where)) {}

JinjaTemplate::~JinjaTemplate() = default;

std::string JinjaTemplate::Render(const nlohmann::ordered_json& variables,
                                  const JinjaLimits& limits) const {
  return jinja::Interpreter(program_->syntax, limits, where_).Run(variables);
}

}  // namespace glint
