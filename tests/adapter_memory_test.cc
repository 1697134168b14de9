// The memory of sessions with adapters: the estimate tells it beforehand, and running allocates
// nothing.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "lib/adapter_set.h"
#include "lib/memory_estimate.h"
#include "tests/adapter_samples.h"
#include "tests/count_allocations.h"

using namespace glint;
using namespace glint::test;

namespace {

// A model with all that an adapter can be for it: a prefix, a LoRA of every matrix, another of one.
struct Case {
  std::unique_ptr<Model> model;
  std::vector<std::unique_ptr<Adapter>> adapters;
  std::vector<int32_t> ids;

  std::vector<AdapterUse> Uses() const {
    std::vector<AdapterUse> uses;
    for (const auto& adapter : adapters) uses.push_back({adapter.get(), 1});
    return uses;
  }
};

Case Glm(DType type) {
  const SampleModel sample = GlmSample();
  Case c;
  c.model = ConvertAndOpen(WriteFolder(sample), type);
  c.adapters.push_back(
      ConvertAdapterAndOpen(*c.model, WritePrefix(sample.config, MakePrefix(7, 256, 3))));
  for (const std::vector<std::string>& modules : std::vector<std::vector<std::string>>{
           {"query_key_value", "attention.dense", "dense_h_to_4h", "dense_4h_to_h"}, {"lm_head"}}) {
    const std::string folder = WriteLora(MakeLora(sample.tensors, modules, 20, 6, 11));
    c.adapters.push_back(ConvertAdapterAndOpen(*c.model, folder));
  }
  c.ids = GlmIds(30);
  return c;
}

Case Llama(DType type) {
  const SampleModel sample = SampleOf("llama");
  Case c;
  c.model = ConvertAndOpen(WriteFolder(sample), type);
  const LoraSample lora =
      MakeLora(sample.tensors, {"q_proj", "v_proj", "up_proj", "down_proj"}, 4, 6, 5);
  c.adapters.push_back(ConvertAdapterAndOpen(*c.model, WriteLora(lora)));
  c.ids = SampleIds(sample, 30);
  return c;
}

SessionOptions Options(size_t context) {
  SessionOptions options;
  options.context = context;
  options.threads = 2;
  options.chunk = 16;
  options.max_batch = 3;
  return options;
}

}  // namespace

TEST_CASE("running with adapters allocates nothing") {
  for (const DType type : {DType::kF32, DType::kInt4}) {
    for (const Case& c : {Glm(type), Llama(type)}) {
      CAPTURE(std::string(Info(type).name));
      CAPTURE(c.adapters.size());
      Session session(*c.model, Options(64));
      session.SetAdapters(c.Uses());
      REQUIRE(session.adapters().size() == c.adapters.size());
      const int32_t batch[] = {5, 6, 7};
      const size_t before = allocations.load();
      bool ok = session.Start(c.ids) == Status::kOk;
      ok = ok && session.Append(9) == Status::kOk && session.AppendBatch(batch) == Status::kOk;
      session.Truncate(c.ids.size() + 1);
      ok = ok && session.Append(10) == Status::kOk && session.Start(c.ids) == Status::kOk;
      CHECK(allocations.load() == before);
      CHECK(ok);
    }
  }
}

TEST_CASE("an estimate is what a session with adapters takes") {
  for (const Case& c : {Glm(DType::kInt4), Llama(DType::kF32)}) {
    CAPTURE(c.adapters.size());
    const SessionOptions options = Options(252);
    const MemoryEstimate without = EstimateMemory(*c.model, options);
    const MemoryEstimate with = EstimateMemory(*c.model, options, c.Uses());
    Session session(*c.model, options);
    CHECK(without.cache == session.cache_bytes());
    session.SetAdapters(c.Uses());
    CHECK(with.cache == session.cache_bytes());
    CHECK(with.activations ==
          session.prompt_plan().arena_bytes() + session.batch_plan().arena_bytes());
    CHECK(with.activations >= without.activations);  // often there is scratch memory enough
    CHECK(with.Total() - without.Total() ==
          with.cache - without.cache + with.activations - without.activations);
    CHECK(LongestContext(*c.model, options, with.Total(), c.Uses()) == 252);
    if (session.prefix_length() != 0) {
      // Its entries are the first of another block of the cache: less context has room.
      CHECK(with.cache > without.cache);
      CHECK(LongestContext(*c.model, options, without.Total()) == 252);
      CHECK(LongestContext(*c.model, options, without.Total(), c.Uses()) == 200);
    }
    // Scales of 0 take nothing.
    std::vector<AdapterUse> unused = c.Uses();
    for (AdapterUse& use : unused) use.scale = 0;
    CHECK(EstimateMemory(*c.model, options, unused).Total() == without.Total());
    // An adapter is its file.
    for (const auto& adapter : c.adapters) {
      CHECK(BytesOf(*adapter).file == adapter->file().bytes());
      CHECK(BytesOf(*adapter).made == 0);
    }
  }
}
