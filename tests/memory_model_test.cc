#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "formats/convert/convert.h"
#include "formats/convert/model_cache.h"
#include "lib/error.h"
#include "lib/memory_estimate.h"
#include "lib/session.h"
#include "tests/gguf_files.h"
#include "tests/llama_samples.h"
#include "tests/system.h"

// Conversion into memory, and the names under which conversions are kept.
namespace glint {
namespace {

using namespace test;

ConvertOptions OptionsFor(const std::string& source, const std::string& output, size_t threads) {
  ConvertOptions options;
  options.source = source;
  options.write.output = output;
  options.write.threads = threads;
  return options;
}

std::string ErrorOf(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("a model converted into memory is the one of the file, but for checksums") {
  const std::string folder = LlamaFolder({}), path = TempDir() + "/model.glint";
  Convert(OptionsFor(folder, path, 2));
  const auto from_file = Model::Open(path);
  for (const size_t threads : {1, 2}) {
    std::unique_ptr<Model> model;
    {
      const auto memory = ConvertToMemory(OptionsFor(folder, "", threads));
      CHECK(memory->bytes() == from_file->file().bytes());
      model = Model::FromMemory(memory->data(), memory->bytes(), folder, memory);
    }  // the model keeps its memory
    const auto& want = from_file->file().tensors();
    const auto& got = model->file().tensors();
    REQUIRE(got.size() == want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      CAPTURE(want[i].name);
      CHECK(got[i].name == want[i].name);
      CHECK(got[i].dtype == want[i].dtype);
      REQUIRE(got[i].bytes == want[i].bytes);
      CHECK(std::memcmp(got[i].data, want[i].data, got[i].bytes) == 0);
    }
    CHECK(model->file().path() == folder);
    Session session(*model, {});
    const std::vector<int32_t> ids = {1, 90, 17, 5};
    CHECK(session.Start(ids) == Status::kOk);
  }
}

TEST_CASE("a result beyond the free memory is refused before it is made") {
  OutputMemory memory("m.gguf", OutputMemory::Use::kWhole, uint64_t{3} << 20);
  CHECK_THROWS_WITH_AS(memory.Resize(uint64_t{9} << 20),
                       "m.gguf: converted it takes 9 MiB of memory, this machine has 3 MiB free; a "
                       "smaller --type takes less, and a file (--cache, or glint convert m.gguf -o "
                       "MODEL.glint) is mapped and takes none",
                       Error);
  CHECK(memory.Memory() == nullptr);
  memory.Resize(uint64_t{3} << 20);
  CHECK(memory.bytes() == uint64_t{3} << 20);
}

TEST_CASE("an outline has sizes, types and graph of the model, and takes little memory") {
  const std::string folder = LlamaFolder({});
  const auto whole = ConvertToMemory(OptionsFor(folder, "", 1));
  const auto outline = OutlineInMemory(OptionsFor(folder, "", 1));
  CHECK(outline->bytes() == whole->bytes());
  const auto open = [&](const std::shared_ptr<const OutputMemory>& memory) {
    return Model::FromMemory(memory->data(), memory->bytes(), folder, memory);
  };
  const std::unique_ptr<Model> a = open(whole), b = open(outline);
  CHECK(EstimateMemory(*a, {}).Total() == EstimateMemory(*b, {}).Total());
  REQUIRE(a->file().tensors().size() == b->file().tensors().size());
  for (size_t i = 0; i < a->file().tensors().size(); ++i) {
    CHECK(a->file().tensors()[i].name == b->file().tensors()[i].name);
    CHECK(a->file().tensors()[i].dtype == b->file().tensors()[i].dtype);
    CHECK(a->file().tensors()[i].bytes == b->file().tensors()[i].bytes);
  }
#if !defined(_WIN32)  // which promises no more than RAM and page file hold
  // Larger than any machine: nothing of it is touched.
  OutputMemory vast("m.gguf", OutputMemory::Use::kOutline, 0);
  vast.Resize(uint64_t{1} << 40);
  CHECK(vast.Memory()[uint64_t{1} << 39] == 0);
#endif
}

TEST_CASE("progress in memory rises to 1, and an error leaves no model") {
  const std::string folder = LlamaFolder({});
  ConvertOptions options = OptionsFor(folder, "", 2);
  std::mutex mutex;
  double last = 0;
  bool rises = true;
  options.write.progress = [&](double share) {
    const std::lock_guard lock(mutex);
    rises = rises && share >= last && share <= 1;
    last = share;
  };
  ConvertToMemory(options);
  CHECK(rises);
  CHECK(last == 1);
  options.write.progress = [](double) { throw Error("enough"); };
  CHECK(ErrorOf([&] { ConvertToMemory(options); }) == "enough");
  CHECK(ErrorOf([&] {
          ConvertToMemory(OptionsFor(folder + "/none", "", 1));
        }).starts_with(folder + "/none: "));
}

TEST_CASE("the cache's folder") {
#if defined(_WIN32)
  const char* const variable = "LOCALAPPDATA";
  const std::string below = "/glint";
#else
  const char* const variable = "HOME";
  const std::string below = "/.cache/glint";
#endif
  const std::string home = TempDir();
  test::SetVariable(variable, home);
  test::SetVariable("XDG_CACHE_HOME", (home + "/xdg"));
  CHECK(CacheFolder() == home + "/xdg/glint");
  CHECK(std::filesystem::is_directory(home + "/xdg/glint"));
  test::SetVariable("XDG_CACHE_HOME", "relative");
  CHECK(CacheFolder() == home + below);
  WriteFile(home + "/file", "");
  test::SetVariable("XDG_CACHE_HOME", (home + "/file"));
  CHECK(ErrorOf(CacheFolder).starts_with(home + "/file/glint: cannot be made: "));
  test::ClearVariable("XDG_CACHE_HOME");
  test::ClearVariable(variable);
  CHECK(ErrorOf(CacheFolder).ends_with(std::string("neither XDG_CACHE_HOME nor ") + variable +
                                       " is set"));
}

TEST_CASE("a cached model's name stands for contents, not for paths and times") {
  const std::string cache = TempDir(), one = TempDir() + "/one", other = TempDir() + "/other";
  const auto key = [&](const std::string& source, const std::string& variant = "int4") {
    const std::string path = CachePath(cache, source, variant, 2);
    CHECK(path.starts_with(cache + "/"));
    CHECK(path.ends_with(".glint"));
    return path;
  };
  for (const std::string& folder : {one, other}) {
    std::filesystem::create_directory(folder);
    WriteFile(folder + "/config.json", "{}");
    WriteFile(folder + "/model.safetensors", std::string(3 << 20, 'x'));
  }
  const std::string first = key(one);
  CHECK(key(other) == first);
  CHECK(key(one + "/") == first);
  CHECK(key(one, "int8") != first);
  CHECK(key(one + "/model.safetensors") != first);
  WriteFile(one + "/README.md", "said elsewhere");
  WriteFile(one + "/out.glint", "made of it");
  CHECK(key(one) == first);
  std::string changed(3 << 20, 'x');
  changed[2 << 20] = 'y';
  WriteFile(one + "/model.safetensors", changed);
  CHECK(key(one) != first);
  std::filesystem::rename(other + "/config.json", other + "/tokenizer.json");
  CHECK(key(other) != first);
  // GGUF: the file alone, whatever it is called and lies beside.
  WriteFile(one + "/a.gguf", GgufBytes({.pairs = {GgufU32("a.b", 1)}}));
  WriteFile(other + "/b", GgufBytes({.pairs = {GgufU32("a.b", 1)}}));
  const std::string gguf = key(one + "/a.gguf");
  CHECK(key(other + "/b") == gguf);
  WriteFile(other + "/b", GgufBytes({.pairs = {GgufU32("a.b", 2)}}));
  CHECK(key(other + "/b") != gguf);
  // Files that have changed just now may change again without looking so: they are read each time.
  CHECK(std::filesystem::is_empty(cache));
}

}  // namespace
}  // namespace glint
