#include "lib/error.h"
#include "lib/escaped.h"
#include "lib/text/jinja/builtins.h"
#include "lib/text/jinja/parser.h"

namespace glint::jinja {

void ExprParser::Fail(const std::string& why) const {
  throw Error(where_ + ": line " + std::to_string(Peek().line) + ": " + Escaped(why));
}

void ExprParser::FailExpected(const std::string& what) const {
  const Token& token = Peek();
  std::string found = token.kind == Kind::kEnd         ? "the end of the template"
                      : token.kind == Kind::kEndTag    ? "%}"
                      : token.kind == Kind::kEndOutput ? "}}"
                      : token.kind == Kind::kData      ? "text"
                                                       : Quoted(token.text);
  Fail("expected " + what + ", found " + found);
}

bool ExprParser::SkipOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  ++at_;
  return true;
}

bool ExprParser::SkipWord(std::string_view text) {
  if (!IsWord(text)) return false;
  ++at_;
  return true;
}

void ExprParser::ExpectOperator(std::string_view text) {
  if (!SkipOperator(text)) FailExpected("'" + std::string(text) + "'");
}

std::string ExprParser::ExpectName(const char* what) {
  if (Peek().kind != Kind::kName) FailExpected(what);
  return Next().text;
}

uint32_t ExprParser::NameId(const std::string& name) {
  const auto [place, is_new] = name_ids_.emplace(name, names_.size());
  if (is_new) names_.push_back(name);
  return place->second;
}

ExprPtr ExprParser::Make(Op op) const {
  auto expr = std::make_unique<Expr>();
  expr->op = op;
  expr->line = Peek().line;
  return expr;
}

void ExprParser::Add(Expr* expr, ExprPtr arg) const {
  if (arg) {
    expr->height = std::max(expr->height, arg->height + 1);
    if (expr->height > kMaxExprHeight) {
      Fail("an expression of more than " + std::to_string(kMaxExprHeight) + " steps in a row");
    }
  }
  expr->args.push_back(std::move(arg));
}

ExprPtr ExprParser::ParseExpr() {
  const Nesting nesting(this);
  ExprPtr expr = ParseOr();
  while (IsWord("if")) {
    ExprPtr conditional = Make(Op::kConditional);
    Next();
    Add(conditional.get(), ParseOr());
    Add(conditional.get(), std::move(expr));
    Add(conditional.get(), SkipWord("else") ? ParseExpr() : nullptr);
    expr = std::move(conditional);
  }
  return expr;
}

ExprPtr ExprParser::ParseTuple(bool with_condition, bool in_brackets) {
  ExprPtr tuple = Make(Op::kTuple);
  const auto ends = [&] {
    const Kind kind = Peek().kind;
    return kind == Kind::kEndTag || kind == Kind::kEndOutput || kind == Kind::kEnd ||
           IsOperator(")") || IsWord("recursive");
  };
  bool comma = false;
  while (!ends() && (tuple->args.empty() || comma)) {
    Add(tuple.get(), with_condition ? ParseExpr() : ParseOr());
    comma = SkipOperator(",");
  }
  if (tuple->args.empty() && !in_brackets) FailExpected("an expression");
  if (tuple->args.size() == 1 && !comma) return std::move(tuple->args[0]);
  return tuple;
}

ExprPtr ExprParser::ParseChain(const char* word, Op op, ExprPtr (ExprParser::*part)()) {
  ExprPtr expr = (this->*part)();
  while (IsWord(word)) {
    ExprPtr both = Make(op);
    Next();
    Add(both.get(), std::move(expr));
    Add(both.get(), (this->*part)());
    expr = std::move(both);
  }
  return expr;
}

ExprPtr ExprParser::ParseOr() { return ParseChain("or", Op::kOr, &ExprParser::ParseAnd); }

ExprPtr ExprParser::ParseAnd() { return ParseChain("and", Op::kAnd, &ExprParser::ParseNot); }

ExprPtr ExprParser::ParseNot() {
  if (!IsWord("not")) return ParseCompare();
  const Nesting nesting(this);
  ExprPtr expr = Make(Op::kNot);
  Next();
  Add(expr.get(), ParseNot());
  return expr;
}

bool ExprParser::ParseCompareOperator(Compare* compare) {
  static constexpr struct {
    std::string_view text;
    Compare compare;
  } kOperators[] = {{"==", Compare::kEq}, {"!=", Compare::kNe}, {"<", Compare::kLt},
                    {"<=", Compare::kLe}, {">", Compare::kGt},  {">=", Compare::kGe}};
  for (const auto& row : kOperators) {
    if (!SkipOperator(row.text)) continue;
    *compare = row.compare;
    return true;
  }
  if (IsWord("not") && Peek(1).kind == Kind::kName && Peek(1).text == "in") {
    Next();
    Next();
    *compare = Compare::kNotIn;
    return true;
  }
  *compare = Compare::kIn;
  return SkipWord("in");
}

