// What a session's cache holds: windows in rings, the beginning that two prompts share, tokens
// taken back. Every bit is as if all had been kept, or all computed anew.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>

#include "lib/error.h"
#include "lib/memory_estimate.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/window_model.h"

using namespace glint;
using namespace glint::test;

namespace {

using Row = std::vector<float>;

constexpr size_t kContext = 1500;  // six blocks of keys

struct Split {
  size_t threads, chunk, max_batch;
};

std::unique_ptr<Session> NewSession(const Model& model, const Split& split,
                                    KvType kv = KvType::kF16) {
  SessionOptions options;
  options.context = kContext;
  options.kv = kv;
  options.threads = split.threads;
  options.chunk = split.chunk;
  options.max_batch = split.max_batch;
  return std::make_unique<Session>(model, options);
}

// A session in which no ring is smaller than the context.
std::unique_ptr<Session> WholeSession(const Model& model, KvType kv = KvType::kF16) {
  return NewSession(model, {2, kContext, 1}, kv);
}

std::vector<int32_t> SomeIds(size_t n, size_t seed = 0) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) {
    ids.push_back(static_cast<int32_t>(3 + (i * i * 7 + i * 3 + seed * 5) % 90));
  }
  return ids;
}

std::vector<int32_t> Joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Row Logits(const Session& session) {
  return {session.logits().begin(), session.logits().end()};
}

bool Same(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// The logits after a prompt and after each of the ids that follow.
std::vector<Row> Run(Session& session, const std::vector<int32_t>& prompt,
                     const std::vector<int32_t>& more) {
  std::vector<Row> rows;
  REQUIRE(session.Start(prompt) == Status::kOk);
  rows.push_back(Logits(session));
  for (const int32_t id : more) {
    REQUIRE(session.Append(id) == Status::kOk);
    rows.push_back(Logits(session));
  }
  return rows;
}

}  // namespace

TEST_CASE("a ring holds what a window sees, in fewer bytes and with the same bits") {
  const std::unique_ptr<Model> model = WindowModel({64, 0, 300});
  const std::vector<int32_t> prompt = SomeIds(1100), more = SomeIds(300, 9);
  for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kInt8}) {
    const auto whole = WholeSession(*model, kv);
    const std::vector<Row> want = Run(*whole, prompt, more);
    for (const Split split :
         {Split{1, 1, 1}, Split{2, 32, 8}, Split{3, 193, 1}, Split{3, 256, 2}}) {
      CAPTURE(split.chunk);
      const auto session = NewSession(*model, split, kv);
      CHECK(Run(*session, prompt, more) == want);
      // Blocks of 256 positions: window - 1 + chunk, the context, and the same again.
      const size_t first = (63 + split.chunk + 255) / 256, third = (299 + split.chunk + 255) / 256;
      CHECK(session->cache_bytes() * 18 == whole->cache_bytes() * (first + 6 + third));
      SessionOptions options;
      options.context = kContext;
      options.kv = kv;
      options.chunk = split.chunk;
      options.max_batch = split.max_batch;
      const MemoryEstimate estimate = EstimateMemory(*model, options);
      CHECK(estimate.cache == session->cache_bytes());
      CHECK(estimate.cache_without_windows == whole->cache_bytes());
      CHECK(session->cache().ReadBytes(1000) == session->cache().position_bytes() * 1364);
    }
  }
}

TEST_CASE("tokens are taken back as far as the windows reach, and no further") {
  const std::unique_ptr<Model> model = WindowModel({249, 0});  // 249 - 1 + 8 is a whole block
  const std::vector<int32_t> prompt = SomeIds(240), text = SomeIds(900, 9);
  const std::vector<Row> want = Run(*WholeSession(*model), prompt, text);
  const auto session = NewSession(*model, {2, 8, 8});
  REQUIRE(session->Start(prompt) == Status::kOk);
  // Of each batch some tokens are the text's, the rest guesses that are dropped: all but one or
  // all.
  for (size_t at = 0, step = 0; at + 8 <= text.size(); ++step) {
    std::vector<int32_t> batch(8, 5);
    const size_t right = 1 + step * 5 % 8;
    std::copy_n(text.begin() + static_cast<ptrdiff_t>(at), right, batch.begin());
    for (const bool again : {true, false}) {
      REQUIRE(session->AppendBatch(batch) == Status::kOk);
      for (size_t i = 0; i < right; ++i) REQUIRE(Same(session->BatchLogits(i), want[at + i + 1]));
      session->Truncate(prompt.size() + at + (again ? 0 : right));
    }
    at += right;
  }
  const size_t length = session->length();
  CHECK_THROWS_WITH_AS(session->Truncate(length - 20), doctest::Contains("window no longer"),
                       Error);
  CHECK(session->length() == length);
  // Without windows the way back is free.
  const std::unique_ptr<Model> plain = WindowModel({0, 0});
  const std::vector<Row> all = Run(*WholeSession(*plain), prompt, text);
  const auto free = NewSession(*plain, {2, 8, 8});
  CHECK(Run(*free, prompt, text) == all);
  free->Truncate(prompt.size());
  REQUIRE(free->Append(text[0]) == Status::kOk);
  CHECK(Logits(*free) == all[1]);
}

