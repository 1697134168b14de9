// Sessions saved and restored: the same bits afterwards, and every damaged or foreign image refused.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "formats/checksum.h"
#include "lib/error.h"
#include "lib/session_file.h"
#include "tests/adapter_samples.h"
#include "tests/window_model.h"

using namespace glint;
using namespace glint::test;

namespace {

using Row = std::vector<float>;
using Image = std::vector<uint8_t>;

struct Case {
  const char* name;
  std::unique_ptr<Model> model;
  std::vector<int32_t> prompt;
};

std::vector<int32_t> SomeIds(size_t n, size_t below) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(3 + (i * i * 7 + i * 3) % below));
  return ids;
}

Case PrefixCase() {
  Case c{"prefix", Model::Open(SourceDir() + "/examples/tiny/tiny.glint"), SomeIds(70, 500)};
  c.prompt.push_back(c.model->prompt_ids().gmask);
  c.prompt.push_back(c.model->prompt_ids().sop);
  return c;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  cases.push_back(PrefixCase());
  LlamaShape shape;
  shape.head_dim = 18;  // no multiple of the 4 columns that int8 keys hold together
  cases.push_back(
      {"causal", ConvertAndOpen(LlamaFolder(shape), DType::kInt4, false), SomeIds(300, 90)});
  cases.push_back({"rings", WindowModel({64, 0, 300}), SomeIds(900, 90)});
  return cases;
}

struct Split {
  size_t threads = 2, chunk = 64, max_batch = 4, more_context = 100;
  KvType kv = KvType::kF16;
};

std::unique_ptr<Session> NewSession(const Case& c, const Split& shape) {
  SessionOptions options;
  options.threads = shape.threads;
  options.chunk = shape.chunk;
  options.max_batch = shape.max_batch;
  options.context = c.prompt.size() + shape.more_context;
  options.kv = shape.kv;
  return std::make_unique<Session>(*c.model, options);
}

Row Logits(const Session& session) { return {session.logits().begin(), session.logits().end()}; }

// Logits now, after some tokens, after a batch, and after another prompt that begins like this one.
std::vector<Row> GoOn(Session& session, const std::vector<int32_t>& prompt) {
  std::vector<Row> rows{Logits(session)};
  const size_t length = session.length();
  for (int32_t id = 20; id < 40; ++id) {
    REQUIRE(session.Append(id) == Status::kOk);
    rows.push_back(Logits(session));
  }
  REQUIRE(session.AppendBatch(std::vector<int32_t>{7, 8, 9}) == Status::kOk);
  session.Truncate(length + 21);
  rows.push_back(Logits(session));
  std::vector<int32_t> next = prompt;
  next.insert(next.begin(), {3, 4});
  REQUIRE(session.Start(next) == Status::kOk);
  rows.push_back(Logits(session));
  return rows;
}

void Begin(Session& session, const Case& c) {
  REQUIRE(session.Start(c.prompt) == Status::kOk);
  for (int32_t id = 5; id < 15; ++id) REQUIRE(session.Append(id) == Status::kOk);
}

// With the checksum that its bytes have.
Image Signed(Image image) {
  const uint64_t checksum = ChecksumOf(image.data(), image.size() - 8);
  std::memcpy(image.data() + image.size() - 8, &checksum, 8);
  return image;
}

std::string Refusal(Session& session, const Image& image) {
  try {
    RestoreSession(session, image, "image");
  } catch (const Error& error) {
    REQUIRE(session.length() == 0);
    REQUIRE(session.logits().empty());
    REQUIRE_THROWS_AS(session.Append(5), Error);
    return error.what();
  }
  return "";
}

template <class T>
Image With(Image image, size_t offset, T value) {
  std::memcpy(image.data() + offset, &value, sizeof value);
  return Signed(std::move(image));
}

}  // namespace

