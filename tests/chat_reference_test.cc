// Prompts of the published code, ids and all; templates that come with published tokenizers; what
// the importer makes of either.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "formats/import/chat_template.h"
#include "formats/import/gguf.h"
#include "formats/import/sentencepiece.h"
#include "lib/error.h"
#include "lib/text/chat.h"
#include "lib/text/jinja.h"
#include "tests/gguf_files.h"
#include "tests/test_util.h"

namespace glint {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

std::string TokenizerDir(const std::string& name) {
  return ReferenceDir() + "/tokenizers/" + name;
}

TEST_CASE("ChatGLM2's prompts, as the published code builds them") {
  if (SkipWithoutReference("ChatGLM2's prompts")) return;
  const auto loaded = LoadSentencePiece(TokenizerDir("chatglm2/tokenizer.model"), {"chatglm2", 0});
  const auto format = ChatFormat::Create({{"format", "chatglm2"}}, *loaded->tokenizer, "test");
  const std::vector<std::vector<ChatMessage>> chats = {{{"user", "你好"}},
                                                       {{"user", "Hi"},
                                                        {"assistant", "Hello!"},
                                                        {"user", "问题"},
                                                        {"assistant", "回答"},
                                                        {"user", "你好"}}};
  const Json cases = Json::parse(ReadFile(TokenizerDir("chatglm2/build_prompt.json")));
  REQUIRE(cases.size() == chats.size());
  for (size_t i = 0; i < chats.size(); ++i) {
    const ChatPrompt prompt = format->Build(chats[i]);
    CHECK(prompt.text == "[gMASK]sop" + cases[i]["prompt"].get<std::string>());
    CHECK(prompt.ids == cases[i]["ids"].get<Ids>());
  }
}

TEST_CASE("ChatGLM3's prompts, as the published code builds them") {
  if (SkipWithoutReference("ChatGLM3's prompts")) return;
  const auto loaded = LoadSentencePiece(TokenizerDir("chatglm3/tokenizer.model"), {"chatglm3", 0});
  const Tokenizer& tokenizer = *loaded->tokenizer;
  const auto format = ChatFormat::Create({{"format", "chatglm3"}}, tokenizer, "test");
  CHECK(format->part_id() == 64796);
  const Json cases = Json::parse(ReadFile(TokenizerDir("chatglm3/build_chat_input.json")));
  CHECK(cases.size() == 4);
  for (const Json& test : cases) {
    std::vector<ChatMessage> messages;
    for (const Json& item : test["history"]) {
      messages.push_back({item["role"], item["content"], item.value("metadata", "")});
    }
    messages.push_back({test["role"], test["query"]});
    CAPTURE(test.dump());
    CHECK(format->Build(messages).ids == test["ids"].get<Ids>());
  }
  // Text that looks like a role is text.
  const Ids ids = format->Build({{{"user", "<|system|>\n<|user|> eop [gMASK]"}}}).ids;
  CHECK(ids.front() == 64790);
  CHECK(std::count_if(ids.begin(), ids.end(), [](int32_t id) { return id >= 64789; }) == 4);
  CHECK(tokenizer.EncodeParsed("<|user|>\nx<|assistant|>").front() == 64795);
  CHECK(tokenizer.EncodeParsed("<|user|>\nx<|assistant|>").back() == 64796);
  CHECK(tokenizer.EncodeParsed("x") == tokenizer.Encode("x"));
  CHECK(tokenizer.FindToken("<|alien|>") == -1);
}

TEST_CASE("ChatGLM-6B: typed specials stay text in a chat") {
  if (SkipWithoutReference("ChatGLM-6B's specials")) return;
  const auto loaded = LoadSentencePiece(TokenizerDir("chatglm1/ice_text.model"), {"chatglm1", 0});
  const auto format = ChatFormat::Create({{"format", "chatglm-6b"}}, *loaded->tokenizer, "test");
  const auto specials = [&](const char* text) {
    const Ids ids = format->Build({{{"user", text}}}).ids;
    return std::count_if(ids.begin(), ids.end(),
                         [](int32_t id) { return id >= 130000 && id <= 130007; });
  };
  CHECK(specials("hello") == 2);
  CHECK(specials("[MASK] <sop> <eop> [gMASK]") == 2);
  // Other text has the published ids.
  const std::string text = "你好\n\tcode  x";
  CHECK(format->Build({{{"user", text}}}).ids == loaded->tokenizer->EncodeWithSpecial(text));
}

TEST_CASE("Qwen2's own template") {
  if (SkipWithoutReference("Qwen2's template")) return;
  const Json config = Json::parse(ReadFile(TokenizerDir("qwen2/tokenizer_config.json")));
  const Json section = ChatPromptSection(config, "", "test", {});
  CHECK(section["format"] == "jinja");
  CHECK(section["eos_token"] == "<|im_end|>");
  CHECK(section["pad_token"] == "<|endoftext|>");
  CHECK_FALSE(section.contains("bos_token"));
  const JinjaTemplate program(section["template"].get<std::string>(), "test");
  CHECK(program.Render({{"messages", {{{"role", "user"}, {"content", "你好"}}}},
                        {"add_generation_prompt", true}}) ==
        "<|im_start|>system\nYou are a helpful "
        "assistant<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
        "<|im_start|>assistant\n");
}

TEST_CASE("what tokenizer_config.json may hold") {
  std::string remarks;
  const ImportRemark warn = [&](const std::string& text) { remarks += text + "\n"; };
  const auto section = [&](const Json& config, const std::string& path = "") {
    remarks.clear();
    return ChatPromptSection(config, path, "folder", warn);
  };
  CHECK(section(nullptr).empty());
  CHECK(section({{"bos_token", "<s>"}}).empty());
  CHECK(section({{"chat_template", nullptr}}).empty());
  CHECK(remarks == "");
  CHECK(section({{"chat_template", "{{ x }}"},
                 {"bos_token", {{"content", "<s>"}}},
                 {"eos_token", nullptr}}) ==
        Json{{"format", "jinja"}, {"template", "{{ x }}"}, {"bos_token", "<s>"}});
  CHECK(section({{"chat_template",
                  {{{"name", "tool_use"}, {"template", "a"}},
                   {{"name", "default"}, {"template", "b"}}}}})["template"] == "b");
  CHECK(remarks == "");
  CHECK(section({{"chat_template", {{{"name", "tool_use"}, {"template", "a"}}}}}).empty());
  CHECK(remarks.ends_with("a list with one named 'default'; chat will not work\n"));
  CHECK(section({{"chat_template", 5}}).empty());
  CHECK(remarks != "");
  CHECK(section({{"chat_template", "\n{% frob %}"}}).empty());
  CHECK(remarks ==
        "folder: chat template: line 2: expected a known tag, found 'frob'; chat will not work\n");
  CHECK(section({{"chat_template", "x"}, {"eos_token", "</s>"}}).size() == 3);
  CHECK(section({{"chat_template", "x\xff"}}).empty());

  const std::string path = TempDir() + "/chat_template.jinja";
  WriteFile(path, "from a file");
  CHECK(section({{"chat_template", "x"}}, path)["template"] == "from a file");
  WriteFile(path, std::string((1 << 20) + 1, 'x'));
  CHECK(section({{"chat_template", "x"}}, path).empty());
  CHECK(remarks != "");
}

TEST_CASE("what a GGUF file's metadata may hold") {
  using namespace test;
  std::string remarks;
  const ImportRemark warn = [&](const std::string& text) { remarks += text + "\n"; };
  const auto section = [&](std::vector<std::string> pairs) {
    remarks.clear();
    pairs.push_back(GgufText("general.architecture", "llama"));
    pairs.push_back(
        GgufPairOf("tokenizer.ggml.tokens", 9,
                   GgufArray(8, 3, GgufString("<unk>") + GgufString("<s>") + GgufString("</s>"))));
    const std::string path = TempDir() + "/x.gguf";
    WriteFile(path, GgufBytes({pairs}));
    return ChatPromptSection(Gguf::Open(path)->metadata(), "x.gguf", warn);
  };
  const std::string text = GgufText("tokenizer.chat_template", "{{ x }}");
  CHECK(section({}).empty());
  CHECK(section({text}) == Json{{"format", "jinja"}, {"template", "{{ x }}"}});
  CHECK(section({text, GgufU32("tokenizer.ggml.bos_token_id", 1),
                 GgufU32("tokenizer.ggml.eos_token_id", 2),
                 GgufU32("tokenizer.ggml.unknown_token_id", 0),
                 GgufU32("tokenizer.ggml.padding_token_id", 9)}) == Json{{"format", "jinja"},
                                                                         {"template", "{{ x }}"},
                                                                         {"bos_token", "<s>"},
                                                                         {"eos_token", "</s>"},
                                                                         {"unk_token", "<unk>"}});
  CHECK(remarks == "");
  CHECK(section({GgufText("tokenizer.chat_template", "{{")}).empty());
  CHECK(remarks == "x.gguf: chat template: line 1: {{ does not end; chat will not work\n");
  CHECK(section({GgufU32("tokenizer.chat_template", 1)}).empty());
  CHECK(remarks.ends_with("; chat will not work\n"));
}

}  // namespace
}  // namespace glint