ExprPtr ExprParser::ParseCompare() {
  ExprPtr first = ParseSum();
  ExprPtr expr = Make(Op::kCompare);
  for (Compare compare; ParseCompareOperator(&compare);) {
    if (first) Add(expr.get(), std::move(first));
    expr->compares.push_back(compare);
    Add(expr.get(), ParseSum());
  }
  return first ? std::move(first) : std::move(expr);
}

ExprPtr ExprParser::ParseSum() {
  ExprPtr expr = ParseConcat();
  while (IsOperator("+") || IsOperator("-")) {
    ExprPtr sum = Make(IsOperator("+") ? Op::kAdd : Op::kSubtract);
    Next();
    Add(sum.get(), std::move(expr));
    Add(sum.get(), ParseConcat());
    expr = std::move(sum);
  }
  return expr;
}

ExprPtr ExprParser::ParseConcat() {
  ExprPtr first = ParseProduct();
  ExprPtr expr = Make(Op::kConcat);
  while (SkipOperator("~")) {
    if (first) Add(expr.get(), std::move(first));
    Add(expr.get(), ParseProduct());
  }
  return first ? std::move(first) : std::move(expr);
}

ExprPtr ExprParser::ParseProduct() {
  static constexpr struct {
    std::string_view text;
    Op op;
  } kOperators[] = {
      {"*", Op::kMultiply}, {"/", Op::kDivide}, {"//", Op::kFloorDivide}, {"%", Op::kModulo}};
  ExprPtr expr = ParsePower();
  for (;;) {
    const auto* row =
        std::find_if(std::begin(kOperators), std::end(kOperators),
                     [&](const auto& candidate) { return IsOperator(candidate.text); });
    if (row == std::end(kOperators)) return expr;
    ExprPtr product = Make(row->op);
    Next();
    Add(product.get(), std::move(expr));
    Add(product.get(), ParsePower());
    expr = std::move(product);
  }
}

ExprPtr ExprParser::ParsePower() {
  ExprPtr expr = ParseUnary(true);
  while (IsOperator("**")) {
    ExprPtr power = Make(Op::kPower);
    Next();
    Add(power.get(), std::move(expr));
    Add(power.get(), ParseUnary(true));
    expr = std::move(power);
  }
  return expr;
}

// A sign binds closer than a filter does: -1 | abs is 1.
ExprPtr ExprParser::ParseUnary(bool with_filter) {
  const Nesting nesting(this);
  ExprPtr expr;
  if (IsOperator("-") || IsOperator("+")) {
    expr = Make(IsOperator("-") ? Op::kNegate : Op::kPlus);
    Next();
    Add(expr.get(), ParseUnary(false));
  } else {
    expr = ParsePrimary();
  }
  expr = ParsePostfix(std::move(expr));
  return with_filter ? ParseFilters(std::move(expr)) : std::move(expr);
}

ExprPtr ExprParser::ParsePrimary() {
  static constexpr struct {
    std::string_view word;
    Op op;
  } kConstants[] = {{"true", Op::kTrue},   {"True", Op::kTrue}, {"false", Op::kFalse},
                    {"False", Op::kFalse}, {"none", Op::kNone}, {"None", Op::kNone}};
  if (Peek().kind == Kind::kName) {
    ExprPtr expr = Make(Op::kName);
    const std::string name = Next().text;
    for (const auto& row : kConstants) {
      if (name == row.word) expr->op = row.op;
    }
    expr->name = NameId(name);
    return expr;
  }
  if (Peek().kind == Kind::kString) {
    ExprPtr expr = Make(Op::kText);
    while (Peek().kind == Kind::kString) expr->text += Next().text;
    return expr;
  }
  if (Peek().kind == Kind::kInt || Peek().kind == Kind::kFloat) {
    ExprPtr expr = Make(Peek().kind == Kind::kInt ? Op::kInt : Op::kFloat);
    const Token& token = Next();
    expr->integer = token.integer;
    expr->number = token.number;
    return expr;
  }
  if (SkipOperator("(")) {
    ExprPtr expr = ParseTuple(true, true);
    ExpectOperator(")");
    return expr;
  }
  if (IsOperator("[") || IsOperator("{")) return ParseListOrDict();
  FailExpected("an expression");
}

ExprPtr ExprParser::ParseListOrDict() {
  const bool dict = IsOperator("{");
  const std::string_view end = dict ? "}" : "]";
  ExprPtr expr = Make(dict ? Op::kDict : Op::kList);
  Next();
  while (!SkipOperator(end)) {
    if (!expr->args.empty()) {
      ExpectOperator(",");
      if (SkipOperator(end)) break;
    }
    Add(expr.get(), ParseExpr());
    if (!dict) continue;
    ExpectOperator(":");
    Add(expr.get(), ParseExpr());
  }
  return expr;
}