TEST_CASE("a restored session goes on with the same bits, whatever its threads, chunks and context") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kInt8}) {
      Split shape;
      shape.kv = kv;
      const auto saved = NewSession(c, shape);
      Begin(*saved, c);
      const Image image = SaveSession(*saved);
      CHECK(SaveSession(*saved) == image);  // saving changes nothing
      const std::vector<Row> want = GoOn(*saved, c.prompt);
      for (Split other : {Split{1, 1, 3, 50}, Split{3, 200, 8, 700}, Split{2, 64, 4, 40}}) {
        other.kv = kv;
        const auto session = NewSession(c, other);
        if (other.threads == 1) REQUIRE(session->Start(c.prompt) == Status::kOk);  // is replaced
        RestoreSession(*session, image, "image");
        CHECK(session->length() == c.prompt.size() + 10);
        CHECK(SaveSession(*session) == image);
        CHECK(GoOn(*session, c.prompt) == want);
      }
    }
  }
}

TEST_CASE("what was restored is not computed again, and may be cut where nothing was lost") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    if (!c.model->causal()) continue;
    const auto saved = NewSession(c, {});
    Begin(*saved, c);
    const Image image = SaveSession(*saved);
    const auto session = NewSession(c, {});
    RestoreSession(*session, image, "image");
    std::vector<int32_t> next = c.prompt;
    for (int32_t id = 5; id < 15; ++id) next.push_back(id);
    next.insert(next.end(), {30, 31});
    REQUIRE(session->Start(next) == Status::kOk);
    CHECK(session->kept() == next.size() - 2);
    REQUIRE(saved->Start(next) == Status::kOk);
    CHECK(Logits(*session) == Logits(*saved));
    // Back into what was saved.
    RestoreSession(*session, image, "image");
    const bool has_windows = std::string(c.name) == "rings";
    if (has_windows) {
      CHECK_THROWS_AS(session->Truncate(c.prompt.size() + 5), Error);
    } else {
      session->Truncate(c.prompt.size() + 5);
      REQUIRE(session->Append(10) == Status::kOk);
    }
    std::vector<int32_t> shorter(c.prompt.begin(), c.prompt.end() - 20);
    saved->Forget();
    REQUIRE(saved->Start(shorter) == Status::kOk);
    REQUIRE(session->Start(shorter) == Status::kOk);
    CHECK(session->kept() == (has_windows ? 0 : shorter.size() - 1));
    CHECK(Logits(*session) == Logits(*saved));
  }
}

TEST_CASE("a file is written whole, and not over another unless that is wanted") {
  const Case c = PrefixCase();
  const auto saved = NewSession(c, {});
  const std::string path = TempDir() + "/saved.session";
  CHECK_THROWS_WITH_AS(SaveSessionFile(*saved, path, false), doctest::Contains("no sequence"), Error);
  CHECK_FALSE(std::filesystem::exists(path));
  Begin(*saved, c);
  SaveSessionFile(*saved, path, false);
  CHECK_THROWS_AS(SaveSessionFile(*saved, path, false), Error);
  SaveSessionFile(*saved, path, true);
  const std::string bytes = ReadFile(path);
  CHECK(Image(bytes.begin(), bytes.end()) == SaveSession(*saved));
  const auto session = NewSession(c, {});
  RestoreSessionFile(*session, path);
  CHECK(GoOn(*session, c.prompt) == GoOn(*saved, c.prompt));
  CHECK_THROWS_AS(RestoreSessionFile(*session, path + "-not-there"), Error);
  CHECK(session->length() == 0);
  for (const size_t size : {size_t{0}, size_t{50}, size_t{104}, bytes.size() - 1}) {
    const std::string cut = TempDir() + "/cut.session";
    WriteFile(cut, bytes.substr(0, size));
    CHECK_THROWS_AS(RestoreSessionFile(*session, cut), Error);
    CHECK(session->length() == 0);
  }
  // Said to be larger than anything: refused before it is read. On Windows it would not be sparse.
#if defined(_WIN32)
  const uint64_t large = bytes.size() + 1;
#else
  const uint64_t large = uint64_t{1} << 40;
#endif
  const std::string sparse = TempDir() + "/sparse.session";
  WriteFile(sparse, bytes);
  std::filesystem::resize_file(sparse, large);
  CHECK_THROWS_WITH_AS(RestoreSessionFile(*session, sparse), doctest::Contains("bytes: expected"),
                       Error);
}

