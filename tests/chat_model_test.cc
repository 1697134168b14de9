// Chats with a model that has a template: from a Hugging Face folder to a conversation.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "formats/convert/convert.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "tests/llama_samples.h"
#include "tests/spm_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

using Json = nlohmann::json;

// Writes one letter for a role, and refuses a user's "cc".
constexpr char kTemplate[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' and m.content == 'cc' %}"
    "{{ raise_exception('no cc') }}{% endif %}{{ {'system': 'a', 'user': 'b', 'assistant': 'c', 'tool': 'ab'}[m.role] }}"
    "{{ m.content | trim }}<x>{% endfor %}{% if tools %}{{ 'a' * tools | length }}{% endif %}";

// A LLaMA of 14 pieces whose folder has this template.
std::unique_ptr<Model> ConvertWithTemplate(const Json& chat_template,
                                           std::string* warning = nullptr) {
  LlamaShape shape;
  shape.vocab_size = 14;
  shape.max_seq_len = 64;
  const std::string folder = LlamaFolder(shape);
  WriteFile(folder + "/tokenizer.model", SmallBpe());
  const Json config = {
      {"chat_template", chat_template}, {"bos_token", "<s>"}, {"eos_token", "<x>"}};
  WriteFile(folder + "/tokenizer_config.json", config.dump());
  ConvertOptions options;
  options.source = folder;
  options.write.output = TempDir() + "/model.glint";
  options.has_type = true;
  options.type = DType::kF32;
  options.warn = [&](const std::string& text) {
    if (warning) *warning += text;
  };
  Convert(options);
  return Model::Open(options.write.output);
}

// Asks until the made-up weights say something: an empty reply is not remembered.
Reply AskFor(Chat& chat, const char* query, const char* role = "user",
             size_t* forgotten = nullptr) {
  GenerateOptions options;
  options.sampler.temperature = 2;
  options.max_tokens = 4;
  Reply reply;
  for (uint64_t seed = 1; seed < 100 && reply.messages.empty(); ++seed) {
    size_t now = 0;
    options.sampler.seed = seed;
    reply = chat.Ask(query, options, {}, &now, role);
    if (forgotten) *forgotten += now;
  }
  REQUIRE_FALSE(reply.messages.empty());
  return reply;
}

}  // namespace

TEST_CASE("a template's prompt is what the model sees") {
  const std::unique_ptr<Model> model = ConvertWithTemplate(kTemplate);
  REQUIRE(model->chat());
  CHECK(model->chat()->name() == std::string("jinja"));
  // The template's end of a message ends a reply, as does the model's.
  CHECK(model->prompt_ids().stop == std::vector<int32_t>{2, 12});
  SessionOptions session_options;
  session_options.threads = 1;
  Session session(*model, session_options);
  Chat chat(session);
  ChatPrompt seen;
  chat.SetOnPrompt([&](const ChatPrompt& prompt) { seen = prompt; });
  chat.SetSystem("bc");
  const Reply first = AskFor(chat, "ab");
  CHECK(seen.text == "<s>abc<x>bab<x>");
  CHECK(seen.ids.front() == 1);
  CHECK(std::count(seen.ids.begin(), seen.ids.end(), 12) == 2);
  CHECK(first.messages[0].content == first.text);
  CHECK(chat.n_turns() == 1);
  CHECK(chat.history().size() == 2);

  // A tool's answer goes on with the turn.
  chat.SetTools(nlohmann::ordered_json::array({1, 2, 3}));
  AskFor(chat, "c", "tool");
  CHECK(seen.text.starts_with("<s>abc<x>bab<x>c"));
  CHECK(seen.text.ends_with("<x>abc<x>aaa"));
  CHECK(chat.n_turns() == 1);
  CHECK(chat.history().size() == 4);
  chat.SetTools(nullptr);
  CHECK_THROWS_WITH_AS(chat.SetTools(5), doctest::Contains("expected a list of tools"), Error);

  // What the template refuses is an error with its words, and the chat goes on.
  CHECK_THROWS_WITH_AS(chat.Ask("cc", {}, {}), doctest::Contains(": no cc"), Error);
  CHECK(chat.history().size() == 4);
  AskFor(chat, "b");
  CHECK(chat.n_turns() == 2);
  chat.Clear();
  chat.SetSystem("");
  AskFor(chat, "a");
  CHECK(seen.text == "<s>ba<x>");
}