ExprPtr ExprParser::ParsePostfix(ExprPtr expr) {
  for (;;) {
    if (IsOperator(".") || IsOperator("[")) {
      expr = ParseItem(std::move(expr));
    } else if (IsOperator("(")) {
      ExprPtr call = Make(Op::kCall);
      Next();
      Add(call.get(), std::move(expr));
      ParseArguments(call.get());
      expr = std::move(call);
    } else {
      return expr;
    }
  }
}

ExprPtr ExprParser::ParseItem(ExprPtr expr) {
  ExprPtr item = Make(Op::kItem);
  if (SkipOperator(".")) {
    Add(item.get(), std::move(expr));
    if (Peek().kind == Kind::kInt) {
      Add(item.get(), ParsePrimary());
      return item;
    }
    item->op = Op::kAttribute;
    item->text = ExpectName("a name after '.'");
    return item;
  }
  Next();
  Add(item.get(), std::move(expr));
  if (IsOperator("]")) FailExpected("an index");
  if (!IsOperator(":")) Add(item.get(), ParseExpr());
  if (IsOperator(":")) {
    item->op = Op::kSlice;
    if (item->args.size() == 1) Add(item.get(), nullptr);
    while (SkipOperator(":")) {
      const bool absent = IsOperator(":") || IsOperator("]");
      Add(item.get(), absent ? nullptr : ParseExpr());
    }
    if (item->args.size() > 4) Fail("a slice has at most three parts");
    while (item->args.size() < 4) Add(item.get(), nullptr);
  }
  ExpectOperator("]");
  return item;
}

void ExprParser::ParseArguments(Expr* call) {
  bool first = true;
  while (!SkipOperator(")")) {
    if (!first) {
      ExpectOperator(",");
      if (SkipOperator(")")) return;
    }
    first = false;
    const auto keyword = [&](std::string name) {
      ExprPtr value = ParseExpr();
      call->height = std::max(call->height, value->height + 1);
      call->keywords.emplace_back(std::move(name), std::move(value));
    };
    if (IsOperator("*")) {
      ExprPtr spread = Make(Op::kSpread);
      Next();
      Add(spread.get(), ParseExpr());
      Add(call, std::move(spread));
    } else if (SkipOperator("**")) {
      keyword("");
    } else if (Peek().kind == Kind::kName && Peek(1).kind == Kind::kOperator &&
               Peek(1).text == "=") {
      std::string name = Next().text;
      Next();
      keyword(std::move(name));
    } else {
      if (!call->keywords.empty()) Fail("a positional argument follows a named one");
      Add(call, ParseExpr());
    }
  }
}

ExprPtr ExprParser::ParseFilters(ExprPtr expr) {
  for (;;) {
    if (SkipOperator("|")) {
      expr = ParseFilter(std::move(expr));
    } else if (IsWord("is")) {
      expr = ParseTest(std::move(expr));
    } else if (IsOperator("(")) {
      ExprPtr call = Make(Op::kCall);
      Next();
      Add(call.get(), std::move(expr));
      ParseArguments(call.get());
      expr = std::move(call);
    } else {
      return expr;
    }
  }
}

ExprPtr ExprParser::ParseFilter(ExprPtr input) {
  ExprPtr filter = Make(Op::kFilter);
  filter->text = ExpectName("the name of a filter");
  filter->filter = FindFilter(filter->text);
  Add(filter.get(), std::move(input));
  if (SkipOperator("(")) ParseArguments(filter.get());
  return filter;
}

ExprPtr ExprParser::ParseTest(ExprPtr input) {
  ExprPtr test = Make(Op::kTest);
  Next();
  const bool negated = SkipWord("not");
  test->text = ExpectName("the name of a test");
  test->test = FindTest(test->text);
  Add(test.get(), std::move(input));
  const Kind kind = Peek().kind;
  const bool operand = kind == Kind::kString || kind == Kind::kInt || kind == Kind::kFloat ||
                       IsOperator("[") || IsOperator("{") ||
                       (kind == Kind::kName && !IsWord("else") && !IsWord("or") && !IsWord("and"));
  if (SkipOperator("(")) {
    ParseArguments(test.get());
  } else if (operand && !IsWord("if") && !IsWord("in") && !IsWord("not")) {
    if (IsWord("is")) Fail("a test of a test: expected brackets");
    Add(test.get(), ParsePostfix(ParsePrimary()));
  }
  if (!negated) return test;
  ExprPtr expr = Make(Op::kNot);
  Add(expr.get(), std::move(test));
  return expr;
}

}  // namespace glint::jinja
