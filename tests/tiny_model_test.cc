// The tiny bilingual model, end to end: Hugging Face folder to .glint in each type, then chats over the
// held-out questions. The share of exact answers is the quality gauge of every quantizer.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <map>

#include "formats/convert/convert.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "lib/generate.h"
#include "tests/questions.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

std::unique_ptr<Model> ConvertTiny(DType type) {
  ConvertOptions options;
  options.source = SourceDir() + "/examples/tiny/model";
  options.write.output = TempDir() + "/tiny.glint";
  options.has_type = true;
  options.type = type;
  Convert(options);
  return Model::Open(options.write.output);
}

}  // namespace

TEST_CASE("exact answers to held-out questions, by type") {
  const std::vector<Question> questions =
      ReadQuestions(SourceDir() + "/examples/tiny/questions.jsonl");
  CHECK(questions.size() >= 400);
  std::map<DType, double> all;
  constexpr DType kTypes[] = {DType::kF32,   DType::kF16,  DType::kInt8, DType::kInt6,
                              DType::kInt4x, DType::kInt4, DType::kInt3};
  for (const DType type : kTypes) {
    std::map<std::string, Grade> grades = GradeModel(*ConvertTiny(type), questions, 2);
    all[type] = grades["all"].percent();
    std::printf("%-6s exact answers %.1f%% (English %.1f%%, Chinese %.1f%%)\n", Info(type).name,
                all[type], grades["en"].percent(), grades["zh"].percent());
    for (const auto& [group, grade] : grades) {
      if (grade.percent() >= 90 || type != DType::kF32) continue;
      std::printf("       %s %.1f%%\n", group.c_str(), grade.percent());
    }
  }
  CHECK(all[DType::kF32] >= 95);
  CHECK(all[DType::kF16] >= all[DType::kF32] - 0.5);
  CHECK(all[DType::kInt8] >= all[DType::kF32] - 1);
  CHECK(all[DType::kInt6] >= all[DType::kF32] - 1);
  CHECK(all[DType::kInt4] >= all[DType::kF32] - 3);
  CHECK(all[DType::kInt4x] >= all[DType::kF32] - 3);
}

TEST_CASE("a conversation drops old turns when it is full, and forgets when told") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kF32);
  REQUIRE(model->max_history() == 1);
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = 12;
  for (const size_t context : {40, 512}) {
    CAPTURE(context);
    SessionOptions session_options;
    session_options.context = context;
    session_options.threads = 2;
    Session session(*model, session_options);
    Chat chat(session);
    size_t total_forgotten = 0;
    for (int turn = 0; turn < 5; ++turn) {
      std::string streamed;
      size_t forgotten = 0;
      const Reply reply = chat.Ask(
          "hello", options, [&](std::string_view piece) { streamed += piece; }, &forgotten);
      CHECK(streamed == reply.text);
      CHECK(reply.status == Status::kOk);
      CHECK_FALSE(reply.text.empty());
      total_forgotten += forgotten;
      CHECK(chat.n_turns() <= 2);  // this one, and the one that the model may see
      CHECK(session.length() <= session.context());
    }
    // In 40 tokens there is no room for a past turn; in 512 there is.
    CHECK(total_forgotten == (context == 40 ? 4 : 0));
    chat.Clear();
    CHECK(chat.n_turns() == 0);
    std::string huge;
    for (int i = 0; i < 1000; ++i) huge += "hello ";
    CHECK_THROWS_WITH_AS(chat.Ask(huge, options, {}), doctest::Contains("the context holds"), Error);
    CHECK(chat.n_turns() == 0);
  }
}

TEST_CASE("a follow-up is understood from the turn before") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kInt4);
  Session session(*model, {});
  Chat chat(session);
  GenerateOptions options;
  options.sampler.temperature = 0;
  const std::string japan = chat.Ask("What is the capital of Japan?", options, {}).text;
  CHECK(japan == "The capital of Japan is Tokyo.");
  const std::string cat = chat.Ask("\u732b\u7528\u82f1\u8bed\u600e\u4e48\u8bf4\uff1f", options, {}).text;
  CHECK(cat == "cat");
  const std::string panda = chat.Ask("\u718a\u732b\u5462\uff1f", options, {}).text;
  CHECK(panda == "panda");
}

TEST_CASE("a cancelled reply keeps the session usable") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kInt8);
  Session session(*model, {});
  GenerateOptions options;
  options.sampler.temperature = 0;
  const std::vector<int32_t> prompt = model->tokenizer()->EncodeWithSpecial("hello");
  const Reply whole = Generate(session, prompt, options, {});
  session.Cancel();
  const Reply cancelled = Generate(session, prompt, options, {});
  CHECK(cancelled.end == Reply::End::kCancelled);
  CHECK(cancelled.text.empty());
  CHECK_THROWS_WITH_AS(session.Append(5), doctest::Contains("no sequence"), Error);
  session.ClearCancel();
  CHECK(Generate(session, prompt, options, {}).text == whole.text);
}

TEST_CASE("the caller's floating-point mode changes no bit and comes back") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kInt4);
  const std::vector<int32_t> prompt = model->tokenizer()->EncodeWithSpecial("what is 7 plus 5?");
  Session session(*model, {});
  REQUIRE(session.Start(prompt) == Status::kOk);
  const std::vector<float> want(session.logits().begin(), session.logits().end());
#if defined(__x86_64__)
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040 | 0x6000);  // flush to zero, denormals are zero, round to zero
  const unsigned set = _mm_getcsr() & 0xE040;
  Session odd(*model, {});  // computes its rotary tables in this mode, if it is careless
  const Status odd_status = odd.Start(prompt);
  const Status status = session.Start(prompt);
  const bool kept = (_mm_getcsr() & 0xE040) == set;
  _mm_setcsr(saved);
  CHECK(kept);
  REQUIRE(status == Status::kOk);
  REQUIRE(odd_status == Status::kOk);
  CHECK(std::equal(want.begin(), want.end(), odd.logits().begin()));
#else
  REQUIRE(session.Start(prompt) == Status::kOk);
#endif
  CHECK(std::equal(want.begin(), want.end(), session.logits().begin()));
}
