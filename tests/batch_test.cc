// Batches and tokens taken back: every bit is as if the tokens had come one by one, and as if those
// that were dropped had never been.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

#include "formats/convert/convert.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/session.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

std::unique_ptr<Model> ConvertTiny(DType type, const std::string& source) {
  ConvertOptions options;
  options.source = source;
  options.write.output = TempDir() + "/tiny.glint";
  options.has_type = true;
  options.type = type;
  options.search = false;  // which takes its time under emulation
  Convert(options);
  return Model::Open(options.write.output);
}

std::string TinySource() {
  return SourceDir() + "/examples/tiny/model";
}

std::unique_ptr<Session> NewSession(const Model& model, size_t max_batch, KvType kv = KvType::kF16,
                                    size_t threads = 2) {
  SessionOptions options;
  options.kv = kv;
  options.threads = threads;
  options.max_batch = max_batch;
  return std::make_unique<Session>(model, options);
}

using Row = std::vector<float>;

Row RowOf(std::span<const float> logits) {
  return {logits.begin(), logits.end()};
}

bool Same(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Text ids that differ from each other.
std::vector<int32_t> SomeIds(size_t n, int32_t begin) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(begin + static_cast<int32_t>(i * 37 % 2000));
  return ids;
}

// Prompts whose reply meets every case of the mask: behind a prefix of `n_prefix` tokens that see
// each other, and, with a prefix of 0, causal from the first token on.
std::vector<int32_t> PromptOf(const Model& model, size_t n_prefix) {
  std::vector<int32_t> ids = SomeIds(n_prefix == 0 ? 0 : n_prefix - 1, 20);
  const PromptIds& special = model.prompt_ids();
  if (n_prefix != 0) ids.push_back(special.gmask);
  ids.push_back(special.sop);
  if (n_prefix == 0) ids.push_back(special.gmask);
  return ids;
}

// The logits after each of `ids`, appended one by one.
std::vector<Row> OneByOne(Session& session, std::span<const int32_t> ids) {
  std::vector<Row> rows;
  for (const int32_t id : ids) {
    REQUIRE(session.Append(id) == Status::kOk);
    rows.push_back(RowOf(session.logits()));
  }
  return rows;
}

void CheckBatches(Session& session, std::span<const int32_t> ids, const std::vector<Row>& want,
                  size_t size) {
  for (size_t begin = 0; begin < ids.size(); begin += size) {
    const size_t n = std::min(size, ids.size() - begin);
    REQUIRE(session.AppendBatch(ids.subspan(begin, n)) == Status::kOk);
    for (size_t i = 0; i < n; ++i) REQUIRE(Same(session.BatchLogits(i), want[begin + i]));
    REQUIRE(Same(session.logits(), want[begin + n - 1]));
  }
}

}  // namespace

TEST_CASE("a batch has the bits of its tokens one by one") {
  const DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16,
                          DType::kInt8, DType::kInt4, DType::kInt4x,
                          DType::kInt3, DType::kInt6};
  for (const DType type : kTypes) {
    CAPTURE(std::string(Info(type).name));
    const std::unique_ptr<Model> model = ConvertTiny(type, TinySource());
    for (size_t kv = 0; kv < kKvTypeCount; ++kv) {
      for (const size_t n_prefix : {0, 23, 61}) {  // the last lets a batch cross a block of keys
        CAPTURE(n_prefix);
        const std::vector<int32_t> prompt = PromptOf(*model, n_prefix), ids = SomeIds(17, 300);
        const auto single = NewSession(*model, 1, static_cast<KvType>(kv), 1);
        REQUIRE(single->Start(prompt) == Status::kOk);
        const std::vector<Row> want = OneByOne(*single, ids);
        const auto session = NewSession(*model, 8, static_cast<KvType>(kv));
        for (const size_t size : {1, 2, 3, 4, 7, 8}) {
          CAPTURE(size);
          REQUIRE(session->Start(prompt) == Status::kOk);
          CheckBatches(*session, ids, want, size);
          CHECK(session->length() == prompt.size() + ids.size());
        }
      }
    }
  }
}

TEST_CASE("tokens that were taken back leave no trace") {
  for (const DType type : {DType::kF32, DType::kInt4}) {
    const std::unique_ptr<Model> model = ConvertTiny(type, TinySource());
    for (size_t kv = 0; kv < kKvTypeCount; ++kv) {
      const std::vector<int32_t> prompt = PromptOf(*model, 50), ids = SomeIds(24, 300);
      const auto single = NewSession(*model, 1, static_cast<KvType>(kv));
      REQUIRE(single->Start(prompt) == Status::kOk);
      const std::vector<Row> want = OneByOne(*single, ids);
      const auto session = NewSession(*model, 8, static_cast<KvType>(kv));
      REQUIRE(session->Start(prompt) == Status::kOk);
      // `right` tokens of each batch are the text's, the rest is dropped.
      size_t at = 0;
      for (size_t step = 0; at < ids.size(); ++step) {
        const size_t right = std::min(1 + step * 3 % 7, ids.size() - at);
        std::vector<int32_t> batch(ids.begin() + static_cast<ptrdiff_t>(at),
                                   ids.begin() + static_cast<ptrdiff_t>(at + right));
        while (batch.size() < 8)
          batch.push_back(static_cast<int32_t>(900 + step * 8 + batch.size()));
        REQUIRE(session->AppendBatch(batch) == Status::kOk);
        for (size_t i = 0; i < right; ++i) REQUIRE(Same(session->BatchLogits(i), want[at + i]));
        at += right;
        session->Truncate(prompt.size() + at);
        REQUIRE(Same(session->logits(), want[at - 1]));
      }
      // All the way back, in the middle of a batch and beyond it.
      session->Truncate(prompt.size());
      CHECK(session->logits().empty());
      CheckBatches(*session, ids, want, 5);
    }
  }
}

