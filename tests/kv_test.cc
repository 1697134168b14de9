// The KV cache's types in a whole model: how near they answer, and that no split of the work shows.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>

#include "formats/convert/convert.h"
#include "lib/session.h"
#include "lib/text/chat.h"
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

struct Split {
  size_t threads, chunk;
};

// Logits of the last token of a prompt and of each token appended to it.
std::vector<std::vector<float>> Logits(const Model& model, KvType kv, Split split, size_t context,
                                       const std::vector<int32_t>& prompt,
                                       const std::vector<int32_t>& more) {
  SessionOptions options;
  options.kv = kv;
  options.threads = split.threads;
  options.chunk = split.chunk;
  options.context = context;
  Session session(model, options);
  std::vector<std::vector<float>> rows;
  const auto keep = [&](Status status) {
    REQUIRE(status == Status::kOk);
    rows.emplace_back(session.logits().begin(), session.logits().end());
  };
  keep(session.Start(prompt));
  for (const int32_t id : more) keep(session.Append(id));
  return rows;
}

double GreatestDifference(const std::vector<std::vector<float>>& a,
                          const std::vector<std::vector<float>>& b) {
  double greatest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[i].size(); ++j) {
      greatest = std::max(greatest, std::fabs(double{a[i][j]} - b[i][j]));
    }
  }
  return greatest;
}

}  // namespace

TEST_CASE("f16 and int8 caches answer nearly as f32 does, whatever the split") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kF32);
  const ChatMessage messages[] = {{"user", "hello"},
                                  {"assistant", "\u4f60\u597d"},
                                  {"user", "what is the capital of Japan?"}};
  const std::vector<int32_t> prompt = model->chat()->Build(messages).ids;
  const std::vector<int32_t> more = {40, 50, 60, 70, 80};
  const auto exact = Logits(*model, KvType::kF32, {1, 512}, 256, prompt, more);
  double range = 0;
  for (const auto& row : exact) {
    for (const float v : row) range = std::max(range, double{std::fabs(v)});
  }
  const auto half = Logits(*model, KvType::kF16, {2, 512}, 256, prompt, more);
  const auto codes = Logits(*model, KvType::kInt8, {2, 512}, 256, prompt, more);
  std::printf("greatest logit %.2f; greatest difference from an f32 cache: f16 %.5f, int8 %.5f\n",
              range, GreatestDifference(exact, half), GreatestDifference(exact, codes));
  CHECK(GreatestDifference(exact, half) < 0.01);
  CHECK(GreatestDifference(exact, codes) < 0.25);
  for (const Split split : {Split{1, 1}, Split{3, 7}, Split{16, 512}}) {
    CHECK(Logits(*model, KvType::kInt8, split, 256, prompt, more) == codes);
    CHECK(Logits(*model, KvType::kF16, split, 300, prompt, more) == half);
  }
}

TEST_CASE("a context of more than 8192 tokens: chunks and threads do not show") {
  const std::unique_ptr<Model> model = ConvertTiny(DType::kInt4);
  const PromptIds& ids = model->prompt_ids();
  std::vector<int32_t> prompt(8200);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(20 + i * i % 300);
  prompt[prompt.size() - 2] = ids.gmask;
  prompt[prompt.size() - 1] = ids.sop;
  const std::vector<int32_t> more = {40, 50};
  const auto want = Logits(*model, KvType::kInt8, {2, 512}, 8300, prompt, more);
  CHECK(Logits(*model, KvType::kInt8, {3, 1000}, 8202, prompt, more) == want);
}