TEST_CASE("what is not this session's is refused by name") {
  const Case c = PrefixCase();
  const auto saved = NewSession(c, {}), session = NewSession(c, {});
  Begin(*saved, c);
  const Image image = SaveSession(*saved);
  const auto refused = [&](const Image& bytes, const char* why) {
    CAPTURE(why);
    const std::string message = Refusal(*session, bytes);
    CHECK_MESSAGE(message.find(why) != std::string::npos, message);
    CHECK(message.rfind("image: ", 0) == 0);
  };
  refused({}, "is no saved session");
  refused(Image(200), "is no saved session");
  refused(With<uint32_t>(image, 8, 2), "version of the format: expected 1, found 2");
  refused(With<uint32_t>(image, 12, 9), "numerics: expected 1, found 9");
  refused(With<uint64_t>(image, 16, 77), "another model (hash 000000000000004d)");
  refused(With<uint32_t>(image, 24, 0), "its cache is f32, this session's is f16");
  refused(With<uint32_t>(image, 24, 77), "of unknown type");
  refused(With<uint32_t>(image, 28, 1), "kind of output");
  refused(With<uint32_t>(image, 32, 77), "layers: expected");
  refused(With<uint32_t>(image, 36, 77), "heads of keys: expected");
  refused(With<uint32_t>(image, 40, 77), "width of a head: expected");
  refused(With<uint32_t>(image, 44, UINT32_MAX), "adapters in use: expected 0");
  refused(With<uint64_t>(image, 48, UINT64_MAX), "this session's context holds");
  refused(With<uint64_t>(image, 48, 0), "do not fit together");
  refused(With<uint64_t>(image, 48, 81), "bytes: expected");
  refused(With<uint64_t>(image, 48, 83), "truncated: expected");
  refused(With<uint64_t>(image, 56, 83), "do not fit together");
  refused(With<uint64_t>(image, 64, UINT64_MAX), "do not fit together");
  refused(With<uint64_t>(image, 64, 5), "positions are not those of its ids");
  refused(With<uint64_t>(image, 72, 5), "positions are not those of its ids");
  refused(With<uint64_t>(image, 80, 1), "prefix: expected 0");
  refused(With<uint64_t>(image, 88, UINT64_MAX), "row of outputs: expected");
  refused(With<int32_t>(image, 96, -1), "outside the vocabulary");
  refused(With<int32_t>(image, 96, INT32_MAX), "outside the vocabulary");
  refused(With<int32_t>(image, 96 + 4 * 71, 5), "cannot start a sequence");
  refused(With<float>(image, 96 + 4 * 82, std::numeric_limits<float>::quiet_NaN()), "not finite");
  Image damaged = image;
  damaged[damaged.size() / 2] ^= 4;
  refused(damaged, "its checksum is");
  damaged = image;
  damaged.resize(damaged.size() - 1);
  refused(damaged, "truncated");
  damaged = image;
  damaged.push_back(0);
  refused(damaged, "bytes: expected");
  Split small;
  small.more_context = 9;
  const auto short_session = NewSession(c, small);
  CHECK(Refusal(*short_session, image).find("has 82 tokens, this session's context holds 81") !=
        std::string::npos);
  RestoreSession(*session, image, "image");
  CHECK(Logits(*session) == Logits(*saved));
}

