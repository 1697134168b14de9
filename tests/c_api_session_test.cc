// The C interface through its C++ wrapper: feeding, generating, cancelling, saving, chats. The
// library is the shared one; nothing else of the project is linked.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "tests/c_api_samples.h"

using namespace c_api_test;
using namespace glint_cpp;

TEST_CASE("c api: feeding") {
  const Model model(TinyPath());
  Session session(model, Options(128, 4));
  const Ids prompt = Prompt(model);
  session.Start(prompt);
  CHECK(session.Ids() == prompt);
  CHECK(Row(session).size() == model.Info().n_logits);
  const Ids more = {20, 21, 22, 23};
  session.Append(more);
  const std::vector<float> last = Row(session);
  const auto [first, n] = session.BatchLogits(0);
  const std::vector<float> first_row(first, first + n);
  CHECK(session.Info().length == prompt.size() + 4);
  CHECK(StatusOf([&] { session.BatchLogits(4); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { session.Append(Ids(5, 20)); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { session.Append(Ids()); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { session.Append(-1); }) == GLINT_ERROR_ARGUMENT);
  CHECK(SameBits(Row(session), last));

  Session one_by_one(model, Options(128, 1, 1));
  one_by_one.Start(prompt);
  one_by_one.Append(more[0]);
  CHECK(SameBits(Row(one_by_one), first_row));
  for (size_t i = 1; i < more.size(); ++i) one_by_one.Append(more[i]);
  CHECK(SameBits(Row(one_by_one), last));

  session.Truncate(prompt.size() + 1);
  CHECK(SameBits(Row(session), first_row));
  session.Append({21, 22, 23});
  CHECK(SameBits(Row(session), last));
  CHECK(StatusOf([&] { session.Truncate(prompt.size() - 1); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { session.Truncate(1000); }) == GLINT_ERROR_ARGUMENT);

  Ids too_long = prompt;
  too_long.resize(129, 20);
  CHECK(StatusOf([&] { session.Start(too_long); }) == GLINT_CONTEXT_FULL);
  CHECK(SameBits(Row(session), last));  // the old sequence has stayed
  const glint_session_info info = session.Info();
  CHECK(info.context == 128);
  CHECK(info.max_batch == 4);
  CHECK(info.threads == 2);
  CHECK(info.kv != GLINT_KV_DEFAULT);
}

TEST_CASE("c api: a pool of the caller's changes no bit") {
  struct Pool {
    std::atomic<size_t> calls{0};
  } used;
  glint_thread_pool pool = glint_thread_pool_init();
  pool.threads = 3;
  pool.user = &used;
  pool.run = [](void* user, size_t n, void (*task)(void*, size_t, size_t), void* context) {
    ++static_cast<Pool*>(user)->calls;
    std::vector<std::thread> threads;
    for (size_t i = 1; i < n; ++i) threads.emplace_back([=] { task(context, i, i); });
    if (n != 0) task(context, 0, 0);
    for (std::thread& thread : threads) thread.join();
  };
  const Model model(TinyPath());
  glint_session_options options = Options();
  options.pool = &pool;
  Session with_pool(model, options), without(model, Options());
  CHECK(with_pool.Info().threads == 3);
  with_pool.Start(Prompt(model));
  without.Start(Prompt(model));
  CHECK(SameBits(Row(with_pool), Row(without)));
  CHECK(used.calls > 0);
}

TEST_CASE("c api: generating, and going on") {
  const Model model(TinyPath());
  Session session(model, Options(128, 8));
  const Ids prompt = Prompt(model);
  std::string pieces;
  Ids ids;
  const OnToken collect = [&](std::string_view piece, int32_t id) {
    pieces += piece;
    if (id >= 0) ids.push_back(id);
    return true;
  };
  const Reply whole = session.Generate(prompt, collect, Wild(20));
  CHECK(whole.text == pieces);
  CHECK(whole.ids == ids);
  CHECK(whole.prompt_tokens == prompt.size());
  REQUIRE(whole.ids.size() > 4);
  GenerateOptions lookup = Wild(20);
  lookup.lookup = true;
  CHECK(session.Generate(prompt, {}, lookup).ids == whole.ids);

  // A greedy reply cut at each length, by the limit and by the callback, goes on as if it had not
  // been.
  for (const char* question : {kQuestion, kChinese}) {
    const Reply reply = session.Generate(Prompt(model, question), {}, Greedy());
    CHECK(reply.end == GLINT_END_STOP);
    for (size_t cut = 1; cut < reply.ids.size(); ++cut) {
      const Reply begin = session.Generate(Prompt(model, question), {}, Greedy(cut));
      CHECK(begin.end == GLINT_END_LENGTH);
      const Reply rest = session.Generate({}, {}, Greedy());
      CHECK(begin.text + rest.text == reply.text);
      CHECK(begin.ids.size() + rest.ids.size() == reply.ids.size());
      size_t left = cut;
      const Reply stopped = session.Generate(
          Prompt(model, question), [&](std::string_view, int32_t) { return --left != 0; },
          Greedy());
      CHECK(stopped.end == GLINT_END_CALLBACK);
      CHECK(stopped.text == begin.text);
      CHECK(session.Generate({}, {}, Greedy()).text == rest.text);
    }
  }
  // An exception passes through the C code.
  const auto thrower = [](std::string_view, int32_t) -> bool { throw std::logic_error("mine"); };
  CHECK_THROWS_AS(session.Generate(prompt, thrower, Greedy()), std::logic_error);
  CHECK(session.Generate(prompt, {}, Wild(20)).ids == whole.ids);
  // The end of the context is the end of a reply, and no error.
  Session small(model, Options(prompt.size() + 3));
  const Reply full = small.Generate(prompt, {}, Wild(0));
  CHECK(full.end == GLINT_END_CONTEXT_FULL);
  CHECK(full.ids.size() == 4);
  CHECK(StatusOf([&] { small.Generate({}, {}, Greedy()); }) == GLINT_CONTEXT_FULL);
}

TEST_CASE("c api: what does not fit the context, by each policy") {
  const Model model(TinyPath());
  const Ids prompt = Prompt(model);
  Session session(model, Options(prompt.size() + 3));
  Ids too_long = prompt;
  too_long.insert(too_long.begin(), 4, prompt[0]);
  for (const auto policy : {GLINT_CONTEXT_DROP, GLINT_CONTEXT_STOP, GLINT_CONTEXT_STRICT}) {
    CAPTURE(policy);
    const bool strict = policy == GLINT_CONTEXT_STRICT;
    // 4 tokens fit, since the model need not run on the last; 5 do not.
    for (const size_t wanted : {0, 4, 5}) {
      CAPTURE(wanted);
      GenerateOptions options = Wild(wanted);
      options.policy = policy;
      session.Start(prompt);
      if (strict && wanted == 5) {
        CHECK(StatusOf([&] { session.Generate(prompt, {}, options); }) == GLINT_CONTEXT_FULL);
        CHECK(std::string(glint_session_error(session.get())).find(" and 5 more are wanted") !=
              std::string::npos);
        CHECK(session.Info().length == prompt.size());  // nothing was computed
        continue;
      }
      const Reply reply = session.Generate(prompt, {}, options);
      CHECK(reply.ids.size() == 4);
      CHECK(reply.end == (wanted == 4 ? GLINT_END_LENGTH : GLINT_END_CONTEXT_FULL));
    }
    GenerateOptions options = Wild(2);
    options.policy = policy;
    CHECK(StatusOf([&] { session.Generate(too_long, {}, options); }) == GLINT_CONTEXT_FULL);
    // What goes on has so much less room.
    session.Generate(prompt, {}, options);
    options.max_tokens = 3;
    if (strict) {
      CHECK(StatusOf([&] { session.Generate({}, {}, options); }) == GLINT_CONTEXT_FULL);
      options.max_tokens = 2;
    }
    CHECK(session.Generate({}, {}, options).ids.size() == 2);
  }
  glint_generate_options options = glint_generate_options_init();
  for (const int policy : {-1, 3}) {
    options.policy = policy;
    CHECK(glint_generate(session.get(), prompt.data(), prompt.size(), &options, nullptr) ==
          GLINT_ERROR_ARGUMENT);
  }
  // The reply says so, too, and a failure that leaves the sequence leaves its last token to be run.
  const Reply two = session.Generate(prompt, {}, Wild(2));
  glint_reply reply = glint_reply_init();
  options.policy = GLINT_CONTEXT_STRICT;
  CHECK(glint_generate(session.get(), too_long.data(), too_long.size(), &options, &reply) ==
        GLINT_CONTEXT_FULL);
  CHECK(reply.end == GLINT_END_CONTEXT_FULL);
  CHECK(reply.prompt_tokens == too_long.size());
  CHECK(std::string(reply.text).empty());
  CHECK(StatusOf([&] { session.Start(too_long); }) == GLINT_CONTEXT_FULL);
  CHECK(StatusOf([&] { Chat(session).Ask(std::string(2000, 'x'), {}, Greedy()); }) ==
        GLINT_CONTEXT_FULL);
  Ids all = two.ids;
  for (const int32_t id : session.Generate({}, {}, Wild(1)).ids) all.push_back(id);
  CHECK(session.Ids().size() == prompt.size() + 2);
  CHECK(all.size() == 3);
  // A chat has its policy for all its messages.
  Chat chat(session);
  GenerateOptions other = Greedy();
  other.policy = GLINT_CONTEXT_STRICT;
  CHECK(StatusOf([&] { chat.Ask("x", {}, other); }) == GLINT_ERROR_ARGUMENT);
}

TEST_CASE("c api: a cancel at any point, and the same again") {
  const Model model(TinyPath());
  Session session(model, Options());
  const Ids prompt = Prompt(model);
  const Reply whole = session.Generate(prompt, {}, Wild(12));
  for (size_t at = 1; at < whole.ids.size(); ++at) {
    size_t n = 0;
    const Reply cut = session.Generate(
        prompt,
        [&](std::string_view, int32_t) {
          if (++n == at) session.Cancel();
          return true;
        },
        Wild(12));
    CHECK(cut.status == GLINT_CANCELLED);
    CHECK(cut.end == GLINT_END_CANCELLED);
    CHECK(cut.ids == Ids(whole.ids.begin(), whole.ids.begin() + static_cast<ptrdiff_t>(at)));
    CHECK(StatusOf([&] { session.Start(prompt); }) == GLINT_CANCELLED);  // until it is cleared
    session.ClearCancel();
    CHECK(session.Generate(prompt, {}, Wild(12)).ids == whole.ids);
  }
  // From another thread, at times of its own.
  std::atomic<bool> done{false};
  std::thread canceller([&] {
    while (!done) {
      session.Cancel();
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  for (int i = 0; i < 30; ++i) {
    session.ClearCancel();
    const Reply reply = session.Generate(prompt, {}, Wild(12));
    CHECK((reply.status == GLINT_OK || reply.status == GLINT_CANCELLED));
  }
  done = true;
  canceller.join();
  session.ClearCancel();
  CHECK(session.Generate(prompt, {}, Wild(12)).ids == whole.ids);
}

TEST_CASE("c api: a session that is in use is busy") {
  const Model model(TinyPath());
  Session session(model, Options());
  const Ids prompt = Prompt(model);
  glint_status inside = GLINT_OK, other = GLINT_OK, reading = GLINT_OK;
  session.Generate(
      prompt,
      [&](std::string_view, int32_t) {
        inside = glint_session_start(session.get(), prompt.data(), prompt.size());
        std::thread thread([&] {
          other = glint_generate(session.get(), prompt.data(), prompt.size(), nullptr, nullptr);
          glint_session_info info = glint_session_info_init();
          reading = glint_session_get_info(session.get(), &info);
        });
        thread.join();
        return true;
      },
      Greedy());
  CHECK(inside == GLINT_ERROR_BUSY);
  CHECK(other == GLINT_ERROR_BUSY);
  CHECK(reading == GLINT_ERROR_BUSY);
  CHECK(session.Generate(prompt, {}, Greedy()).text == kAnswer);
}

TEST_CASE("c api: save and restore") {
  const Model model(TinyPath());
  Session session(model, Options());
  const Ids prompt = Prompt(model);
  const Reply begin = session.Generate(prompt, {}, Wild(5));
  const std::vector<unsigned char> image = session.Save();
  const std::string path = glint::TempDir() + "/session";
  session.SaveFile(path);
  CHECK(StatusOf([&] { session.SaveFile(path); }) == GLINT_ERROR_FILE);
  session.SaveFile(path, true);
  const Reply rest = session.Generate({}, {}, Wild(10));

  Session other(model, Options(200, 2, 1));
  other.Restore(image);
  CHECK(other.Info().length == prompt.size() + 5);
  CHECK(other.Generate({}, {}, Wild(10)).ids == rest.ids);
  other.RestoreFile(path);
  CHECK(other.Generate({}, {}, Wild(10)).ids == rest.ids);

  // Refused, and the session then has no sequence.
  glint_session_options options = Options();
  options.kv = GLINT_KV_INT8;
  Session int8(model, options);
  CHECK(StatusOf([&] { int8.Restore(image); }) == GLINT_ERROR_FILE);
  Session small(model, Options(8));
  CHECK(StatusOf([&] { small.Restore(image); }) == GLINT_ERROR_FILE);
  for (size_t i = 0; i < image.size(); i += image.size() / 50 + 1) {
    std::vector<unsigned char> damaged = image;
    damaged[i] ^= 1;
    CHECK(StatusOf([&] { other.Restore(damaged); }) == GLINT_ERROR_FILE);
    CHECK(other.Info().length == 0);
  }
  CHECK(StatusOf([&] { other.Generate({}, {}, Greedy()); }) == GLINT_ERROR_ARGUMENT);
  CHECK(other.Generate(prompt, {}, Wild(5)).ids == begin.ids);
}

TEST_CASE("c api: chat") {
  const Model model(TinyPath());
  Session session(model, Options(160));
  Chat chat(session);
  CHECK(chat.Ask("What is \"cat\" in Chinese?", {}, Greedy()).text == "猫");
  CHECK(chat.Ask(kChinese, {}, Greedy()).text == "dog");
  const std::vector<Message> history = chat.History();
  REQUIRE(history.size() == 4);
  CHECK(history[0].role == "user");
  CHECK(history[3].role == "assistant");
  CHECK(history[3].content == "dog");
  const Reply next = chat.Ask(kQuestion, {}, Greedy());
  chat.SetHistory(history);
  CHECK(chat.Ask(kQuestion, {}, Greedy()).ids == next.ids);
  CHECK(StatusOf([&] { chat.SetHistory({{"system", "x", ""}}); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { chat.SetTools("{}"); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { chat.SetTools("[1,"); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { chat.Ask("x", {}, Greedy(), "nobody"); }) == GLINT_ERROR_ARGUMENT);
  CHECK(chat.History().size() >= 4);  // the model sees a few past turns at most
  const std::string long_text(2000, 'x');
  CHECK(StatusOf([&] { chat.Ask(long_text, {}, Greedy()); }) == GLINT_CONTEXT_FULL);
  // The history grows beyond the context: turns go, and none under GLINT_CONTEXT_STOP.
  Session small(model, Options(30));
  Chat forgets(small);
  CHECK(forgets.Ask(kQuestion, {}, Greedy()).forgotten_turns == 0);
  CHECK(forgets.Ask(kQuestion, {}, Greedy()).forgotten_turns == 1);
  CHECK(forgets.History().size() == 2);
  // What comes to nothing forgets nothing.
  small.Cancel();
  CHECK(forgets.Ask(kQuestion, {}, Greedy()).status == GLINT_CANCELLED);
  CHECK(forgets.History().size() == 2);
  small.ClearCancel();
  for (const int policy : {GLINT_CONTEXT_STOP, GLINT_CONTEXT_STRICT}) {
    glint_chat_options stop = glint_chat_options_init();
    stop.policy = policy;
    Chat stops(small, stop);
    CHECK(stops.Ask(kQuestion, {}, Greedy(12)).text == kAnswer);
    CHECK(StatusOf([&] { stops.Ask(kQuestion, {}, Greedy(12)); }) == GLINT_CONTEXT_FULL);
    CHECK(stops.History().size() == 2);
  }
  glint_chat_options options = glint_chat_options_init();
  options.policy = 3;
  CHECK(StatusOf([&] { Chat(session, options); }) == GLINT_ERROR_ARGUMENT);
  // A cancel in a chat.
  chat.SetHistory({});
  session.Cancel();
  CHECK(chat.Ask(kQuestion, {}, Greedy()).status == GLINT_CANCELLED);
  CHECK(chat.History().empty());
  session.ClearCancel();
  CHECK(chat.Ask(kQuestion, {}, Greedy()).text == kAnswer);
}

TEST_CASE("c api: many threads, one model") {
  const Model model(TinyPath());
  const Ids prompt = Prompt(model);
  Session first(model, Options());
  const Ids expected = first.Generate(prompt, {}, Wild(10)).ids;
  std::atomic<int> same{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Session session(model, Options(128, 1, 1));
      for (int k = 0; k < 3; ++k) same += session.Generate(prompt, {}, Wild(10)).ids == expected;
      model.Tokenize(kQuestion);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(same == 12);
}
