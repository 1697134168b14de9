// The C interface through its C++ wrapper: sessions, generating, chats, saving. The library is the
// shared one; nothing else of the project is linked.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "glint.hpp"
#include "tests/test_util.h"

using namespace glint_cpp;
using Ids = std::vector<int32_t>;

namespace {

constexpr char kQuestion[] = "How do ships float?";
constexpr char kAnswer[] = "I am a tiny model and do not know that.";
constexpr char kChinese[] = "狗的英文是什么？";

std::string TinyPath() {
  return glint::SourceDir() + "/examples/tiny/tiny.glint";
}

glint_session_options Options(size_t context = 128, size_t max_batch = 1, size_t threads = 2) {
  glint_session_options options = glint_session_options_init();
  options.context = context;
  options.max_batch = max_batch;
  options.threads = threads;
  return options;
}

GenerateOptions Greedy(size_t max_tokens = 40) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

// Draws that no stop ends soon: the tiny model at a high temperature.
GenerateOptions Wild(size_t max_tokens) {
  GenerateOptions options;
  options.sampler.temperature = 3;
  options.sampler.top_p = 1;
  options.sampler.seed = 11;
  options.max_tokens = max_tokens;
  return options;
}

Ids Prompt(const Model& model, const char* question = kQuestion) {
  return model.ChatPrompt({{"user", question}});
}

std::vector<float> Row(const Session& session) {
  const auto [logits, n] = session.Logits();
  return {logits, logits + n};
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

template <class Fn>
glint_status StatusOf(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() > 1);
    return error.status();
  }
  return GLINT_OK;
}

}  // namespace

TEST_CASE("c api: what a model is") {
  const Model model(TinyPath());
  const glint_model_info info = model.Info();
  CHECK(std::string(info.path) == TinyPath());
  CHECK(info.name[0] != 0);
  CHECK(info.metadata[0] == '{');
  CHECK(info.hash != 0);
  CHECK(info.vocab_size >= info.n_logits);
  CHECK(info.has_tokenizer == 1);
  CHECK(info.has_chat == 1);
  CHECK(info.causal == 0);
  CHECK(info.hidden_size > 0);
  CHECK(info.file_bytes == glint::ReadFile(TinyPath()).size());
  const glint_memory memory = model.Memory(Options());
  CHECK(memory.total == memory.cache + memory.activations + memory.other);
  CHECK(memory.longest_context == 128);
  CHECK(memory.weights < info.file_bytes);
  CHECK(StatusOf([&] { model.Memory(Options(size_t{1} << 40)); }) != GLINT_OK);
  CHECK(StatusOf([&] { Session(model, Options(size_t{1} << 40)); }) == GLINT_ERROR_UNSUPPORTED);
  CHECK(StatusOf([&] { Session(model, Options(64, 1, 100000)); }) == GLINT_ERROR_UNSUPPORTED);
}

