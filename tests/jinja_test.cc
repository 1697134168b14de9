#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "lib/error.h"
#include "lib/text/jinja.h"
#include "lib/text/python_json.h"
#include "tests/test_util.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

// What jinja2 itself says (tests/data/make_jinja_vectors.py).
const Json& Vectors() {
  static const Json vectors = Json::parse(ReadFile(SourceDir() + "/tests/data/jinja_vectors.json"));
  return vectors;
}

JinjaLimits Limits() {
  JinjaLimits limits;
  limits.now = Vectors()["now"].get<int64_t>();
  return limits;
}

std::string Render(const std::string& source, const Json& variables) {
  return JinjaTemplate(source, "test").Render(variables, Limits());
}

// The output, or "error: " and the message.
std::string Outcome(const std::string& source, const Json& variables = Json::object(),
                    const JinjaLimits& limits = Limits()) {
  try {
    return JinjaTemplate(source, "test").Render(variables, limits);
  } catch (const Error& error) {
    return std::string("error: ") + error.what();
  }
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

std::string Times(size_t n, const std::string& text) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

TEST_CASE("expressions and statements give what jinja2 gives") {
  for (const Json& test : Vectors()["cases"]) {
    CAPTURE(test["name"].get<std::string>());
    CHECK(Outcome(test["template"], Vectors()["values"]) == test["output"].get<std::string>());
  }
}

TEST_CASE("chat templates give what jinja2 gives, and refuse what it refuses") {
  size_t n_rendered = 0, n_refused = 0, n_failed = 0;
  for (const Json& chat : Vectors()["templates"]) {
    const JinjaTemplate program(chat["template"].get<std::string>(), "test");
    for (const Json& run : chat["runs"]) {
      Json variables = Vectors()["chats"][run["chat"].get<std::string>()];
      variables["bos_token"] = "<s>";
      variables["eos_token"] = "</s>";
      variables["add_generation_prompt"] = run["add_generation_prompt"];
      CAPTURE(chat["name"].get<std::string>());
      CAPTURE(run["chat"].get<std::string>());
      std::string found, error;
      try {
        found = program.Render(variables, Limits());
      } catch (const Error& e) {
        error = e.what();
      }
      if (run.contains("output")) {
        CHECK(error == "");
        CHECK(found == run["output"].get<std::string>());
        ++n_rendered;
      } else if (run.contains("refused")) {
        CHECK(error.ends_with(": " + run["refused"].get<std::string>()));
        ++n_refused;
      } else {
        CHECK(error != "");
        ++n_failed;
      }
    }
  }
  CHECK(n_rendered > 100);
  CHECK(n_refused > 10);
  MESSAGE(n_rendered, " rendered, ", n_refused, " refused, ", n_failed, " in error");
}

TEST_CASE("what fails in jinja2 fails with the reason and the line") {
  for (const Json& test : Vectors()["errors"]) {
    CAPTURE(test["template"].get<std::string>());
    const std::string found =
        Outcome("\n\n" + test["template"].get<std::string>(), Vectors()["values"]);
    CHECK(found.starts_with("error: test: line 3: "));
    CHECK(Has(found, test["part"]));
  }
}

TEST_CASE("what is not known is named, with its line") {
  const std::pair<std::string, std::string> kCases[] = {
      {"{% include 'x' %}", "line 1: expected a known tag, found 'include'"},
      {"\n{% block b %}{% endblock %}", "line 2: expected a known tag, found 'block'"},
      {"{{ 'x' | center(3) }}", "line 1: unknown filter 'center'"},
      {"{{ 'x' is frozen }}", "line 1: unknown test 'frozen'"},
      {"{{ ['x'] | map('center') | list }}", "unknown filter 'center'"},
      {"{{ 'x'.zfill(3) }}", "line 1: str.zfill() is not supported"},
      {"{{ [1].append(2) }}", "line 1: list.append() is not supported"},
      {"{{ {}.update({}) }}", "dict.update() is not supported"},
      {"{{ cycler('a') }}", "'cycler' is undefined"},
      {"{% for x in [1] recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}", "'loop.cycle' is not supported"},
      {"{{ range(*7) }}", "'int' object is not iterable"},
      {"{{ dict(**7) }}", "dict(): ** expects a mapping"},
      {"{{ dict(**{1: 2}) }}", "dict(): ** expects names that are text"},
      {"{{ '%s' % 'x' }}", "formatting with % is not supported"},
      {"{{ 'x' | trim(charz='x') }}", "trim(): an argument is not known; given by name: charz"},
      {"{{ 'x' | upper(1) }}", "upper(): expected at most 0 arguments, found 1"},
      {"{{ range }}", "a function cannot be printed"},
      {"{{ strftime_now('%Z') }}", "%Z is not supported"},
      {"{{ 9223372036854775807 + 1 }}", "a number beyond 64 bits"},
      {"{{ 9223372036854775808 }}", "expected a decimal number within 64 bits"},
      {"{{ -9223372036854775807 - 1 - 1 }}", "a number beyond 64 bits"},
      {"{{ (-9223372036854775807 - 1) // -1 }}", "a number beyond 64 bits"},
      {"{{ 10 ** 30 }}", "a number beyond 64 bits"},
      {"{% set ns = namespace() %}{% for x in [1] %}{% set ns.l = loop %}{% endfor %}"
       "{{ ns.l.index }}",
       "the loop has ended"},
  };
  for (const auto& [source, part] : kCases) {
    CAPTURE(source);
    const std::string found = Outcome(source);
    CHECK(found.starts_with("error: test: line "));
    CHECK_MESSAGE(Has(found, part), found);
  }
}

TEST_CASE("bad syntax is an error") {
  const std::string kCases[] = {
      "{{",
      "{{ }}",
      "{{ 1",
      "{%",
      "{% %}",
      "{# x",
      "{{ 'x }}",
      "{{ 1 + }}",
      "{{ (1 }}",
      "{{ [1 }}",
      "{{ {1} }}",
      "{{ {1: } }}",
      "{{ 1) }}",
      "{{ a.  }}",
      "{{ a[] }}",
      "{{ a[1:2:3:4] }}",
      "{{ a b }}",
      "{{ a | }}",
      "{{ a is }}",
      "{{ not }}",
      "{{ 1 if }}",
      "{{ @ }}",
      "{{ 'a' ! 'b' }}",
      "{{ 08 }}",
      "{{ 1__0 }}",
      "{{ 0x1 }}",
      "{{ \"\\u12\" }}",
      "{{ \"\\ud800\" }}",
      "{{ f(a=1, 2) }}",
      "{{ f(1 2) }}",
      "{% if %}{% endif %}",
      "{% if 1 %}",
      "{% if 1 %}{% else %}{% else %}{% endif %}",
      "{% endif %}",
      "{% for %}{% endfor %}",
      "{% for x of y %}{% endfor %}",
      "{% for x in y %}",
      "{% for 1 in y %}{% endfor %}",
      "{% set %}",
      "{% set x %}",
      "{% set true = 1 %}",
      "{% set x = %}",
      "{% set x y %}",
      "{% macro %}{% endmacro %}",
      "{% macro m %}{% endmacro %}",
      "{% macro m(a=1, b) %}{% endmacro %}",
      "{% macro m() %}",
      "{% call 1 %}{% endcall %}",
      "{% break %}",
      "{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
      "{% raw %}",
      "{% if 1 %}{% endfor %}",
      "{{ 1 }",
      "{% if 1 }",
      "{{ \xff }}",
      "{{ \xe4\xbd\xa0 }}",
      "{{ x = 1 }}",
      std::string("{{ \0 }}", 7),
  };
  for (const std::string& source : kCases) {
    CAPTURE(source);
    CHECK_THROWS_AS(JinjaTemplate(source, "test"), Error);
  }
  CHECK_THROWS_WITH_AS(
      JinjaTemplate("a\n{% if x %}\nb", "m.glint: prompt"),
      "m.glint: prompt: line 3: expected {% endif %}, found the end of the template", Error);
}

TEST_CASE("a template cannot use the machine up") {
  JinjaLimits limits = Limits();
  limits.steps = 1'000'000;
  limits.memory = 16 << 20;
  limits.output = 1 << 20;
  const std::string r = "{% for a in range(99999) %}";
  const std::string e = "{% endfor %}";
  const std::pair<std::string, const char*> kCases[] = {
      {r + r + r + e + e + e, "steps"},
      {r + "{% set x = 'a' * 1000 %}" + e, "steps"},
      {"{% set ns = namespace(x='a') %}" + r + "{% set ns.x = ns.x ~ ns.x %}" + e, "memory"},
      {"{% set ns = namespace(x=[1]) %}" + r + "{% set ns.x = ns.x + ns.x %}" + e,
       "needs more than"},  // where a size_t has 32 bits values are small, and steps end first
      {"{% set ns = namespace(x=[]) %}" + r + "{% set ns.x = [ns.x] %}" + e, "nested deeper"},
      {"{% set ns = namespace(x={}) %}" + r + "{% set ns.x = {'a': ns.x} %}" + e, "nested deeper"},
      {"{% set ns = namespace(x=[1]) %}{% for a in range(90) %}{% set ns.x = [ns.x, ns.x] %}" + e +
           "{{ ns.x }}",
       "steps"},
      {"{% set ns = namespace(x=[1]) %}{% for a in range(90) %}{% set ns.x = [ns.x, ns.x] %}" + e +
           "{{ ns.x == ns.x + [] }}{{ ns.x | tojson }}",
       "steps"},
      {r + "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}" + e, "writes more than"},
      {"{{ 'a' * 1000000000000 }}", "memory"},
      {"{{ [1] * 1000000000000 }}", "memory"},
      {"{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}", "memory"},
      {"{{ ('a' * 1000000).replace('', 'b' * 1000000) }}", "memory"},
      {"{{ (['a' * 1000000] * 100) | join }}", "memory"},
      {"{{ (['a' * 1000000] * 100) | tojson }}", "memory"},
      {"{{ ['a' * 1000000] * 100 }}", "memory"},
      {"{{ ('\\n' * 1000000) | indent(900, blank=true) }}", "memory"},
      {"{{ ('a' * 1000000).replace('a' * 100000 ~ 'b', '') }}", "steps"},
      {"{{ ('a' * 1000000).split('a' * 100000 ~ 'b') }}", "steps"},
      {"{{ ('a' * 1000000).find('a' * 100000 ~ 'b') }}", "steps"},
      {"{{ ('a' * 1000000).count('a' * 100000 ~ 'b') }}", "steps"},
      {"{{ ('a' * 100000 ~ 'b') in 'a' * 1000000 }}", "steps"},
      {"{{ range(100000000) | list }}", "range of more than"},
      {"{{ range(-9223372036854775807, 9223372036854775807) }}", "range of more than"},
      {"{{ [1] | tojson(indent=100000000) }}", "indent"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "without end"},
      {"{% macro m(x) %}{{ caller() }}{% call m(1) %}{{ caller() }}{% endcall %}{% endmacro %}"
       "{% call m(1) %}x{% endcall %}",
       "error"},
      {"{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
       "without end"},
      {r + "{% set x = namespace() %}{% macro m() %}{% endmacro %}" + e, "memory"},
      {"{% set ns = namespace(m=1) %}{% macro m() %}{% macro n() %}{% endmacro %}{% set ns.m = n %}"
       "{% endmacro %}" +
           r + "{{ m() }}" + e,
       "memory"},
      {"{% set ns = namespace(s=0) %}{% set ns.s = ns %}{{ ns }}", "cannot be printed"},
      {"{{ ('ab' * 100000).split('b') | map('upper') | join | length }}{{ ('a ' * 400000).split() "
       "}}",
       "error"},
  };
  for (const auto& [source, part] : kCases) {
    CAPTURE(source);
    const std::string found = Outcome(source, Json::object(), limits);
    CHECK_MESSAGE(found.starts_with("error: test: line "), found.substr(0, 200));
    CHECK_MESSAGE(Has(found, part), found.substr(0, 200));
  }
  CHECK(Has(Outcome(std::string((1 << 20) + 1, 'x')), "expected a template of at most"));
}

TEST_CASE("deep nesting is an error, not a crash") {
  for (const auto& [open, close] : {std::pair<std::string, std::string>{"(", ")"},
                                    {"[", "]"},
                                    {"{1:", "}"},
                                    {"f(", ")"},
                                    {"a[", "]"},
                                    {"not ", ""},
                                    {"- ", ""},
                                    {"1 if 1 else ", ""}}) {
    CAPTURE(open);
    const std::string source = "{{ " + Times(50000, open) + "1" + Times(50000, close) + " }}";
    CHECK(Has(Outcome(source), "nested deeper than 100 levels"));
  }
  for (const char* op : {" + 1", " - 1", " * 1", " and 1", " or 1", " | int", "[0]", ".a", "()",
                         " is odd", " if 1 else 1", "**1"}) {
    CAPTURE(op);
    const std::string found = Outcome("{{ 1" + Times(30000, op) + " }}");
    CHECK(found.starts_with("error: "));
  }
  CHECK(Outcome("{{ 1" + Times(400, " + 1") + " }}") == "401");
  CHECK(Outcome("{{ 1" + Times(20000, " ~ 1") + " }}").size() == 20001);
  CHECK(Has(Outcome(Times(5000, "{% if 1 %}") + Times(5000, "{% endif %}")), "nested deeper"));
  CHECK(Has(Outcome(Times(5000, "{% for x in [1] %}")), "nested deeper"));
  CHECK(Has(Outcome("{% set " + Times(5000, "(") + "x" + Times(5000, ")") + " = 1 %}"),
            "nested deeper"));
  CHECK(Outcome("{% if 0 %}" + Times(5000, "{% elif 0 %}") + "{% else %}x{% endif %}") == "x");
  Json deep;
  for (int i = 0; i < 200; ++i) deep = Json::array({deep});
  CHECK(Has(Outcome("{{ x }}", {{"x", deep}}), "nested deeper than 100"));
}

TEST_CASE("text that is not UTF-8 is replaced") {
  CHECK(Render("{{ x }}|{{ x | length }}|{{ x | tojson }}", {{"x", "a\xff\xe4z"}}) ==
        "a\xEF\xBF\xBD\xEF\xBF\xBDz|4|\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"");
}

TEST_CASE("one template serves many threads") {
  const JinjaTemplate program(
      "{% set ns = namespace(n=0) %}{% macro m(x) %}{{ x }}{% endmacro %}"
      "{% for i in range(50) %}{% set ns.n = ns.n + i %}{{ m(i) }}{% endfor %}={{ ns.n }}",
      "test");
  const std::string expected = program.Render(Json::object());
  std::vector<std::thread> threads;
  std::vector<std::string> found(4);
  for (std::string& text : found) {
    threads.emplace_back([&] { text = program.Render(Json::object()); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : found) CHECK(text == expected);
}

TEST_CASE("JSON as Python writes it") {
  const Json value =
      Json::parse(R"({"b": [1, 2.0, 1e-7, null, true], "a": {}, "c": "\u4f60\u0001"})");
  CHECK(PythonJson(value, -1) ==
        "{\"b\": [1, 2.0, 1e-07, null, true], \"a\": {}, \"c\": \"\u4f60\\u0001\"}");
  CHECK(PythonJson(value, 2) ==
        "{\n  \"b\": [\n    1,\n    2.0,\n    1e-07,\n    null,\n    true\n  ],\n  \"a\": {},\n  "
        "\"c\": "
        "\"\u4f60\\u0001\"\n}");
}

}  // namespace
}  // namespace glint
