#include "lib/text/jinja/parser.h"

#include "lib/error.h"

namespace glint::jinja {
namespace {

class Parser : private ExprParser {
 public:
  Parser(std::vector<Token> tokens, const std::string& where)
      : ExprParser(std::move(tokens), where) {}

  Syntax Run() {
    Syntax syntax;
    syntax.body = ParseBody({});
    if (Peek().kind != Kind::kEnd) FailTag();
    syntax.names = std::move(names_);
    return syntax;
  }

 private:
  using Words = std::vector<std::string_view>;
  using Read = void (Parser::*)(Node*);

  [[noreturn]] void FailTag() const {
    // Peek is the name after {%.
    FailExpected("a known tag");
  }
  // Jinja2 allows a colon there, as Python has it.
  void EndTag() {
    SkipOperator(":");
    if (Peek().kind != Kind::kEndTag) FailExpected("%}");
    Next();
  }

  // Statements up to {% with one of these words, which is then the next token, or the end.
  Body ParseBody(const Words& ends) {
    const Nesting nesting(this);
    Body body;
    for (;;) {
      auto node = std::make_unique<Node>();
      node->line = Peek().line;
      if (Peek().kind == Kind::kData) {
        node->text = Next().text;
      } else if (Peek().kind == Kind::kBeginOutput) {
        Next();
        node->tag = Tag::kOutput;
        node->value = ParseTuple();
        if (Peek().kind != Kind::kEndOutput) FailExpected("}}");
        Next();
      } else if (Peek().kind == Kind::kBeginTag) {
        Next();
        if (std::any_of(ends.begin(), ends.end(), [&](auto word) { return IsWord(word); })) {
          return body;
        }
        ParseTag(node.get());
      } else {
        if (!ends.empty()) FailExpected("{% " + std::string(ends.back()) + " %}");
        return body;
      }
      body.push_back(std::move(node));
    }
  }
  // A body and the tag that ends it.
  Body ParseBodyTo(std::string_view end) {
    EndTag();
    Body body = ParseBody({end});
    Next();
    EndTag();
    return body;
  }

  void ParseTag(Node* node) {
    static constexpr struct {
      std::string_view word;
      Read read;
    } kTags[] = {
        {"for", &Parser::ParseFor},        {"if", &Parser::ParseIf},
        {"set", &Parser::ParseSet},        {"macro", &Parser::ParseMacro},
        {"call", &Parser::ParseCall},      {"filter", &Parser::ParseFilterBlock},
        {"with", &Parser::ParseWith},      {"generation", &Parser::ParseGeneration},
        {"break", &Parser::ParseLoopExit}, {"continue", &Parser::ParseLoopExit},
    };
    for (const auto& row : kTags) {
      if (!IsWord(row.word)) continue;
      node->text = Next().text;
      return (this->*row.read)(node);
    }
    FailTag();
  }

  Target ParseTarget(bool with_attribute) {
    const auto one = [&] {
      Target target;
      const bool bracket = SkipOperator("(");
      if (bracket) {
        const Nesting nesting(this);
        target = ParseTarget(false);
        ExpectOperator(")");
        return target;
      }
      const std::string name = ExpectName("a name");
      target.name = NameId(name);
      static constexpr std::string_view kReserved[] = {"true", "false", "none",
                                                       "True", "False", "None"};
      for (const std::string_view word : kReserved) {
        if (name == word) Fail("cannot assign to " + Quoted(name));
      }
      if (with_attribute && SkipOperator(".")) target.attribute = ExpectName("a name after '.'");
      return target;
    };
    Target first = one();
    if (!IsOperator(",")) return first;
    Target all;
    all.parts.push_back(std::move(first));
    while (SkipOperator(",")) {
      if (Peek().kind != Kind::kName && !IsOperator("(")) break;
      if (IsWord("in")) break;
      all.parts.push_back(one());
    }
    return all;
  }