TEST_CASE("no damage is restored, with or without a right checksum") {
  for (const Case& c : Cases()) {
    CAPTURE(c.name);
    const auto saved = NewSession(c, {}), session = NewSession(c, {});
    Begin(*saved, c);
    const Image image = SaveSession(*saved);
    std::mt19937 random(11);
    for (int i = 0; i < 300; ++i) {
      Image damaged = image;
      const size_t range = i % 2 == 0 ? 200 : damaged.size();  // the head, anything
      damaged[random() % std::min(range, damaged.size())] ^= static_cast<uint8_t>(1 + random() % 255);
      REQUIRE(Refusal(*session, damaged) != "");
      // An image that somebody made to be wrong is refused, or a sequence that computes.
      damaged = Signed(std::move(damaged));
      if (Refusal(*session, damaged).empty()) {
        REQUIRE(session->length() <= session->context());
        session->Append(5);
      }
      Image cut(image.begin(), image.begin() + static_cast<ptrdiff_t>(random() % image.size()));
      REQUIRE(Refusal(*session, cut) != "");
    }
  }
}

TEST_CASE("a session with adapters is restored with the same ones") {
  const SampleModel sample = GlmSample();
  const Case c{"adapters", ConvertAndOpen(WriteFolder(sample), DType::kF32), GlmIds(20)};
  const PlainPrefix plain_prefix = MakePrefix(19, 256, 4), other_prefix = MakePrefix(19, 256, 5);
  const auto prefix = ConvertAdapterAndOpen(*c.model, WritePrefix(sample.config, plain_prefix));
  const auto other = ConvertAdapterAndOpen(*c.model, WritePrefix(sample.config, other_prefix));
  const LoraSample changes = MakeLora(sample.tensors, {"query_key_value"}, 4, 6, 11);
  const auto lora = ConvertAdapterAndOpen(*c.model, WriteLora(changes));
  const std::vector<AdapterUse> uses = {{prefix.get(), 1}, {lora.get(), 0.5f}};
  Split split;
  split.kv = KvType::kInt8;
  const auto saved = NewSession(c, split), session = NewSession(c, split);
  saved->SetAdapters(uses);
  Begin(*saved, c);
  const Image image = SaveSession(*saved);
  CHECK(Refusal(*session, image).find("adapters in use: expected 0, found 2") != std::string::npos);
  session->SetAdapters(std::vector<AdapterUse>{{prefix.get(), 1}, {lora.get(), 0.25f}});
  CHECK(Refusal(*session, image).find("adapter 1: expected hash") != std::string::npos);
  session->SetAdapters(std::vector<AdapterUse>{{other.get(), 1}, {lora.get(), 0.5f}});
  CHECK(Refusal(*session, image).find("adapter 0: expected hash") != std::string::npos);
  session->SetAdapters(uses);
  RestoreSession(*session, image, "image");
  CHECK(SaveSession(*session) == image);
  const std::vector<int32_t> more = {7, 8, 9};
  REQUIRE(session->AppendBatch(more) == Status::kOk);
  REQUIRE(saved->AppendBatch(more) == Status::kOk);
  CHECK(Logits(*session) == Logits(*saved));
}

TEST_CASE("a model that has no checksums has no saved sessions") {
  const Case c = PrefixCase();
  // As a direct run has it: the checksums in the header are zeros.
  const std::string path = c.model->file().path();
  const auto file = GlintFile::Open(path);
  CHECK(file->Hash() != 0);
  std::string bytes = ReadFile(path);
  for (size_t at = 0; (at = bytes.find("\"xxh3\": \"", at)) != std::string::npos; at += 9) {
    bytes.replace(at + 9, 16, std::string(16, '0'));
  }
  std::string head = bytes.substr(0, file->data_offset());
  std::memset(head.data() + 24, 0, 8);
  const uint64_t checksum = ChecksumOf(head.data(), head.size());
  std::memcpy(bytes.data() + 24, &checksum, 8);
  const auto model = Model::FromMemory(bytes.data(), bytes.size(), "memory");
  REQUIRE(model->file().Hash() == 0);
  SessionOptions options;
  Session session(*model, options);
  REQUIRE(session.Start(c.prompt) == Status::kOk);
  CHECK_THROWS_WITH_AS(SaveSession(session), doctest::Contains("cannot be saved"), Error);
  const auto saved = NewSession(c, {});
  Begin(*saved, c);
  CHECK_THROWS_WITH_AS(RestoreSession(session, SaveSession(*saved), "image"),
                       doctest::Contains("another model"), Error);
}