TEST_CASE("c api: text to ids and back") {
  const Model model(TinyPath());
  const std::string text = std::string("Hello, 你好! ") + kChinese;
  const Ids ids = model.Tokenize(text, GLINT_TOKENIZE_TEXT);
  CHECK(model.Detokenize(ids) ==
        model.Detokenize(model.Tokenize(model.Detokenize(ids), GLINT_TOKENIZE_TEXT)));
  CHECK(model.Detokenize(ids).find("你好") != std::string::npos);
  CHECK(model.Tokenize(text).size() > ids.size());  // with special ids
  // Incrementally: the same text, and no piece holds half a character.
  Detokenizer detokenizer(model);
  std::string pieces;
  for (const int32_t id : ids) {
    const std::string_view piece = detokenizer.Add(id);
    CHECK((piece.empty() || (static_cast<unsigned char>(piece[0]) & 0xC0) != 0x80));
    pieces += piece;
  }
  pieces += detokenizer.Finish();
  CHECK(pieces == model.Detokenize(ids));
  for (const int32_t wrong :
       {-1, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    CHECK(model.Detokenize({wrong}).empty());
    CHECK(detokenizer.Add(wrong).empty());
  }
  // Buffers: counted, too small, exact.
  size_t n = 0;
  CHECK(glint_tokenize(model.get(), text.data(), text.size(), 0, nullptr, 0, &n) == GLINT_OK);
  CHECK(n == ids.size());
  Ids few(n, -7);
  CHECK(glint_tokenize(model.get(), text.data(), text.size(), 0, few.data(), n - 1, &n) ==
        GLINT_ERROR_BUFFER);
  CHECK(n == ids.size());
  CHECK(few[n - 2] == ids[n - 2]);
  CHECK(few[n - 1] == -7);
  CHECK(glint_tokenize(model.get(), text.data(), text.size(), 0, few.data(), n, &n) == GLINT_OK);
  CHECK(few == ids);
  const int32_t sop = model.FindToken("<sop>");
  CHECK(sop >= 0);
  CHECK(model.FindToken("no such token at all") == -1);
}

TEST_CASE("c api: models from a descriptor and from memory") {
  const uint64_t hash = Model(TinyPath()).Info().hash;
  const int fd = open(TinyPath().c_str(), O_RDONLY);
  REQUIRE(fd >= 0);
  const Model by_fd = Model::FromDescriptor(fd);
  CHECK(by_fd.Info().hash == hash);
  CHECK(std::string(by_fd.Info().path).find("descriptor") == 0);
  CHECK(close(fd) == 0);  // it was ours all the time
  Session(by_fd, Options()).Start(Prompt(by_fd));
  CHECK(StatusOf([&] { Model::FromDescriptor(fd, "closed"); }) == GLINT_ERROR_FILE);

  std::string file = glint::ReadFile(TinyPath());
  int released = 0;
  glint_model_options options = glint_model_options_init();
  options.release = [](void* user) { ++*static_cast<int*>(user); };
  options.release_user = &released;
  {
    const Model model = Model::FromMemory(file.data(), file.size(), "here", options);
    CHECK(std::string(model.Info().path) == "here");
    Session session(model, Options());
    CHECK(session.Generate(Prompt(model), {}, Greedy()).text == kAnswer);
  }
  CHECK(released == 1);
  CHECK(StatusOf([&] { Model::FromMemory(file.data(), file.size() / 2, "half", options); }) ==
        GLINT_ERROR_FILE);
  CHECK(released == 2);
  options.load = GLINT_LOAD_COPY;
  const Model copy = Model::FromMemory(file.data(), file.size(), "copy", options);
  CHECK(released == 3);
  file.assign(file.size(), 'x');  // the copy does not mind
  Session session(copy, Options());
  CHECK(session.Generate(Prompt(copy), {}, Greedy()).text == kAnswer);
}

TEST_CASE("c api: progress, stop, verify and log of a load") {
  struct Watch {
    std::vector<double> done;
    size_t stop_at = 1000;
    std::string lines;
  } watch;
  glint_model_options options = glint_model_options_init();
  options.verify = 1;
  options.load = GLINT_LOAD_COPY;
  options.progress = [](void* user, double done) {
    Watch& w = *static_cast<Watch*>(user);
    w.done.push_back(done);
    return w.done.size() >= w.stop_at ? 1 : 0;
  };
  options.log = [](void* user, int level, const char* line) {
    CHECK(level >= GLINT_LOG_INFO);
    CHECK(level <= GLINT_LOG_ERROR);
    static_cast<Watch*>(user)->lines += std::string(line) + "\n";
  };
  options.progress_user = options.log_user = &watch;
  const Model model(TinyPath(), options);
  REQUIRE(!watch.done.empty());
  CHECK(watch.done.back() == 1.0);
  const Session session(model, Options());
  CHECK(watch.lines.find("session") != std::string::npos);
  const size_t all = watch.done.size();
  for (size_t stop = 1; stop < all; ++stop) {
    watch.done.clear();
    watch.stop_at = stop;
    CHECK(StatusOf([&] { Model(TinyPath(), options); }) == GLINT_CANCELLED);
    CHECK(watch.done.size() == stop);
  }
}

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

TEST_CASE("c api: samplers") {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 37) * 0.25f;
  glint_sampler_options options = glint_sampler_options_init();
  options.seed = 5;
  Sampler a(logits.size(), options), b(logits.size(), options);
  Ids drawn;
  for (int i = 0; i < 20; ++i) {
    drawn.push_back(a.Sample(logits.data(), logits.size()));
    CHECK(b.Sample(logits.data(), logits.size()) == drawn.back());
  }
  a.SetSeed(5);
  for (const int32_t id : drawn) CHECK(a.Sample(logits.data(), logits.size()) == id);
  options.temperature = 0;
  options.repetition_penalty = 100;
  Sampler greedy(logits.size(), options);
  CHECK(greedy.Sample(logits.data(), logits.size()) == 36);
  CHECK(greedy.Sample(logits.data(), logits.size(), {36, -5, 1 << 30}) == 73);
  logits[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(StatusOf([&] { a.Sample(logits.data(), logits.size()); }) == GLINT_NON_FINITE);
  CHECK(StatusOf([&] { a.Sample(logits.data(), 7); }) == GLINT_ERROR_ARGUMENT);
  for (float glint_sampler_options::*member :
       {&glint_sampler_options::temperature, &glint_sampler_options::top_p,
        &glint_sampler_options::repetition_penalty}) {
    for (const float wrong : {-1.0f, NAN, INFINITY}) {
      options = glint_sampler_options_init();
      options.*member = wrong;
      CHECK(StatusOf([&] { Sampler(10, options); }) == GLINT_ERROR_ARGUMENT);
    }
  }
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
  CHECK(chat.History().size() == 6);
  const std::string long_text(2000, 'x');
  CHECK(StatusOf([&] { chat.Ask(long_text, {}, Greedy()); }) == GLINT_CONTEXT_FULL);
  // The history grows beyond the context: turns go, and none under GLINT_CONTEXT_STOP.
  size_t forgotten = 0;
  for (int i = 0; i < 10; ++i) forgotten += chat.Ask(kQuestion, {}, Greedy()).forgotten_turns;
  CHECK(forgotten > 0);
  glint_chat_options options = glint_chat_options_init();
  options.policy = GLINT_CONTEXT_STOP;
  Chat stops(session, options);
  glint_status status = GLINT_OK;
  for (int i = 0; i < 30 && status == GLINT_OK; ++i) {
    status = StatusOf([&] { CHECK(stops.Ask(kQuestion, {}, Greedy()).forgotten_turns == 0); });
  }
  CHECK(status == GLINT_CONTEXT_FULL);
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

TEST_CASE("c api: embeddings") {
  const Model model(TinyPath());
  glint_session_options options = Options();
  options.output = GLINT_OUTPUT_HIDDEN;
  Session session(model, options);
  const Ids ids = Prompt(model);
  const std::vector<float> last = session.Embed(ids, GLINT_POOLING_LAST, false);
  CHECK(last.size() == model.Info().hidden_size);
  CHECK(SameBits(last, Row(session)));
  const std::vector<float> unit = session.Embed(ids);
  const double length = std::inner_product(unit.begin(), unit.end(), unit.begin(), 0.0);
  CHECK(std::fabs(length - 1) < 1e-5);
  CHECK(!SameBits(session.Embed(ids, GLINT_POOLING_MEAN, false), last));
  std::vector<float> small(last.size() - 1);
  size_t n = 0;
  CHECK(glint_embed(session.get(), ids.data(), ids.size(), 0, 0, small.data(), small.size(), &n) ==
        GLINT_ERROR_BUFFER);
  CHECK(n == last.size());
  CHECK(StatusOf([&] { session.Embed({}); }) == GLINT_ERROR_ARGUMENT);
  CHECK(StatusOf([&] { session.Generate(ids, {}, Greedy()); }) == GLINT_ERROR_ARGUMENT);
  session.Cancel();
  CHECK(StatusOf([&] { session.Embed(ids); }) == GLINT_CANCELLED);
  session.ClearCancel();
  CHECK(SameBits(session.Embed(ids), unit));
}

TEST_CASE("c api: objects may be freed in any order") {
  auto model = std::make_unique<Model>(TinyPath());
  auto session = std::make_unique<Session>(*model, Options());
  auto chat = std::make_unique<Chat>(*session);
  auto detokenizer = std::make_unique<Detokenizer>(*model);
  model.reset();
  session.reset();
  CHECK(chat->Ask(kQuestion, {}, Greedy()).text == kAnswer);
  chat.reset();
  detokenizer->Add(5);
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