TEST_CASE("a prompt that begins like the sequence before it computes the rest only") {
  const std::vector<int32_t> first = SomeIds(300), reply = SomeIds(50, 4), second = SomeIds(70, 8);
  const std::vector<int32_t> prompt = Joined(Joined(first, reply), second);
  for (const std::vector<int64_t>& windows : {std::vector<int64_t>{0, 0}, {64, 0}}) {
    const std::unique_ptr<Model> model = WindowModel(windows);
    const std::vector<Row> want = Run(*WholeSession(*model), prompt, reply);
    const auto session = NewSession(*model, {2, 64, 4});
    Run(*session, first, reply);
    CHECK(session->kept() == 0);
    CHECK(Run(*session, prompt, reply) == want);
    CHECK(session->kept() == 350);
    // The same again: the last token alone. Its own reply is in the cache then, and is overwritten.
    CHECK(Run(*session, prompt, reply) == want);
    CHECK(session->kept() == prompt.size() - 1);
    session->Forget();
    CHECK(Run(*session, prompt, reply) == want);
    CHECK(session->kept() == 0);
    // Another text from some place on; a shorter one.
    std::vector<int32_t> other = prompt;
    other[400] = 2;
    const std::vector<Row> other_want = Run(*WholeSession(*model), other, reply);
    CHECK(Run(*session, other, reply) == other_want);
    CHECK(session->kept() == 400);
    const std::vector<int32_t> short_one(prompt.begin(), prompt.begin() + 280);
    const std::vector<Row> short_want = Run(*WholeSession(*model), short_one, reply);
    CHECK(Run(*session, short_one, reply) == short_want);
    CHECK(session->kept() == 279);
  }
}

TEST_CASE("what a window no longer holds is computed again") {
  const std::unique_ptr<Model> model = WindowModel({200, 0});  // a ring of 512
  const auto session = NewSession(*model, {2, 100, 1});
  const std::vector<int32_t> prompt = SomeIds(900), more = SomeIds(20, 4);
  Run(*session, prompt, more);  // 920 written: 408 and later are there
  for (const size_t length : {size_t{400}, size_t{608}, size_t{607}}) {
    CAPTURE(length);
    // The token at index 607 sees those from 408 on.
    const std::vector<int32_t> part(prompt.begin(),
                                    prompt.begin() + static_cast<ptrdiff_t>(length));
    const std::vector<int32_t> other = Joined(part, {2, 2});
    const std::vector<Row> want = Run(*WholeSession(*model), other, more);
    session->Forget();
    Run(*session, prompt, more);
    CHECK(Run(*session, other, more) == want);
    CHECK(session->kept() == (length >= 607 ? length : 0));
  }
}

TEST_CASE("a sink gets every row, and a cancelled prompt leaves what was whole") {
  const std::unique_ptr<Model> model = WindowModel({0, 0});
  const std::vector<int32_t> prompt = SomeIds(300);
  const std::vector<Row> want = Run(*WholeSession(*model), prompt, {});
  const auto session = NewSession(*model, {2, 50, 1});
  Run(*session, prompt, {});
  size_t rows = 0;
  bool in_order = true;
  const auto count = [&](size_t begin, size_t n, const float*, size_t) {
    in_order = in_order && begin == rows;
    rows += n;
    if (rows == 110) session->Cancel();
  };
  const OutputSink sink(count);
  CHECK(session->Start(prompt, &sink) == Status::kCancelled);
  CHECK(in_order);
  CHECK(rows == 110);
  CHECK(session->length() == 0);
  CHECK(session->kept() == 0);
  session->ClearCancel();
  CHECK(Run(*session, prompt, {}) == want);
  CHECK(session->kept() == 100);  // two chunks; the third was not finished
  CHECK(session->Start(prompt, &sink) == Status::kOk);
  CHECK(rows == 410);
  CHECK(Logits(*session) == want[0]);
}

TEST_CASE("a model whose context sees itself in both directions keeps nothing") {
  const std::unique_ptr<Model> model =
      ConvertAndOpen(SourceDir() + "/examples/tiny/model", DType::kInt8, false);
  CHECK_FALSE(model->causal());
  std::vector<int32_t> prompt = SomeIds(60);
  prompt.push_back(model->prompt_ids().gmask);
  prompt.push_back(model->prompt_ids().sop);
  SessionOptions options;
  Session session(*model, options);
  const std::vector<Row> want = Run(session, prompt, {5, 6});
  CHECK(Run(session, prompt, {5, 6}) == want);
  CHECK(session.kept() == 0);
}
