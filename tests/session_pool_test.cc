// Sessions on threads of the caller's, and sessions that are cancelled anywhere: the bits are those of
// a run that nobody disturbed.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <random>
#include <thread>

#include "lib/error.h"
#include "lib/generate.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"
#include "tests/model_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

using Task = void (*)(void* context, size_t task, size_t worker);
using Row = std::vector<float>;

// A pool whose run() is any function.
struct TestPool {
  std::function<void(size_t n, Task task, void* context)> run;
  size_t jobs = 0;

  ExternalPool External(size_t threads) {
    return {threads, this, [](void* user, size_t n, Task task, void* context) {
              auto* const pool = static_cast<TestPool*>(user);
              ++pool->jobs;
              pool->run(n, task, context);
            }};
  }
};

void RunInOrder(size_t n, Task task, void* context) {
  for (size_t i = 0; i < n; ++i) task(context, i, 0);
}

std::vector<std::pair<const char*, decltype(TestPool::run)>> HostilePools() {
  const auto shuffled = [random = std::mt19937(7)](size_t n, Task task, void* context) mutable {
    std::vector<size_t> order(n);
    for (size_t i = 0; i < n; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    for (const size_t i : order) task(context, i, n - 1 - i);
  };
  const auto another = [](size_t n, Task task, void* context) {
    std::thread([&] { RunInOrder(n, task, context); }).join();
  };
  const auto each = [](size_t n, Task task, void* context) {
    std::vector<std::future<void>> tasks;
    for (size_t i = n; i-- > 0;) {
      tasks.push_back(std::async(std::launch::async, task, context, i, i));
    }
    for (std::future<void>& one : tasks) one.wait();
  };
  const auto wrong_workers = [](size_t n, Task task, void* context) {
    std::thread other([&] { task(context, 0, 0); });
    for (size_t i = 1; i < n; ++i) task(context, i, i * 1000003);
    other.join();
  };
  const auto lazy = [](size_t, Task, void*) {};
  const auto busy = [](size_t n, Task task, void* context) {
    for (size_t i = 0; i < 3 * n; ++i) task(context, i % n, 0);
  };
  return {{"in order", RunInOrder}, {"shuffled", shuffled},           {"another thread", another},
          {"a thread each", each},  {"wrong workers", wrong_workers}, {"lazy", lazy},
          {"more than once", busy}};
}

struct Case {
  const char* name;
  std::unique_ptr<Model> model;
  std::vector<int32_t> prompt;
  bool quick = false;  // less is done with it
};

std::vector<int32_t> SomeIds(size_t n, int32_t below) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(3 + static_cast<int32_t>(i * i * 7 + i * 3) % below);
  return ids;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  cases.push_back({"prefix", Model::Open(SourceDir() + "/examples/tiny/tiny.glint"), {}, true});
  cases.back().prompt = SomeIds(90, 500);
  cases.back().prompt.push_back(cases.back().model->prompt_ids().gmask);
  cases.back().prompt.push_back(cases.back().model->prompt_ids().sop);
  cases.push_back({"causal", ConvertAndOpen(LlamaFolder({}), DType::kInt4, false), {}});
  cases.back().prompt = SomeIds(150, 90);
  cases.push_back({"experts", ConvertAndOpen(WriteFolder(SampleOf("mixtral")), DType::kInt8, false), {}});
  cases.back().prompt = SomeIds(40, 60);
  return cases;
}

SessionOptions OptionsFor(const Case& c, size_t threads = 2) {
  SessionOptions options;
  options.threads = threads;
  options.chunk = 32;
  options.max_batch = 3;
  options.context = c.prompt.size() + 20;
  return options;
}

// The logits after the prompt, 4 tokens and a batch of 3.
std::vector<Row> Run(Session& session, const std::vector<int32_t>& prompt) {
  std::vector<Row> rows;
  const auto take = [&](std::span<const float> row) { rows.emplace_back(row.begin(), row.end()); };
  REQUIRE(session.Start(prompt) == Status::kOk);
  take(session.logits());
  for (int32_t id = 5; id < 9; ++id) {
    REQUIRE(session.Append(id) == Status::kOk);
    take(session.logits());
  }
  REQUIRE(session.AppendBatch(std::vector<int32_t>{11, 12, 13}) == Status::kOk);
  for (size_t i = 0; i < 3; ++i) take(session.BatchLogits(i));
  return rows;
}

}  // namespace

