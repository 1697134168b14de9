#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "lib/error.h"
#include "lib/text/chat.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

const ChatFormat& Glm() {
  return FindChatFormat("chatglm-6b", "test");
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The published process_response step by step: strip, placeholder, then for each mark one pass for
// a Chinese character before it and one for a Chinese character after it.
std::string Published(std::string text) {
  text = std::string(StripRight(StripLeft(text)));
  text = Replaced(text, "[[训练时间]]", "2023年");
  const std::pair<char, std::string> kMarks[] = {
      {',', "，"}, {'!', "！"}, {':', "："}, {';', "；"}, {'?', "？"}};
  for (const auto& [mark, wide] : kMarks) {
    for (const bool before : {true, false}) {
      std::vector<std::string> chars;
      for (std::string_view rest = text; !rest.empty();) {
        const CodePoint c = FirstCodePoint(rest);
        chars.emplace_back(rest.substr(0, c.bytes));
        rest.remove_prefix(c.bytes);
      }
      text.clear();
      for (size_t i = 0; i < chars.size(); ++i) {
        const size_t next = before ? i - 1 : i + 1;
        bool chinese = false;
        if (next < chars.size()) {
          const int32_t c = FirstCodePoint(chars[next]).value;
          chinese = c >= 0x4E00 && c <= 0x9FFF;
        }
        text += chars[i] == std::string(1, mark) && chinese ? wide : chars[i];
      }
    }
  }
  return text;
}

TEST_CASE("the first query goes bare") {
  CHECK(Glm().build_prompt({}, "你好") == "你好");
  CHECK(Glm().build_prompt({}, "") == "");
}

TEST_CASE("history is written as rounds from 0") {
  const std::vector<ChatTurn> one = {{"你好", "你好！"}};
  CHECK(Glm().build_prompt(one, "晚上睡不着应该怎么办") ==
        "[Round 0]\n问：你好\n答：你好！\n[Round 1]\n问：晚上睡不着应该怎么办\n答：");
  const std::vector<ChatTurn> two = {{"What is a cat?", "An animal."}, {"用中文说", "动物。"}};
  CHECK(Glm().build_prompt(two, "and in English?") ==
        "[Round 0]\n问：What is a cat?\n答：An animal.\n[Round 1]\n问：用中文说\n答：动物。\n"
        "[Round 2]\n问：and in English?\n答：");
}

TEST_CASE("an unknown format names the known ones") {
  CHECK_THROWS_WITH_AS(FindChatFormat("alpaca\n", "m.glint: prompt"),
                       "m.glint: prompt: expected a known chat format (chatglm-6b), found "
                       "'alpaca\\x0a'",
                       Error);
}

TEST_CASE("replies are post-processed") {
  const std::pair<std::string, std::string> kCases[] = {
      {"", ""},
      {"  \n ", ""},
      {" hi \n", "hi"},
      {"\u3000你好\u00a0\u3000", "你好"},
      {"Hello, world! Is it: so; really?", "Hello, world! Is it: so; really?"},
      {"你好,世界!", "你好，世界！"},
      {"你好, world", "你好， world"},
      {"Hi,你好", "Hi，你好"},
      {"三个:a,b;c?对!", "三个：a,b;c？对！"},
      {"真的吗?!", "真的吗？!"},
      {"?!好", "?！好"},
      {"1,2,三", "1,2，三"},
      {"训练到[[训练时间]]", "训练到2023年"},
      {"[[训练时间]],好", "2023年，好"},
      {"[[训练时间]],", "2023年，"},
      {"[[[训练时间]]]", "[2023年]"},
      {"[[训练时", "[[训练时"},
      {"答: 好。", "答： 好。"},
      {"你好！", "你好！"},
      {"カタカナ,ひらがな", "カタカナ,ひらがな"},  // kana are not in the published range
  };
  for (const auto& [reply, shown] : kCases) {
    CAPTURE(reply);
    CHECK(PostProcess(Glm(), reply) == shown);
    CHECK(Published(reply) == shown);
  }
}

TEST_CASE("a stream shows what the whole gives, however it is cut") {
  const std::vector<std::string> kParts = {
      " ",   "\n", "\u3000", "你",           "好",   ",",    "!",  ":", ";",  "?",   "a",
      "b c", "[",  "[[",     "[[训练时间]]", "训练", "时间", "]]", "😀", "，", "[[训"};
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    ReplyStream stream(Glm());
    std::string whole, shown;
    for (size_t n = random() % 14; n > 0; --n) {
      const std::string& part = kParts[random() % kParts.size()];
      whole += part;
      shown += stream.Add(part);
      CHECK(IsUtf8(shown));
    }
    shown += stream.Finish();
    CAPTURE(whole);
    REQUIRE(shown == Published(whole));
    REQUIRE(shown == PostProcess(Glm(), whole));
  }
}

TEST_CASE("a stream holds back no more than it must") {
  ReplyStream stream(Glm());
  CHECK(stream.Add("  你好") == "你好");
  CHECK(stream.Add(",") == "，");
  CHECK(stream.Add(" ok") == " ok");
  CHECK(stream.Add(",") == "");
  CHECK(stream.Add("s") == ",s");
  CHECK(stream.Add(" \n") == "");
  CHECK(stream.Add("[") == " \n");
  CHECK(stream.Add("x") == "[x");
  CHECK(stream.Add(" ") == "");
  CHECK(stream.Finish() == "");
  CHECK(stream.Add(" again") == "again");
}

}  // namespace
}  // namespace glint