  void ParseFor(Node* node) {
    node->tag = Tag::kFor;
    node->target = ParseTarget(false);
    if (!SkipWord("in")) FailExpected("'in'");
    node->value = ParseTuple(false);
    if (SkipWord("if")) node->condition = ParseExpr();
    if (IsWord("recursive")) Fail("recursive loops are not supported");
    EndTag();
    ++loops_;
    node->body = ParseBody({"endfor", "else"});
    --loops_;
    if (SkipWord("else")) {
      EndTag();
      node->other = ParseBody({"endfor"});
    }
    Next();
    EndTag();
  }

  void ParseIf(Node* node) {
    node->tag = Tag::kIf;
    do {
      ExprPtr condition = ParseTuple(false);
      EndTag();
      node->branches.emplace_back(std::move(condition), ParseBody({"elif", "else", "endif"}));
    } while (SkipWord("elif"));
    if (SkipWord("else")) {
      EndTag();
      node->other = ParseBody({"endif"});
    }
    Next();
    EndTag();
  }

  void ParseSet(Node* node) {
    node->tag = Tag::kSet;
    node->target = ParseTarget(true);
    if (SkipOperator("=")) {
      node->value = ParseTuple();
      return EndTag();
    }
    node->tag = Tag::kSetBlock;
    node->value = Make(Op::kText);
    while (SkipOperator("|")) node->value = ParseFilter(std::move(node->value));
    node->body = ParseBodyTo("endset");
  }

  void ParseParameters(Node* node) {
    ExpectOperator("(");
    while (!SkipOperator(")")) {
      if (!node->parameters.empty()) ExpectOperator(",");
      Parameter parameter;
      parameter.text = ExpectName("the name of a parameter");
      parameter.name = NameId(parameter.text);
      if (SkipOperator("=")) {
        parameter.value = ParseExpr();
      } else if (!node->parameters.empty() && node->parameters.back().value) {
        Fail("a parameter without a default follows one that has it");
      }
      node->parameters.push_back(std::move(parameter));
    }
  }

  // A loop's exit inside a macro does not leave the loop around it.
  Body ParseCallable(std::string_view end) {
    const uint32_t loops = std::exchange(loops_, 0);
    Body body = ParseBodyTo(end);
    loops_ = loops;
    return body;
  }

  void ParseMacro(Node* node) {
    node->tag = Tag::kMacro;
    node->text = ExpectName("the name of a macro");
    node->target.name = NameId(node->text);
    ParseParameters(node);
    node->body = ParseCallable("endmacro");
  }

  void ParseCall(Node* node) {
    node->tag = Tag::kCallBlock;
    if (IsOperator("(")) ParseParameters(node);
    node->value = ParseExpr();
    if (node->value->op != Op::kCall) Fail("expected a call after {% call");
    node->body = ParseCallable("endcall");
  }

  void ParseFilterBlock(Node* node) {
    node->tag = Tag::kFilterBlock;
    node->value = ParseFilter(Make(Op::kText));
    while (SkipOperator("|")) node->value = ParseFilter(std::move(node->value));
    node->body = ParseBodyTo("endfilter");
  }

  void ParseWith(Node* node) {
    node->tag = Tag::kWith;
    while (Peek().kind != Kind::kEndTag) {
      if (!node->assignments.empty()) ExpectOperator(",");
      Target target;
      target.name = NameId(ExpectName("a name"));
      ExpectOperator("=");
      node->assignments.emplace_back(std::move(target), ParseExpr());
    }
    node->body = ParseBodyTo("endwith");
  }

  // Marks what the model said; the text is the same.
  void ParseGeneration(Node* node) {
    node->tag = Tag::kBlock;
    node->body = ParseBodyTo("endgeneration");
  }

  void ParseLoopExit(Node* node) {
    node->tag = node->text == "break" ? Tag::kBreak : Tag::kContinue;
    if (loops_ == 0) Fail("{% " + node->text + " %} outside a loop");
    EndTag();
  }

  uint32_t loops_ = 0;
};

}  // namespace

Syntax Parse(std::string_view source, const std::string& where) {
  if (source.size() > kMaxSourceBytes) {
    throw Error(where + ": expected a template of at most " + std::to_string(kMaxSourceBytes) +
                " bytes, found " + std::to_string(source.size()));
  }
  return Parser(Tokenize(source, where), where).Run();
}

}  // namespace glint::jinja