TEST_CASE("any pool does all tasks, whatever it does with them") {
  for (const auto& [name, run] : HostilePools()) {
    CAPTURE(name);
    for (const size_t threads : {1, 2, 5}) {
      TestPool mine{run};
      const ExternalPool external = mine.External(threads);
      ThreadPool pool(external);
      CHECK(pool.size() == threads);
      for (size_t n = 0; n < 12; ++n) {
        std::vector<std::atomic<int>> runs(n);
        std::atomic<bool> workers_ok{true};
        std::vector<std::atomic<int>> inside(threads);
        pool.Run(n, [&](size_t task, size_t worker) {
          if (worker >= threads || inside[worker].fetch_add(1) != 0) workers_ok = false;
          ++runs[task];
          if (worker < threads) --inside[worker];
        });
        CHECK(workers_ok);
        CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& count) { return count == 1; }));
      }
    }
  }
  CHECK_THROWS_WITH_AS(ThreadPool(ExternalPool{}), doctest::Contains("no function"), Error);
  TestPool mine{RunInOrder};
  CHECK_THROWS_WITH_AS(ThreadPool(mine.External(0)), doctest::Contains("0 threads"), Error);
  CHECK_THROWS_WITH_AS(ThreadPool(mine.External(kMaxThreads + 1)), doctest::Contains("1025"), Error);
}

TEST_CASE("a session on the caller's threads has the bits of one on its own") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    Session own(*c.model, OptionsFor(c));
    const std::vector<Row> want = Run(own, c.prompt);
    for (const auto& [name, run] : HostilePools()) {
      CAPTURE(name);
      TestPool mine{run};
      std::unique_ptr<Session> session;
      {
        const ExternalPool external = mine.External(3);  // is copied
        SessionOptions options = OptionsFor(c);
        options.pool = &external;
        session = std::make_unique<Session>(*c.model, options);
      }
      CHECK(session->pool().size() == 3);
      CHECK(Run(*session, c.prompt) == want);
      CHECK(mine.jobs != 0);
    }
  }
}

TEST_CASE("a cancel before any job leaves the state that is promised") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    Session fresh(*c.model, OptionsFor(c));
    const std::vector<Row> want = Run(fresh, c.prompt);
    TestPool mine;
    Session* running = nullptr;
    size_t cancel_at = SIZE_MAX;
    bool clear = false;  // at once: what was left undone must not be used all the same
    mine.run = [&](size_t n, Task task, void* context) {
      if (mine.jobs == cancel_at) running->Cancel();
      task(context, 0, 0);
      if (mine.jobs == cancel_at && clear) running->ClearCancel();
      for (size_t i = 1; i < n; ++i) task(context, i, 0);
    };
    const ExternalPool external = mine.External(2);
    SessionOptions options = OptionsFor(c);
    options.pool = &external;
    Session session(*c.model, options);
    running = &session;
    size_t stopped = 0;
    for (size_t at = 1;; at += c.quick ? 13 : 5) {
      clear = at % 2 == 0;
      mine.jobs = 0;
      cancel_at = at;
      session.Forget();
      const Status status = session.Start(c.prompt);
      session.ClearCancel();
      if (status == Status::kOk) break;
      ++stopped;
      REQUIRE(status == Status::kCancelled);
      REQUIRE(session.length() == 0);
      cancel_at = SIZE_MAX;
      REQUIRE(Run(session, c.prompt) == want);
    }
    CHECK(stopped > 2);
    stopped = 0;
    for (size_t at = 1;; at += 2) {
      cancel_at = SIZE_MAX;
      REQUIRE(session.Start(c.prompt) == Status::kOk);
      REQUIRE(session.Append(5) == Status::kOk);
      mine.jobs = 0;
      cancel_at = at;
      const Status status = session.AppendBatch(std::vector<int32_t>{1, 2, 3});
      session.ClearCancel();
      if (status == Status::kOk) break;
      ++stopped;
      REQUIRE(status == Status::kCancelled);
      REQUIRE(session.length() == c.prompt.size() + 1);
      REQUIRE(Row(session.logits().begin(), session.logits().end()) == want[1]);
      cancel_at = SIZE_MAX;
      REQUIRE(session.Append(6) == Status::kOk);
      REQUIRE(Row(session.logits().begin(), session.logits().end()) == want[2]);
    }
    CHECK(stopped > 2);
  }
}

TEST_CASE("a cancel from another thread at any time leaves the state that is promised") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    Session fresh(*c.model, OptionsFor(c)), session(*c.model, OptionsFor(c));
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Row> want = Run(fresh, c.prompt);
    const auto whole = std::chrono::steady_clock::now() - start;
    constexpr int kTimes = 30;
    for (int i = 0; i < kTimes; ++i) {
      std::atomic<bool> begun{false};
      std::thread canceller([&] {
        while (!begun) std::this_thread::yield();
        std::this_thread::sleep_for(whole * i / kTimes);
        session.Cancel();
      });
      session.Forget();
      begun = true;
      Status status = session.Start(c.prompt);
      for (int32_t id = 5; id < 9 && status == Status::kOk; ++id) status = session.Append(id);
      canceller.join();
      REQUIRE((status == Status::kOk || status == Status::kCancelled));
      REQUIRE(session.Start(c.prompt) == Status::kCancelled);  // the flag stays
      session.ClearCancel();
      REQUIRE(Run(session, c.prompt) == want);
    }
  }
}