TEST_CASE("a full context forgets whole turns, never the system message") {
  const std::unique_ptr<Model> model = ConvertWithTemplate(kTemplate);
  SessionOptions session_options;
  session_options.threads = 1;
  session_options.context = 64;
  Session session(*model, session_options);
  Chat chat(session);
  std::string seen;
  chat.SetOnPrompt([&](const ChatPrompt& prompt) { seen = prompt.text; });
  chat.SetSystem("bc");
  size_t total = 0;
  for (int turn = 0; turn < 8; ++turn) {
    AskFor(chat, "ab", "user", &total);
    AskFor(chat, "c", "tool", &total);
    CHECK(seen.starts_with("<s>abc<x>bab<x>c"));
    CHECK(session.length() <= 64);
  }
  CHECK(total > 0);
  CHECK(chat.n_turns() + total == 8);
  CHECK(chat.history()[0].role == "user");
  std::string huge;
  for (int i = 0; i < 100; ++i) huge += "bb";
  CHECK_THROWS_WITH_AS(chat.Ask(huge, {}, {}), doctest::Contains("the context holds 64"), Error);
}

TEST_CASE("a full context forgets half of the history at once, and then none for a while") {
  const std::unique_ptr<Model> model = ConvertWithTemplate(
      "{{ bos_token }}{% for m in messages %}b{{ m.content | trim }}<x>{% endfor %}");
  SessionOptions session_options;
  session_options.threads = 1;
  session_options.context = 128;  // of which a reply has 64
  Session session(*model, session_options);
  Chat chat(session);
  size_t seen = 0, alone = 0, times = 0, before = 0, largest = 0;
  chat.SetOnPrompt([&](const ChatPrompt& prompt) { seen = prompt.ids.size(); });
  for (int turn = 0; turn < 24; ++turn) {
    size_t now = 0;
    AskFor(chat, "ab", "user", &now);
    if (turn == 0) alone = seen;
    largest = std::max(largest, seen);
    CHECK(seen <= 64);
    if (now != 0) {
      ++times;
      CHECK(now >= 2);
      CHECK(before == 0);
      CHECK(seen <= alone + (64 - alone) / 2);
      CHECK(chat.n_turns() > 1);
    }
    before = now;
  }
  CHECK(times > 1);
  CHECK(largest > 50);  // it was full

  // The last turn may take more than half.
  chat.Clear();
  const std::string half = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
  AskFor(chat, half.c_str());
  AskFor(chat, half.substr(0, 14).c_str());
  CHECK(chat.n_turns() == 2);
  size_t now = 0;
  AskFor(chat, half.c_str(), "user", &now);
  CHECK(now == 1);
  CHECK(chat.n_turns() == 2);
}

TEST_CASE("what a second turn shares with the first is not computed again") {
  const std::unique_ptr<Model> model = ConvertWithTemplate(kTemplate);
  REQUIRE(model->causal());
  SessionOptions session_options;
  session_options.threads = 1;
  Session session(*model, session_options);
  Chat chat(session);
  chat.SetSystem("bc");
  GenerateOptions options;
  options.max_tokens = 4;
  Reply first;
  do {
    session.Forget();
    ++options.sampler.seed;
    first = chat.Ask("ab", options, {});
    CHECK(first.kept_tokens == 0);
  } while (first.messages.empty());
  const Reply second = chat.Ask("c", options, {});
  CHECK(second.kept_tokens >= first.prompt_tokens);
  CHECK(second.kept_tokens < second.prompt_tokens);

  // It says what it would say had it read everything.
  Session other_session(*model, session_options);
  Chat other(other_session);
  other.SetSystem("bc");
  REQUIRE(other.Ask("ab", options, {}).ids == first.ids);
  other_session.Forget();
  const Reply anew = other.Ask("c", options, {});
  CHECK(anew.kept_tokens == 0);
  CHECK(anew.ids == second.ids);
}

TEST_CASE("a template that does not parse costs the chat, not the model") {
  std::string warning;
  const std::unique_ptr<Model> model = ConvertWithTemplate("{% if %}", &warning);
  CHECK(warning.ends_with("line 1: expected an expression, found %}; chat will not work"));
  CHECK(model->tokenizer());
  CHECK_FALSE(model->chat());
  Session session(*model, {});
  CHECK_THROWS_WITH_AS(Chat{session}, doctest::Contains("the model has no chat format"), Error);
}

TEST_CASE("no template, no chat format") {
  std::string warning;
  const std::unique_ptr<Model> model = ConvertWithTemplate(nullptr, &warning);
  CHECK(warning == "");
  CHECK_FALSE(model->chat());
}
