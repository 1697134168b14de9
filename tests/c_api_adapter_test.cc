// Adapters through the C interface: a file that the converter made, by the shared library, beside
// the internal libraries of this program. Both must compute the same bits.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <fstream>

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
  // The file of an adapter that changed after it was opened.
  const glint_cpp::Adapter changed(c_model, lora->file().path());
  std::ofstream(lora->file().path(), std::ios::app) << "x";
  const auto status = [](const auto& fn) {
    try {
      fn();
    } catch (const glint_cpp::Error& error) {
      return error.status();
    }
    return GLINT_OK;
  };
  CHECK(status([&] { session.SetAdapters({{&changed, 1}}); }) == GLINT_FILE_CHANGED);
  const glint_adapter* const list[] = {changed.get()};
  options.adapters = list;
  options.n_adapters = 1;
  CHECK(status([&] { glint_cpp::Session(c_model, options); }) == GLINT_FILE_CHANGED);
  CHECK(same());
}

TEST_CASE("c api: a session is created with adapters, and the estimate counts them") {
  const SampleModel sample = GlmSample();
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kF32);
  const auto prefix =
      ConvertAdapterAndOpen(*model, WritePrefix(sample.config, MakePrefix(7, 256, 3)));
  const auto lora = ConvertAdapterAndOpen(
      *model, WriteLora(MakeLora(sample.tensors, {"query_key_value"}, 4, 6, 11)));
  const std::vector<int32_t> ids = GlmIds(10);
  const glint_cpp::Model c_model(model->file().path());
  auto c_prefix = std::make_unique<glint_cpp::Adapter>(c_model, prefix->file().path());
  auto c_lora = std::make_unique<glint_cpp::Adapter>(c_model, lora->file().path());

  glint_session_options plain = glint_session_options_init();
  plain.context = 252;
  glint_session_options options = plain;
  const glint_adapter* adapters[] = {c_prefix->get(), c_lora->get()};
  const float scales[] = {1, 0.5f};
  options.adapters = adapters;
  options.scales = scales;
  options.n_adapters = 2;
  glint_cpp::Session set(c_model, plain), created(c_model, options);
  set.SetAdapters({{c_prefix.get(), 1}, {c_lora.get(), 0.5f}});
  set.Start(ids);
  created.Start(ids);
  CHECK(RowOf(created.Logits()) == RowOf(set.Logits()));

  const glint_memory with = c_model.Memory(options), without = c_model.Memory(plain);
  CHECK(with.cache == created.Info().cache_bytes);
  CHECK(with.cache > without.cache);  // 252 + 7 entries are more than a block of 256
  CHECK(with.weights - without.weights == prefix->file().bytes() + lora->file().bytes());
  // An older program's options end before the adapters.
  options.size = offsetof(glint_session_options, adapters);
  CHECK(c_model.Memory(options).cache == without.cache);
  options.size = sizeof options;

  // The session keeps them alive, and says why it cannot have some.
  c_prefix.reset();
  c_lora.reset();
  created.Start(ids);
  CHECK(RowOf(created.Logits()) == RowOf(set.Logits()));
  const glint_cpp::Adapter again(c_model, prefix->file().path());
  const glint_adapter* twice[] = {again.get(), again.get()};
  const glint_adapter* none[] = {nullptr};
  const auto refused = [&](const glint_adapter* const* list, size_t n) {
    options.adapters = list;
    options.scales = nullptr;
    options.n_adapters = n;
    glint_session* session = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    glint_memory memory = glint_memory_init();
    CHECK(glint_memory_estimate(c_model.get(), &options, &memory, error, sizeof error) ==
          GLINT_ERROR_ARGUMENT);
    CHECK(glint_session_create(c_model.get(), &options, &session, error, sizeof error) ==
          GLINT_ERROR_ARGUMENT);
    CHECK(session == nullptr);
    return std::string(error);
  };
  CHECK(refused(twice, 2).find("a session has one prefix at most") != std::string::npos);
  CHECK(refused(none, 1) == "an adapter is null");
  CHECK(refused(nullptr, 1) == "adapters is null");
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
