// Every architecture against the published implementation where there are goldens of it, and
// against the plain decoder (tests/plain_decoder.h) for every sample checkpoint, from Hugging Face
// folders and from GGUF files.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "formats/architectures/architecture.h"
#include "tests/golden_cases.h"
#include "tests/model_samples.h"
#include "tests/plain_decoder.h"

using namespace glint;
using namespace glint::test;

namespace {

// Above: windows of the samples are full, and a prompt is longer than a chunk.
constexpr size_t kPromptTokens = 40, kGreedyTokens = 12;

size_t Best(const double* logits, size_t n) {
  return static_cast<size_t>(std::max_element(logits, logits + n) - logits);
}

// Contexts on which the frequencies of some samples depend.
std::vector<size_t> ContextsOf(const std::string& sample) {
  if (sample.starts_with("phi3-")) return {64, 65};
  if (sample == "llama-dynamic") return {64, 200};
  return {kPromptTokens + kGreedyTokens};
}

// The model's logits of a prompt, then of a greedy continuation, are the plain decoder's.
void CheckSample(const Model& model, const SampleModel& sample, size_t context) {
  CAPTURE(context);
  std::vector<int32_t> ids = SampleIds(sample, kPromptTokens);
  SessionOptions options = ExactSession();
  options.chunk = 16;
  options.context = context;
  Session session(model, options);
  const std::vector<float> got = AllLogits(session, ids);
  const size_t vocab = model.n_outputs();
  for (size_t step = 0;; ++step) {
    const std::vector<double> want =
        PlainLogits(sample.config, sample.tensors, ids, options.context);
    REQUIRE(want.size() == ids.size() * vocab);
    double difference = 0;
    if (step == 0) {
      for (size_t i = 0; i < want.size(); ++i) {
        difference = std::max(difference, std::fabs(want[i] - static_cast<double>(got[i])));
      }
    }
    const double* last = want.data() + (ids.size() - 1) * vocab;
    for (size_t i = 0; i < vocab; ++i) {
      difference =
          std::max(difference, std::fabs(last[i] - static_cast<double>(session.logits()[i])));
    }
    CAPTURE(step);
    CHECK(difference <= static_cast<double>(kTolerance));
    const int32_t id = Sampler::Greedy(session.logits());
    CHECK(static_cast<size_t>(id) == Best(last, vocab));
    if (step == kGreedyTokens) return;
    REQUIRE(session.Append(id) == Status::kOk);
    ids.push_back(id);
  }
}

void CheckSample(const SampleModel& sample, const std::string& source) {
  const std::unique_ptr<Model> model = ConvertAndOpen(source, DType::kF32);
  for (const size_t context : ContextsOf(sample.name)) CheckSample(*model, sample, context);
}

}  // namespace

TEST_CASE("ChatGLM2, ChatGLM3, GLM-4: every golden case from each of the five checkpoint files") {
  if (SkipWithoutReference("goldens of ChatGLM2 and later")) return;
  for (const char* name : {"chatglm2-tiny", "chatglm3-tiny", "glm4-tiny"}) {
    CheckGoldens(name, {"p2", "p12", "p33", "p200"});
  }
}

TEST_CASE("Qwen2: every golden case from each of the five checkpoint files") {
  if (SkipWithoutReference("goldens of Qwen2")) return;
  CheckGoldens("qwen2-tiny", {"p1", "p12", "p33", "p150"},
               [](const Model& model, const std::string& cases) {
                 CheckPaddedBatch(model, cases + "batch2", "logits_where_mask1.npy");
               });
}

TEST_CASE("every sample from its Hugging Face folder") {
  for (const std::string& name : SampleNames()) {
    CAPTURE(name);
    const SampleModel sample = SampleOf(name);
    CheckSample(sample, WriteFolder(sample));
  }
}

TEST_CASE("every sample from its GGUF file") {
  for (const std::string& name : GgufSampleNames()) {
    for (const char* type : {"F32", "F16", "Q8_0", "Q4_0"}) {
      CAPTURE(name);
      CAPTURE(std::string(type));
      const std::string path = TempDir() + "/" + name + ".gguf";
      const SampleModel held = WriteGguf(SampleOf(name), path, type);
      CheckSample(held, path);
    }
  }
}

TEST_CASE("a chat format whose tokens the tokenizer lacks is left out, with a remark") {
  const std::string path = TempDir() + "/chatglm.gguf";
  WriteGguf(SampleOf("chatglm"), path, "F32");
  ConvertOptions options;
  options.source = path;
  options.write.output = TempDir() + "/model.glint";
  std::string remarks;
  options.warn = [&](const std::string& text) { remarks += text; };
  Convert(options);
  CHECK(remarks.find("chat format 'chatglm3' needs a token '") != std::string::npos);
  CHECK(remarks.find("will not chat") != std::string::npos);
  const std::unique_ptr<Model> model = Model::Open(options.write.output);
  CHECK(model->tokenizer());
  CHECK(!model->chat());
}

TEST_CASE("published shapes have as many parameters as published, and a graph") {
  const struct {
    const char* name;
    double billions;
  } kShapes[] = {{"chatglm-6b", 6.17},    {"chatglm3-6b", 6.24},        {"glm-4-9b", 9.40},
                 {"glm-4-9b-0414", 9.40}, {"llama-7b", 6.74},           {"llama-3.1-8b", 8.03},
                 {"mistral-7b", 7.24},    {"qwen2.5-0.5b", 0.494},      {"qwen2.5-7b", 7.62},
                 {"qwen3-8b", 8.19},      {"phi-3-mini", 3.82},         {"gemma-2-2b", 2.61},
                 {"mixtral-8x7b", 46.70}, {"qwen1.5-moe-a2.7b", 14.32}, {"granite-3.3-2b", 2.53}};
  size_t known = 0;
  for (const Architecture* row : Architectures()) known += row->published.size();
  CHECK(known == std::size(kShapes));
  for (const auto& shape : kShapes) {
    CAPTURE(std::string(shape.name));
    const nlohmann::json config = PublishedConfig(shape.name);
    const ImportPlan plan = FindArchitecture(config, "test").plan(config, nullptr, "test");
    double parameters = 0;
    std::vector<Tensor> tensors;
    for (const ImportTensor& tensor : plan.tensors) {
      const bool matrix = tensor.role != ImportTensor::Role::kVector;
      tensors.push_back(
          {tensor.name, matrix ? DType::kInt4 : DType::kF32, BlockOffset::kNone, tensor.shape});
      const double columns = matrix ? static_cast<double>(tensor.shape[1]) : 1;
      // The first version of ChatGLM-6B ties its head, as the published count has it.
      if (tensor.tied_to.empty()) parameters += static_cast<double>(tensor.shape[0]) * columns;
    }
    CHECK(parameters / 1e9 == doctest::Approx(shape.billions).epsilon(0.003));
    CHECK(plan.build(tensors, "test").nodes.size() > 100);
  }
}
