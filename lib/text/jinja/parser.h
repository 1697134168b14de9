#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/jinja/lexer.h"
#include "lib/text/jinja/syntax.h"

namespace glint::jinja {

// Tokens to expressions, with jinja2's order of precedence. The statements are read by a class that
// derives from it.
class ExprParser {
 protected:
  using Kind = Token::Kind;

  ExprParser(std::vector<Token> tokens, const std::string& where)
      : tokens_(std::move(tokens)), where_(where) {}

  // Everything that recurses while parsing holds one.
  class Nesting {
   public:
    explicit Nesting(ExprParser* parser) : parser_(parser) {
      if (++parser_->nesting_ > kMaxNesting) {
        parser_->Fail("nested deeper than " + std::to_string(kMaxNesting) + " levels");
      }
    }
    ~Nesting() { --parser_->nesting_; }

   private:
    ExprParser* parser_;
  };

  [[noreturn]] void Fail(const std::string& why) const;
  [[noreturn]] void FailExpected(const std::string& what) const;

  const Token& Peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  Token& Next() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  bool IsOperator(std::string_view text) const {
    return Peek().kind == Kind::kOperator && Peek().text == text;
  }
  bool IsWord(std::string_view text) const {
    return Peek().kind == Kind::kName && Peek().text == text;
  }
  bool SkipOperator(std::string_view text);
  bool SkipWord(std::string_view text);
  void ExpectOperator(std::string_view text);
  std::string ExpectName(const char* what);
  uint32_t NameId(const std::string& name);

  ExprPtr Make(Op op) const;
  // Adds an argument and keeps the height.
  void Add(Expr* expr, ExprPtr arg) const;

  ExprPtr ParseExpr();  // with "if ... else"
  // One expression, or several with commas; in brackets also none.
  ExprPtr ParseTuple(bool with_condition = true, bool in_brackets = false);
  // Parts with a word between them, from left to right.
  ExprPtr ParseChain(const char* word, Op op, ExprPtr (ExprParser::*part)());
  ExprPtr ParseOr();
  void ParseArguments(Expr* call);  // after "("
  // "|" and filters after `input`.
  ExprPtr ParseFilters(ExprPtr input);
  ExprPtr ParseFilter(ExprPtr input);  // the name and its arguments

  std::vector<std::string> names_;

 private:
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filter);
  ExprPtr ParsePrimary();
  ExprPtr ParseListOrDict();
  ExprPtr ParsePostfix(ExprPtr expr);
  ExprPtr ParseItem(ExprPtr expr);
  ExprPtr ParseTest(ExprPtr expr);
  bool ParseCompareOperator(Compare* compare);

  std::vector<Token> tokens_;
  const std::string& where_;
  size_t at_ = 0;
  uint32_t nesting_ = 0;
  std::map<std::string, uint32_t> name_ids_;
};

}  // namespace glint::jinja