TEST_CASE("wrong batches and lengths are refused and change nothing") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kInt8, TinySource());
  SessionOptions options;
  options.context = 40;
  options.max_batch = 4;
  Session session(*model, options);
  const std::vector<int32_t> prompt = PromptOf(*model, 30), ids = SomeIds(9, 300);
  const std::span<const int32_t> all = ids;
  CHECK_THROWS_WITH_AS(session.AppendBatch(all.first(2)), doctest::Contains("no sequence"), Error);
  CHECK_THROWS_WITH_AS(session.Truncate(0), doctest::Contains("cannot cut"), Error);
  REQUIRE(session.Start(prompt) == Status::kOk);
  const std::vector<Row> want = OneByOne(session, all);
  CHECK(session.length() == 40);
  CHECK(session.AppendBatch(all.first(1)) == Status::kContextFull);
  session.Truncate(38);
  CHECK(session.AppendBatch(all.first(3)) == Status::kContextFull);
  CHECK_THROWS_WITH_AS(session.Truncate(39), doctest::Contains("38 tokens to 39"), Error);
  CHECK_THROWS_WITH_AS(session.Truncate(30), doctest::Contains("prompt has 31"), Error);
  CHECK_THROWS_WITH_AS(session.AppendBatch({}), doctest::Contains("takes 1 to 4"), Error);
  CHECK_THROWS_WITH_AS(session.AppendBatch(all.first(5)), doctest::Contains("batch of 5"), Error);
  const int32_t outside[] = {5, 1 << 20};
  CHECK_THROWS_WITH_AS(session.AppendBatch(outside), doctest::Contains("at index 1"), Error);
  session.Cancel();
  CHECK(session.AppendBatch(all.subspan(7, 2)) == Status::kCancelled);
  session.ClearCancel();
  CHECK(session.length() == 38);
  REQUIRE(session.AppendBatch(all.subspan(7, 2)) == Status::kOk);
  CHECK(Same(session.BatchLogits(0), want[7]));
  CHECK(Same(session.logits(), want[8]));
}

namespace {

// A model folder whose head is no copy of the embedding, so that a file holds both.
std::string UntiedSource() {
  const std::string folder = TempDir();
  for (const auto& entry : std::filesystem::directory_iterator(TinySource())) {
    std::filesystem::copy(entry.path(), folder);
  }
  std::string file = ReadFile(folder + "/model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  const nlohmann::json header = ParseJson(file.substr(8, header_bytes), "header");
  file[8 + header_bytes + header.at("lm_head.weight").at("data_offsets").at(0).get<uint64_t>()] ^=
      1;
  WriteFile(folder + "/model.safetensors", file);
  return folder;
}

// A file in memory that tests may damage.
struct MutableFile {
  explicit MutableFile(const std::string& path) {
    const std::string file = ReadFile(path);
    bytes.resize(file.size() + 64);
    begin = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    std::memcpy(begin, file.data(), file.size());
    model = Model::FromMemory(begin, file.size(), "memory");
  }
  std::vector<uint8_t> bytes;
  uint8_t* begin = nullptr;
  std::unique_ptr<Model> model;
};

}  // namespace

TEST_CASE("numbers that are not finite leave with the tokens that made them") {
  MutableFile file(ConvertTiny(DType::kF32, UntiedSource())->file().path());
  const Tensor* table = file.model->file().Find("embedding");
  REQUIRE(table);
  // The first number of the row of one id (quant/layout.h: tiles of 16 rows, columns in them).
  constexpr uint64_t kPoison = 777;
  const uint64_t at = kPoison / 16 * 16 * table->shape[1] + kPoison % 16;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(file.begin + (table->data - file.begin) + at * sizeof nan, &nan, sizeof nan);
  for (size_t kv = 0; kv < kKvTypeCount; ++kv) {
    const std::vector<int32_t> prompt = PromptOf(*file.model, 20), ids = SomeIds(6, 300);
    const auto session = NewSession(*file.model, 4, static_cast<KvType>(kv));
    REQUIRE(session->Start(prompt) == Status::kOk);
    const std::vector<Row> want = OneByOne(*session, ids);
    REQUIRE(session->Start(prompt) == Status::kOk);
    const Row last = RowOf(session->logits());
    const int32_t batch[] = {ids[0], kPoison, ids[1], ids[2]};
    CHECK(session->AppendBatch(batch) == Status::kNonFinite);
    CHECK(session->length() == prompt.size());
    CHECK(Same(session->logits(), last));
    CheckBatches(*session, ids, want, 2);
    session->Truncate(prompt.size());
    CHECK(session->AppendBatch(batch) == Status::kNonFinite);
    CHECK(session->logits().empty());
  }
}
