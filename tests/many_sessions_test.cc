// Many sessions over one model, from many threads: every one computes what it would have alone, whatever
// others load, free, cancel or start meanwhile. tests/sanitizers.sh runs this under ThreadSanitizer with
// GLINT_NIGHTLY=1, which asks for all 100 sessions.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "lib/error.h"
#include "lib/generate.h"
#include "lib/session.h"
#include "tests/test_util.h"

namespace glint {
namespace {

constexpr size_t kClients = 8;

size_t NumSessions() {
  const char* const nightly = std::getenv("GLINT_NIGHTLY");
  return nightly && *nightly != '\0' ? 100 : 32;
}

std::string TinyPath() { return SourceDir() + "/examples/tiny/tiny.glint"; }

SessionOptions Options(size_t threads) {
  SessionOptions options;
  options.context = 64;
  options.threads = threads;
  return options;
}

const char* const kQuestions[] = {
    "What is \"cat\" in Chinese?", "What is 3 plus 4?", "hello",
    "\xe4\xb8\xad\xe5\x9b\xbd\xe7\x9a\x84\xe9\xa6\x96\xe9\x83\xbd\xe6\x98\xaf\xe5\x93\xaa\xe9\x87\x8c\xef\xbc\x9f"};

GenerateOptions Sampling(uint64_t seed) {
  GenerateOptions options;
  options.sampler.seed = seed;
  options.sampler.temperature = 0.9f;
  options.max_tokens = 12;
  return options;
}

// A reply's ids and the bits of the last logits.
struct Answer {
  std::vector<int32_t> ids;
  std::vector<float> logits;
  bool operator==(const Answer& other) const {
    return ids == other.ids && logits.size() == other.logits.size() &&
           std::memcmp(logits.data(), other.logits.data(), logits.size() * sizeof(float)) == 0;
  }
};

Answer Ask(const Model& model, Session& session, size_t number) {
  const std::string question = kQuestions[number % std::size(kQuestions)];
  const auto ids = model.chat()->Build({{{"user", question}}}, nullptr).ids;
  Answer answer;
  answer.ids = Generate(session, ids, Sampling(number), {}).ids;
  answer.logits.assign(session.logits().begin(), session.logits().end());
  return answer;
}

std::vector<Answer> AloneAnswers(const Model& model, size_t n) {
  std::vector<Answer> answers;
  for (size_t i = 0; i < n; ++i) {
    Session session(model, Options(1));
    answers.push_back(Ask(model, session, i));
  }
  return answers;
}

// Calls fn(client) from so many threads at once.
template <class Fn>
void FromThreads(size_t n, const Fn& fn) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < n; ++i) threads.emplace_back([&fn, i] { fn(i); });
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("sessions from 8 threads over one model answer as if each were alone") {
  const auto model = Model::Open(TinyPath());
  const size_t n = NumSessions();
  const std::vector<Answer> want = AloneAnswers(*model, n);
  std::atomic<size_t> next{0}, n_equal{0};
  FromThreads(kClients, [&](size_t) {
    for (size_t i; (i = next.fetch_add(1)) < n;) {
      Session session(*model, Options(1 + i % 3));
      // Twice: the second finds what the first has left.
      const bool equal = Ask(*model, session, i) == want[i] && Ask(*model, session, i) == want[i];
      n_equal += equal ? 1 : 0;
    }
  });
  CHECK(n_equal == n);
}

TEST_CASE("a session may go from thread to thread, one at a time") {
  const auto model = Model::Open(TinyPath());
  const std::vector<Answer> want = AloneAnswers(*model, 4);
  Session session(*model, Options(2));
  bool equal = true;
  for (size_t i = 0; i < 4; ++i) {
    std::thread([&] { equal = equal && Ask(*model, session, i) == want[i]; }).join();
  }
  CHECK(equal);
}

TEST_CASE("models are loaded and freed beside sessions that run") {
  const auto model = Model::Open(TinyPath());
  const std::vector<Answer> want = AloneAnswers(*model, 4);
  std::atomic<size_t> n_equal{0};
  FromThreads(4, [&](size_t client) {
    for (size_t i = 0; i < 4; ++i) {
      if (client % 2 == 0) {
        Session session(*model, Options(2));
        n_equal += Ask(*model, session, i) == want[i] ? 1 : 0;
        continue;
      }
      // The reader that reads ahead may still be at work when its file goes.
      const auto own = Model::Open(TinyPath(), i % 2 == 0 ? LoadMode::kMap : LoadMode::kCopy);
      { const Session unused(*own, Options(1)); }
      Session session(*own, Options(1));
      n_equal += Ask(*own, session, i) == want[i] ? 1 : 0;
    }
  });
  CHECK(n_equal == 16);
}

TEST_CASE("a cancel from another thread ends that session's call and no other's") {
  const auto model = Model::Open(TinyPath());
  const std::vector<Answer> want = AloneAnswers(*model, 1);
  const auto ids = model->chat()->Build({{{"user", kQuestions[0]}}}, nullptr).ids;
  Session cancelled(*model, Options(2)), other(*model, Options(2));
  std::atomic<bool> stop{false};
  std::atomic<size_t> n_cancelled{0};
  std::thread canceller([&] {
    while (!stop.load()) {
      cancelled.Cancel();
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  std::thread victim([&] {
    while (!stop.load()) {
      cancelled.ClearCancel();
      n_cancelled += cancelled.Start(ids) == Status::kCancelled ? 1 : 0;
    }
  });
  bool equal = true;
  for (int i = 0; i < 20 || (n_cancelled.load() == 0 && i < 100000); ++i) {
    equal = equal && Ask(*model, other, 0) == want[0];
  }
  stop = true;
  canceller.join();
  victim.join();
  CHECK(equal);
  CHECK(n_cancelled.load() > 0);
  // What was cancelled at any point goes on as if it had not been.
  cancelled.ClearCancel();
  CHECK(Ask(*model, cancelled, 0) == want[0]);
}

TEST_CASE("far more threads than processors: the same bits, and an end") {
  const auto model = Model::Open(TinyPath());
  const std::vector<Answer> want = AloneAnswers(*model, 2);
  for (const size_t threads : {2, 8, 32}) {
    Session session(*model, Options(threads));
    for (size_t i = 0; i < 2; ++i) CHECK(Ask(*model, session, i) == want[i]);
  }
  // And several such sessions at once.
  std::atomic<size_t> n_equal{0};
  FromThreads(3, [&](size_t client) {
    Session session(*model, Options(16));
    n_equal += Ask(*model, session, client % 2) == want[client % 2] ? 1 : 0;
  });
  CHECK(n_equal == 3);
}

TEST_CASE("one tokenizer and chat format serve many threads") {
  const auto model = Model::Open(TinyPath());
  std::atomic<size_t> n_equal{0};
  const auto ids = model->tokenizer()->Encode(kQuestions[3]);
  const auto prompt = model->chat()->Build({{{"user", kQuestions[3]}}}, nullptr).ids;
  const auto text_of_ids = [&] {
    Detokenizer detokenizer(*model->tokenizer());
    std::string text;
    for (const int32_t id : ids) text += detokenizer.Add(id);
    return text + detokenizer.Finish();
  };
  const std::string want = text_of_ids();
  FromThreads(kClients, [&](size_t) {
    for (int i = 0; i < 50; ++i) {
      const bool equal = model->tokenizer()->Encode(kQuestions[3]) == ids && text_of_ids() == want &&
                         model->chat()->Build({{{"user", kQuestions[3]}}}, nullptr).ids == prompt;
      n_equal += equal ? 1 : 0;
    }
  });
  CHECK(n_equal.load() == kClients * 50);
}

}  // namespace
}  // namespace glint
