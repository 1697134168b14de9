// What becomes of prompts and replies that end just before, at or beyond the context's end, under each
// policy, for a model with a prefix and a causal one.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "lib/generate.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"
#include "tests/spm_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

constexpr size_t kContext = 40;
constexpr ContextPolicy kAll[] = {ContextPolicy::kStop, ContextPolicy::kDropOldest,
                                  ContextPolicy::kError};

struct Case {
  const char* name;
  std::unique_ptr<Model> model;
  int32_t vocabulary;

  std::vector<int32_t> Prompt(size_t n) const {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < n; ++i) ids.push_back(3 + static_cast<int32_t>(i * 7) % vocabulary);
    if (model->causal()) return ids;
    ids[n - 2] = model->prompt_ids().gmask;
    ids[n - 1] = model->prompt_ids().sop;
    return ids;
  }
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  cases.push_back({"prefix", Model::Open(SourceDir() + "/examples/tiny/tiny.glint"), 500});
  LlamaShape shape;
  shape.vocab_size = 14;
  shape.max_seq_len = 64;
  const std::string folder = LlamaFolder(shape);
  WriteFile(folder + "/tokenizer.model", SmallBpe());
  const nlohmann::json config = {
      {"chat_template", "{% for m in messages %}{{ m.content }}<x>{% endfor %}"},
      {"bos_token", "<s>"},
      {"eos_token", "<x>"}};
  WriteFile(folder + "/tokenizer_config.json", config.dump());
  cases.push_back({"causal", ConvertAndOpen(folder, DType::kF32, false), 9});
  return cases;
}

SessionOptions Options() {
  SessionOptions options;
  options.context = kContext;
  options.threads = 1;
  options.max_batch = 4;
  return options;
}

// The reply of some seed with which the model does not stop by itself.
Reply Unstopped(Session& session, const std::vector<int32_t>& prompt, GenerateOptions options) {
  options.sampler.temperature = 2;
  options.sampler.top_p = 1;
  options.sampler.top_k = 0;
  Reply reply;
  for (options.sampler.seed = 1; options.sampler.seed < 1000; ++options.sampler.seed) {
    reply = Generate(session, prompt, options, {});
    if (reply.end != Reply::End::kStop) break;
  }
  return reply;
}

}  // namespace

TEST_CASE("a prompt at the context's end") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    Session session(*c.model, Options());
    for (const ContextPolicy policy : kAll) {
      CAPTURE(Name(policy));
      GenerateOptions options;
      options.policy = policy;
      for (const size_t n : {kContext - 1, kContext}) {
        const Reply reply = Unstopped(session, c.Prompt(n), options);
        CHECK(reply.end == Reply::End::kContextFull);
        CHECK(reply.ids.size() == kContext - n + 1);
        CHECK(session.length() == kContext);
      }
      if (policy == ContextPolicy::kError) {
        CHECK_THROWS_WITH_AS(Generate(session, c.Prompt(kContext + 1), options, {}),
                             "the prompt has 41 tokens; the context holds 40", Error);
      } else {
        const Reply reply = Generate(session, c.Prompt(kContext + 1), options, {});
        CHECK(reply.end == Reply::End::kContextFull);
        CHECK(reply.status == Status::kContextFull);
        CHECK(reply.ids.empty());
      }
      CHECK(session.length() == kContext);  // the sequence before it is still there
    }
  }
}

TEST_CASE("a reply at the context's end") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    Session session(*c.model, Options());
    const size_t n = kContext - 6;
    for (const ContextPolicy policy : kAll) {
      CAPTURE(Name(policy));
      for (const bool lookup : {false, true}) {
        GenerateOptions options;
        options.policy = policy;
        options.lookup = lookup;
        for (const size_t wanted : {5, 6, 7}) {  // the last token of a reply need not fit
          options.max_tokens = wanted;
          const Reply reply = Unstopped(session, c.Prompt(n), options);
          CHECK(reply.end == Reply::End::kLength);
          CHECK(reply.ids.size() == wanted);
        }
        options.max_tokens = 8;
        if (policy == ContextPolicy::kError) {
          const size_t length = session.length();
          CHECK_THROWS_WITH_AS(Generate(session, c.Prompt(n), options, {}),
                               "the prompt has 34 tokens and 8 more are wanted; the context holds 40",
                               Error);
          CHECK(session.length() == length);  // nothing was computed
          continue;
        }
        for (const size_t wanted : {size_t{8}, size_t{1} << 40, SIZE_MAX, size_t{0}}) {
          options.max_tokens = wanted;
          const Reply reply = Unstopped(session, c.Prompt(n), options);
          CHECK(reply.end == Reply::End::kContextFull);
          CHECK(reply.ids.size() == 7);
        }
      }
    }
  }
}

TEST_CASE("a conversation at the context's end") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    for (const ContextPolicy policy : kAll) {
      CAPTURE(Name(policy));
      Session session(*c.model, Options());
      Chat chat(session);
      GenerateOptions options;
      options.policy = policy;
      options.max_tokens = 3;
      options.sampler.temperature = 2;
      size_t prompt_tokens = 0, forgotten = 0, turns = 0;
      chat.SetOnPrompt([&](const ChatPrompt& prompt) { prompt_tokens = prompt.ids.size(); });
      bool refused = false;
      for (options.sampler.seed = 1; options.sampler.seed < 60; ++options.sampler.seed) {
        const size_t before = chat.history().size();
        size_t now = 77;
        prompt_tokens = 0;
        try {
          const Reply reply = chat.Ask("ab", options, {}, &now);
          if (reply.end == Reply::End::kContextFull && reply.ids.empty()) {
            CHECK(policy == ContextPolicy::kStop);
            CHECK(reply.status == Status::kContextFull);
            CHECK(reply.prompt_tokens > kContext);
            CHECK(prompt_tokens == 0);  // the model did not run
            CHECK(now == 0);
            CHECK(chat.history().size() == before);
            refused = true;
            break;
          }
          forgotten += now;
          turns = std::max(turns, chat.n_turns());
        } catch (const Error& error) {
          CHECK(policy == ContextPolicy::kError);
          CHECK(std::string(error.what()).find("the context holds 40") != std::string::npos);
          CHECK(chat.history().size() == before);
          CHECK(prompt_tokens == 0);
          refused = true;
          break;
        }
        REQUIRE(prompt_tokens <= kContext);
      }
      CHECK(refused == (policy != ContextPolicy::kDropOldest));
      CHECK((forgotten != 0) == (policy == ContextPolicy::kDropOldest));
    }
  }
}

TEST_CASE("policies have names") {
  for (const ContextPolicy policy : kAll) {
    ContextPolicy parsed{};
    CHECK(ParseContextPolicy(Name(policy), &parsed));
    CHECK(parsed == policy);
  }
  ContextPolicy parsed{};
  CHECK_FALSE(ParseContextPolicy("shift", &parsed));
}
