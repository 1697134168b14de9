#include "lib/text/jinja.h"

#include "lib/error.h"
#include "lib/text/jinja/interpreter.h"
#include "lib/text/jinja/syntax.h"
#include "lib/text/utf8.h"

namespace glint {

struct JinjaTemplate::Program {
  jinja::Syntax syntax;
};

namespace {

// All that comes out of a template shall be UTF-8, its own words too.
jinja::Syntax ParseUtf8(std::string_view source, const std::string& where) {
  if (!IsUtf8(source)) throw Error(where + ": the template is not UTF-8");
  return jinja::Parse(source, where);
}

}  // namespace

JinjaTemplate::JinjaTemplate(std::string_view source, std::string where)
    : program_(new Program{ParseUtf8(source, where)}), where_(std::move(where)) {}

JinjaTemplate::~JinjaTemplate() = default;

std::string JinjaTemplate::Render(const nlohmann::ordered_json& variables,
                                  const JinjaLimits& limits) const {
  return jinja::Interpreter(program_->syntax, limits, where_).Run(variables);
}

}  // namespace glint
