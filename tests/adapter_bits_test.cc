// Invariant 3 for adapters: a prefix and two LoRAs over quantized weights give the same bits on
// every target, with other threads and chunks, as tests/data/adapter_bits.txt has on record. When a
// sample changes, the lines that this test prints become the new record.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/adapter_samples.h"
#include "tests/bits.h"

using namespace glint;
using namespace glint::test;

namespace {

// Of the logits of a prompt and of 12 greedy tokens after it, and in batches of 3.
std::string AdaptedHash(const Model& model, std::span<const AdapterUse> adapters,
                        std::span<const int32_t> ids, size_t threads, size_t chunk) {
  SessionOptions options;
  options.threads = threads;
  options.chunk = chunk;
  options.kv = KvType::kF16;
  options.max_batch = 3;
  Session session(model, options, adapters);
  std::vector<float> all = PromptAndGreedyLogits(session, ids);
  const std::vector<int32_t> batch = {7, 8, 9};
  REQUIRE(session.AppendBatch(batch) == Status::kOk);
  for (size_t i = 0; i < 3; ++i) {
    all.insert(all.end(), session.BatchLogits(i).begin(), session.BatchLogits(i).end());
  }
  return HashOf(all);
}

}  // namespace

TEST_CASE("every target, thread count and chunk gives the bits on record") {
  const std::map<std::string, Expected> expected = ReadExpected("adapter_bits.txt");
  const SampleModel samples[] = {SampleOf("chatglm"), GlmSample()};
  for (const SampleModel& sample : samples) {
    const bool is_glm = sample.name == "glm1";
    const std::vector<std::string> modules =
        is_glm ? std::vector<std::string>{"query_key_value", "dense_h_to_4h"}
               : std::vector<std::string>{"query_key_value", "dense", "dense_h_to_4h",
                                          "dense_4h_to_h"};
    for (const DType type : {DType::kInt4, DType::kF16}) {
      const std::string name = sample.name + "-" + Info(type).name;
      CAPTURE(name);
      const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), type, false);
      const auto one = ConvertAdapterAndOpen(
          *model, WriteLora(MakeLora(sample.tensors, modules, 20, 10, 3)), DType::kF16);
      const auto two = ConvertAdapterAndOpen(
          *model, WriteLora(MakeLora(sample.tensors, {modules[0]}, 5, 10, 4)));
      const auto prefix = ConvertAdapterAndOpen(
          *model, WritePrefix(sample.config, MakePrefix(23, is_glm ? 256 : 128, 5)));
      const AdapterUse uses[] = {{one.get(), 0.75f}, {prefix.get()}, {two.get()}};
      const std::vector<int32_t> ids = is_glm ? GlmIds(50) : SampleIds(sample, 60);
      const auto found = expected.find(name);
      const std::string want = found == expected.end() ? "" : found->second.logits;
      ForEachTarget(
          [&](const std::string&) { CHECK(AdaptedHash(*model, uses, ids, 2, 512) == want); });
      CHECK(AdaptedHash(*model, uses, ids, 1, 1) == want);
      const std::string hash = AdaptedHash(*model, uses, ids, 3, 7);
      CHECK(hash == want);
      std::printf("%s - %s\n", name.c_str(), hash.c_str());
    }
  }
}
