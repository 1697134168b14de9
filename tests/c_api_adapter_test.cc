// Adapters through the C interface: a file that the converter made, by the shared library, beside
// the internal libraries of this program. Both must compute the same bits.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>

#include "glint.hpp"
#include "lib/session.h"
#include "tests/adapter_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

std::vector<float> RowOf(std::pair<const float*, size_t> row) {
  return {row.first, row.first + row.second};
}

}  // namespace

TEST_CASE("c api: adapters are those of the runtime") {
  const SampleModel sample = GlmSample();
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const auto prefix =
      ConvertAdapterAndOpen(*model, WritePrefix(sample.config, MakePrefix(7, 256, 3)));
  const auto lora = ConvertAdapterAndOpen(
      *model, WriteLora(MakeLora(sample.tensors, {"query_key_value"}, 4, 6, 11)));
  const std::vector<int32_t> ids = GlmIds(10);
  SessionOptions plain;
  plain.context = 64;
  plain.kv = KvType::kF32;
  Session expected(*model, plain);

  const glint_cpp::Model c_model(model->file().path());
  auto c_prefix = std::make_unique<glint_cpp::Adapter>(c_model, prefix->file().path());
  auto c_lora = std::make_unique<glint_cpp::Adapter>(c_model, lora->file().path());
  CHECK(c_prefix->Kind() == "prefix");
  CHECK(c_lora->Kind() == "lora");
  glint_session_options options = glint_session_options_init();
  options.context = 64;
  glint_cpp::Session session(c_model, options);
  const auto same = [&] {
    REQUIRE(expected.Start(ids) == Status::kOk);
    session.Start(ids);
    const std::vector<float> row = RowOf(session.Logits());
    return row.size() == expected.logits().size() &&
           std::memcmp(row.data(), expected.logits().data(), row.size() * sizeof(float)) == 0;
  };
  CHECK(same());
  const std::vector<float> base = RowOf(session.Logits());
  const std::vector<AdapterUse> uses = {{prefix.get(), 1}, {lora.get(), 0.5f}};
  expected.SetAdapters(uses);
  session.SetAdapters({{c_prefix.get(), 1}, {c_lora.get(), 0.5f}});
  CHECK(session.Info().length == 0);
  CHECK(same());
  CHECK(RowOf(session.Logits()) != base);
  // The session keeps what it uses alive; a wrong set changes nothing.
  CHECK_THROWS_AS(session.SetAdapters({{c_prefix.get(), 0.5f}}), glint_cpp::Error);
  CHECK_THROWS_AS(session.SetAdapters({{nullptr, 1}}), glint_cpp::Error);
  c_prefix.reset();
  c_lora.reset();
  CHECK(same());
  session.SetAdapters({});
  expected.SetAdapters({});
  CHECK(same());
  CHECK(RowOf(session.Logits()) == base);
}

TEST_CASE("c api: an adapter of another model is refused") {
  const SampleModel sample = GlmSample();
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const auto prefix =
      ConvertAdapterAndOpen(*model, WritePrefix(sample.config, MakePrefix(7, 256, 3)));
  const glint_cpp::Model tiny(SourceDir() + "/examples/tiny/tiny.glint");
  try {
    glint_cpp::Adapter(tiny, prefix->file().path());
    FAIL("it was taken");
  } catch (const glint_cpp::Error& error) {
    CHECK(error.status() == GLINT_ERROR_FILE);
    CHECK(std::string(error.what()).find(prefix->file().path()) == 0);
  }
}
