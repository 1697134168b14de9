// The C interface through its C++ wrapper: ways to open a model, what it is, text, samplers,
// embeddings.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>

#include "tests/c_api_samples.h"

using namespace c_api_test;
using namespace glint_cpp;

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

TEST_CASE("c api: models from a descriptor") {
  if (glint_cpp::Capabilities().can_open_descriptor == 0) return;
  const uint64_t hash = Model(TinyPath()).Info().hash;
  const int fd = open(TinyPath().c_str(), O_RDONLY);
  REQUIRE(fd >= 0);
  const Model by_fd = Model::FromDescriptor(fd);
  CHECK(by_fd.Info().hash == hash);
  CHECK(std::string(by_fd.Info().path).find("descriptor") == 0);
  CHECK(close(fd) == 0);  // it was ours all the time
  Session(by_fd, Options()).Start(Prompt(by_fd));
  CHECK(StatusOf([&] { Model::FromDescriptor(fd, "closed"); }) == GLINT_ERROR_FILE);
}

TEST_CASE("c api: models from memory") {
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

TEST_CASE("c api: a mapped file that was cut is an error of every call that would read it") {
  const std::string path = glint::TempDir() + "/tiny.glint";
  std::filesystem::copy_file(TinyPath(), path);
  const Model model(path);
  Session session(model, Options());
  Chat chat(session);
  Detokenizer detokenizer(model);
  const Ids ids = Prompt(model);
  session.Start(ids);
  detokenizer.Add(ids[0]);
  std::error_code error;
  std::filesystem::resize_file(path, 0, error);
  if (error) return;  // Windows does not let it happen
  const auto changed = [](const auto& fn) { return StatusOf(fn) == GLINT_FILE_CHANGED; };
  for (int mode = GLINT_TOKENIZE_TEXT; mode <= GLINT_TOKENIZE_MARKUP; ++mode) {
    CHECK(changed([&] { model.Tokenize(kQuestion, static_cast<glint_tokenize_mode>(mode)); }));
  }
  CHECK(changed([&] { model.Detokenize(ids); }));
  CHECK(model.FindToken("<sop>") == -1);
  CHECK(changed([&] { detokenizer.Add(ids[0]); }));
  CHECK(changed([&] { detokenizer.Finish(); }));
  CHECK(changed([&] { Prompt(model); }));
  CHECK(changed([&] { session.Generate({}, {}, Greedy()); }));
  CHECK(changed([&] { session.Generate(ids, {}, Greedy()); }));
  CHECK(changed([&] { session.Start(ids); }));
  CHECK(changed([&] { chat.Ask(kQuestion, {}, Greedy()); }));
  CHECK(changed([&] { Session again(model, Options()); }));
  CHECK(changed([&] { session.SetAdapters({}); }));
  // What does not read it goes on.
  CHECK(model.Info().vocab_size > 0);
  CHECK(model.Memory(Options()).total > 0);
  CHECK(StatusOf([&] { Chat again(session); }) == GLINT_OK);
  CHECK(StatusOf([&] { Detokenizer again(model); }) == GLINT_OK);
}
