#define NOGDI  // doctest includes windows.h, which has a GetObject
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <thread>

#include "formats/reader.h"
#include "formats/import/checkpoint.h"
#include "formats/import/input_file.h"
#include "formats/json.h"
#include "quant/f16.h"
#include "tests/import_files.h"
#include "tests/test_util.h"

// Opening and reading honest checkpoints. Lying ones are in import_hostile_test.cc.
namespace glint {
namespace {

namespace fs = std::filesystem;
using namespace test;

constexpr const char* kForms[] = {"model.safetensors", "model-f16.safetensors",
                                  "model-bf16.safetensors", "pytorch_model.bin",
                                  "pytorch_model-f16.bin"};

std::vector<uint8_t> RawOf(const Checkpoint& checkpoint, const SourceTensor& tensor) {
  std::vector<uint8_t> bytes(tensor.elements * ElementBytes(tensor.type));
  checkpoint.ReadRaw(tensor, 0, tensor.elements, bytes.data());
  return bytes;
}

std::vector<float> FloatsOf(const Checkpoint& checkpoint, const SourceTensor& tensor) {
  std::vector<float> values(tensor.elements);
  checkpoint.ReadF32(tensor, 0, tensor.elements, values.data());
  return values;
}

std::vector<float> FloatsOf(const Checkpoint& checkpoint, const std::string& name) {
  const SourceTensor* tensor = checkpoint.Find(name);
  REQUIRE(tensor != nullptr);
  return FloatsOf(checkpoint, *tensor);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool IsFloat(const SourceTensor& tensor) {
  return tensor.type <= SourceType::kBF16;
}

// Buffers that a loader ignores and that are not exact in every form.
bool IsBuffer(const std::string& name) {
  return name.ends_with("inv_freq") || name.ends_with("attn.masked_bias");
}

// Every tensor of `base` is in `other` with the same shape and numbers.
void CheckSame(const Checkpoint& base, const Checkpoint& other) {
  for (const SourceTensor& tensor : base.tensors()) {
    CAPTURE(tensor.name);
    if (IsBuffer(tensor.name)) continue;
    const SourceTensor* twin = other.Find(tensor.name);
    REQUIRE(twin != nullptr);
    CHECK(twin->shape == tensor.shape);
    if (IsFloat(tensor)) {
      CHECK(SameBits(FloatsOf(base, tensor), FloatsOf(other, *twin)));
    } else {
      CHECK(twin->type == tensor.type);
      CHECK(RawOf(base, tensor) == RawOf(other, *twin));
    }
  }
}

// Names that only a .bin has are second names of tensors that it has under another one as well.
void CheckExtrasTied(const Checkpoint& base, const Checkpoint& bin) {
  for (const SourceTensor& tensor : bin.tensors()) {
    if (base.Find(tensor.name) != nullptr) continue;
    CAPTURE(tensor.name);
    bool is_tied = false;
    for (const SourceTensor& twin : bin.tensors()) {
      is_tied |= base.Find(twin.name) != nullptr && twin.offset == tensor.offset &&
                 twin.file == tensor.file && twin.shape == tensor.shape;
    }
    CHECK(is_tied);
  }
}

TEST_CASE("the five forms of every golden model hold the same tensors") {
  if (SkipWithoutReference("golden checkpoints")) return;
  size_t folders = 0, files = 0;
  for (const auto& entry : fs::directory_iterator(ReferenceDir() + "/goldens")) {
    const std::string folder = entry.path().string();
    CAPTURE(folder);
    ++folders;
    const auto base = Checkpoint::Open(folder + "/" + kForms[0]);
    CHECK(base->tensors().size() > 10);
    CHECK(base->config().contains("model_type"));
    for (const std::string form : kForms) {
      CAPTURE(form);
      const auto checkpoint = Checkpoint::Open(folder + "/" + form);
      REQUIRE(!checkpoint->tensors().empty());
      CHECK(checkpoint->FileName(checkpoint->tensors()[0]) == folder + "/" + form);
      CHECK(checkpoint->config() == base->config());
      CheckSame(*base, *checkpoint);
      if (form.ends_with(".bin")) CheckExtrasTied(*base, *checkpoint);
      ++files;
    }
    const auto whole = Checkpoint::Open(folder);  // prefers safetensors
    CHECK(whole->FileName(whole->tensors()[0]) == folder + "/model.safetensors");
  }
  CHECK(folders == 17);
  CHECK(files == 85);
}

TEST_CASE("chatglm1-tiny has the names and shapes of ChatGLM-6B") {
  if (SkipWithoutReference("chatglm1-tiny")) return;
  const auto model = Checkpoint::Open(ReferenceDir() + "/goldens/chatglm1-tiny/pytorch_model.bin");
  const SourceTensor* words = model->Find("transformer.word_embeddings.weight");
  REQUIRE(words != nullptr);
  CHECK(words->shape == std::vector<uint64_t>{512, 64});
  CHECK(words->type == SourceType::kF32);
  const SourceTensor* qkv = model->Find("transformer.layers.2.attention.query_key_value.weight");
  REQUIRE(qkv != nullptr);
  CHECK(qkv->shape == std::vector<uint64_t>{192, 64});
  CHECK(model->Find("transformer.layers.3.attention.query_key_value.weight") == nullptr);
  CHECK(model->Find("lm_head.weight") != nullptr);
  CHECK(GetUint(model->config(), "hidden_size", 1, 1000, "config") == 64);
}

TEST_CASE("stories260K: safetensors, f16 and PyTorch agree") {
  if (SkipWithoutReference("stories260K")) return;
  const std::string folder = ReferenceDir() + "/trained/stories260K";
  const auto base = Checkpoint::Open(folder + "/model.safetensors");
  const auto bin = Checkpoint::Open(folder + "/pytorch_model.bin");
  CheckSame(*base, *bin);
  // These weights are trained, so their halves are rounded: f16 of the f32 weight, to nearest.
  const auto half = Checkpoint::Open(folder + "/model-f16.safetensors");
  for (const SourceTensor& tensor : base->tensors()) {
    CAPTURE(tensor.name);
    std::vector<float> rounded = FloatsOf(*base, tensor);
    for (float& value : rounded) value = F16ToF32(F32ToF16(value));
    CHECK(SameBits(rounded, FloatsOf(*half, tensor.name)));
  }
  CHECK(base->FindFile("config.json") == folder + "/config.json");
  CHECK(base->FindFile("tokenizer.model").empty());
  CHECK(base->FindFile("../stories260K/config.json").empty());
}

// Reads pieces across the converter's chunks and compares with the numbers that were written.
TEST_CASE("pieces of tensors of every type read exactly") {
  constexpr size_t kCount = 40000;  // more than one chunk
  std::string f32, f16, bf16, i16, i8;
  std::vector<float> values;
  for (size_t i = 0; i < kCount; ++i) {
    const float value = static_cast<float>(static_cast<int>(i % 255) - 127);
    values.push_back(value);
    f32 += Bytes(value);
    f16 += Bytes(F32ToF16(value));
    bf16 += Bytes(F32ToBF16(value));
    i16 += Bytes(static_cast<int16_t>(value));
    i8 += Bytes(static_cast<int8_t>(value));
  }
  const std::string shape = "[" + std::to_string(kCount) + "]";
  const std::string data = f32 + f16 + bf16 + i16 + i8;
  const std::string header = "{" + Entry("a", "F32", shape, 0, 4 * kCount) + "," +
                             Entry("b", "F16", shape, 4 * kCount, 6 * kCount) + "," +
                             Entry("c", "BF16", shape, 6 * kCount, 8 * kCount) + "," +
                             Entry("d", "I16", shape, 8 * kCount, 10 * kCount) + "," +
                             Entry("e", "I8", shape, 10 * kCount, 11 * kCount) + "}";
  const std::string path = TempDir() + "/types.safetensors";
  WriteFile(path, Safetensors(header, data));
  const auto checkpoint = Checkpoint::Open(path);
  CHECK(checkpoint->config().is_null());
  CHECK(checkpoint->tensors().size() == 5);
  for (const SourceTensor& tensor : checkpoint->tensors()) {
    CAPTURE(tensor.name);
    CHECK(FloatsOf(*checkpoint, tensor) == values);
    std::vector<float> piece(30001);
    checkpoint->ReadF32(tensor, 777, piece.size(), piece.data());
    CHECK(std::memcmp(piece.data(), values.data() + 777, piece.size() * sizeof(float)) == 0);
    CHECK_THROWS_AS(checkpoint->ReadF32(tensor, kCount - 1, 2, piece.data()), Error);
    CHECK_THROWS_AS(checkpoint->ReadF32(tensor, ~uint64_t{0}, 2, piece.data()), Error);
    checkpoint->ReadF32(tensor, kCount, 0, piece.data());
  }
}

TEST_CASE("halves are exact to the last bit: denormals, infinities, signed zero") {
  std::string data;
  for (const uint16_t bits : {0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x8000, 0x3C01}) {
    data += U16(bits);
  }
  const std::string path = TempDir() + "/halves.safetensors";
  WriteFile(path, Safetensors("{" + Entry("x", "F16", "[8]", 0, 16) + "}", data));
  const std::vector<float> expected = {0x1p-24f, -0x3FFp-24f, 0x1p-14f, 65504.0f,
                                       INFINITY, -INFINITY,   -0.0f,    1.0f + 0x1p-10f};
  CHECK(SameBits(FloatsOf(*Checkpoint::Open(path), "x"), expected));
}

TEST_CASE("types that f32 cannot hold are delivered raw and refused as weights") {
  const std::string path = TempDir() + "/wide.safetensors";
  const std::string data = Bytes(int64_t{-5}) + Bytes(0.1) + Bytes(int32_t{7});
  WriteFile(path, Safetensors("{" + Entry("i", "I64", "[1]", 0, 8) + "," +
                                  Entry("d", "F64", "[]", 8, 16) + "," +
                                  Entry("j", "I32", "[1]", 16, 20) + "}",
                              data));
  const auto checkpoint = Checkpoint::Open(path);
  for (const std::string name : {"i", "d", "j"}) {
    CAPTURE(name);
    float value = 0;
    CHECK_THROWS_AS(checkpoint->ReadF32(*checkpoint->Find(name), 0, 1, &value), Error);
  }
  int64_t number = 0;
  checkpoint->ReadRaw(*checkpoint->Find("i"), 0, 1, &number);
  CHECK(number == -5);
  CHECK(checkpoint->Find("d")->shape.empty());
}

// Two numbers of 4 bits in a byte, the even column in the high half, and a scale for each row.
TEST_CASE("THUDM's int8 and int4 checkpoints arrive as they are") {
  const std::string codes8 = "\x81\x7f\x00\x05\xff\x02"s;  // (2, 3)
  const std::string codes4 = "\x7f\x19\x80\x01"s;          // (2, 4) packed
  const std::string scales = U16(F32ToF16(0.5f)) + U16(F32ToF16(0.25f));
  const std::string folder = TempDir();
  WriteFile(folder + "/q.safetensors",
            Safetensors("{" + Entry("a.weight", "I8", "[2,3]", 0, 6) + "," +
                            Entry("a.weight_scale", "F16", "[2]", 6, 10) + "," +
                            Entry("b.weight", "I8", "[2,2]", 10, 14) + "," +
                            Entry("b.weight_scale", "F16", "[2]", 14, 18) + "}",
                        codes8 + scales + codes4 + scales));
  const auto weight = [](const char* name, const char* key, int64_t rows, int64_t columns) {
    return Str(name) + Rebuild(Storage("CharStorage", key, rows * columns), 0,
                               Longs({rows, columns}), Longs({columns, 1}));
  };
  const auto scale = [](const char* name, const char* key) {
    return Str(name) + Rebuild(Storage("HalfStorage", key, 2), 0, Longs({2}), Longs({1}));
  };
  WriteFile(folder + "/q.bin",
            Torch(DictPickle(weight("a.weight", "0", 2, 3) + scale("a.weight_scale", "1") +
                             weight("b.weight", "2", 2, 2) + scale("b.weight_scale", "3")),
                  {codes8, scales, codes4, scales}));
  for (const std::string file : {"/q.safetensors", "/q.bin"}) {
    CAPTURE(file);
    const auto checkpoint = Checkpoint::Open(folder + file);
    REQUIRE(checkpoint->tensors().size() == 4);
    CHECK(checkpoint->Find("a.weight")->type == SourceType::kI8);
    CHECK(checkpoint->Find("b.weight")->shape == std::vector<uint64_t>{2, 2});
    CHECK(FloatsOf(*checkpoint, "a.weight") == std::vector<float>{-127, 127, 0, 5, -1, 2});
    CHECK(FloatsOf(*checkpoint, "b.weight_scale") == std::vector<float>{0.5f, 0.25f});
    uint8_t packed[4];
    checkpoint->ReadRaw(*checkpoint->Find("b.weight"), 0, 4, packed);
    CHECK(std::memcmp(packed, codes4.data(), 4) == 0);
  }
}

TEST_CASE("several threads read one checkpoint") {
  if (SkipWithoutReference("reading from threads")) return;
  const auto model = Checkpoint::Open(ReferenceDir() + "/goldens/chatglm1-tiny");
  const std::vector<float> expected = FloatsOf(*model, "lm_head.weight");
  bool same[4] = {};
  std::vector<std::thread> threads;
  for (bool& result : same) {
    threads.emplace_back([&] {
      result = true;
      for (int i = 0; i < 50; ++i) {
        std::vector<float> values(expected.size());
        model->ReadF32(*model->Find("lm_head.weight"), 0, values.size(), values.data());
        result = result && SameBits(values, expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const bool result : same) CHECK(result);
}

TEST_CASE("a file that changes after it was opened is noticed") {
  const std::string path = TempDir() + "/m.safetensors";
  const std::string contents =
      Safetensors("{" + Entry("x", "F32", "[2]", 0, 8) + "}", Floats({1, 2}));
  WriteFile(path, contents);
  const auto checkpoint = Checkpoint::Open(path);
  CHECK(FloatsOf(*checkpoint, "x") == std::vector<float>{1, 2});
  fs::resize_file(path, contents.size() - 1);
  CHECK_THROWS_AS(FloatsOf(*checkpoint, "x"), Error);
}

TEST_CASE("a tensor beyond 4 GiB is found and read: offsets have 64 bits") {
  const std::string path = TempDir() + "/big.safetensors";
  const uint64_t beyond = uint64_t{5} << 30;
  const std::string header = "{" + Entry("hole", "U8", "[" + std::to_string(beyond) + "]", 0, beyond) +
                             "," + Entry("x", "F32", "[2]", beyond, beyond + 8) + "}";
  WriteFile(path, Safetensors(header, ""));
  fs::resize_file(path, fs::file_size(path) + beyond + 8);  // sparse
  const auto checkpoint = Checkpoint::Open(path);
  CHECK(FloatsOf(*checkpoint, "x") == std::vector<float>{0, 0});
  CHECK(checkpoint->Find("x")->offset == 8 + header.size() + beyond);
  uint8_t last = 1;
  checkpoint->ReadRaw(*checkpoint->Find("hole"), beyond - 1, 1, &last);
  CHECK(last == 0);
}

TEST_CASE("a sharded folder is one checkpoint") {
  const std::string folder = TempDir();
  const auto shard = [&](const std::string& name, const std::string& tensor, float value) {
    WriteFile(folder + "/" + name,
              Safetensors("{" + Entry(tensor, "F32", "[1]", 0, 4) + "}", Floats({value})));
  };
  shard("model-1.safetensors", "b", 1);
  shard("model-2.safetensors", "a", 2);
  WriteFile(folder + "/model.safetensors.index.json",
            "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"b\":\"model-1.safetensors\","
            "\"a\":\"model-2.safetensors\"}}");
  WriteFile(folder + "/config.json", "{\"model_type\":\"x\"}");
  WriteFile(folder + "/pytorch_model.bin", "not looked at");
  for (const std::string& path : {folder, folder + "/"}) {
    const auto checkpoint = Checkpoint::Open(path);
    REQUIRE(checkpoint->tensors().size() == 2);
    CHECK(checkpoint->tensors()[0].name == "a");
    CHECK(FloatsOf(*checkpoint, "a") == std::vector<float>{2});
    CHECK(FloatsOf(*checkpoint, "b") == std::vector<float>{1});
    CHECK(checkpoint->FileName(*checkpoint->Find("b")).ends_with("/model-1.safetensors"));
    CHECK(GetString(checkpoint->config(), "model_type", "config") == "x");
  }
}

TEST_CASE("sharded PyTorch files") {
  const std::string folder = TempDir();
  const auto shard = [&](const std::string& name, const std::string& tensor, float value) {
    WriteFile(folder + "/" + name,
              Torch(DictPickle(Str(tensor) +
                               Rebuild(Storage("FloatStorage", "0", 1), 0, Longs({1}), Longs({1}))),
                    {Floats({value})}));
  };
  shard("pytorch_model-00001-of-00002.bin", "a", 3);
  shard("pytorch_model-00002-of-00002.bin", "b", 4);
  WriteFile(folder + "/pytorch_model.bin.index.json",
            "{\"weight_map\":{\"a\":\"pytorch_model-00001-of-00002.bin\","
            "\"b\":\"pytorch_model-00002-of-00002.bin\"}}");
  const auto checkpoint = Checkpoint::Open(folder);
  CHECK(FloatsOf(*checkpoint, "a") == std::vector<float>{3});
  CHECK(FloatsOf(*checkpoint, "b") == std::vector<float>{4});
}

TEST_CASE("Reader compares before it reads") {
  const std::vector<uint8_t> bytes = {1, 2, 3, 4, 5};
  Reader reader(bytes, "f: part", 100);
  CHECK(reader.Read<uint32_t>("number") == 0x04030201);
  CHECK_THROWS_WITH(reader.Read<uint32_t>("number"),
                    "f: part: at byte 104: expected 4 bytes (number), only 1 bytes are left");
  CHECK_THROWS_AS(reader.Take(~uint64_t{0}, "much"), Error);
  CHECK(*reader.Take(1, "last") == 5);
  CHECK(reader.AtEnd());
  uint64_t result = 0;
  CHECK(!CheckedMul(uint64_t{1} << 32, uint64_t{1} << 32, &result));
  CHECK(!CheckedAdd(~uint64_t{0}, 1, &result));
}

TEST_CASE("JSON: what strangers write") {
  const auto json = ParseJson("{\"a\":{\"b\":[1,-2,2.5,\"x\"]},\"u\":18446744073709551615}", "f");
  CHECK(GetArray(GetObject(json, "a", "f"), "b", "f").size() == 4);
  CHECK(GetUint(json, "u", 0, ~uint64_t{0}, "f") == ~uint64_t{0});
  CHECK_THROWS_WITH(GetUint(json, "u", 1, 10, "f"),
                    "f: 'u': expected an integer from 1 to 10, got number 18446744073709551615");
  CHECK_THROWS_WITH(GetUint(json, "v", 1, 10, "f"), "f: the key 'v' is missing");
  CHECK_THROWS_WITH(GetString(json, "a", "f"), "f: 'a': expected a string, got object");
  CHECK(ParseJson(Repeat("[", 64) + Repeat("]", 64), "f").is_array());
  const std::string bad[] = {"",
                             "{",
                             "{}x",
                             "{}\0"s,
                             "\xEF\xBB\xBF{}",
                             "{\"a\":1,\"\\u0061\":2}",
                             "[\"\xC0\x80\"]",
                             "[\"\xED\xA0\x80\"]",
                             "[\"\\ud800\"]",
                             "[NaN]",
                             "[02]",
                             "[1,]",
                             "[1e400]",
                             "['a']",
                             "[1] // c",
                             Repeat("[", 65) + Repeat("]", 65),
                             Repeat("[", 1000000),
                             "[0" + Repeat(",0", 1 << 22) + "]",
                             Repeat("{\"a\":", 1000000)};
  for (const std::string& text : bad) {
    CAPTURE(text.substr(0, 40));
    try {
      ParseJson(text, "f");
      FAIL_CHECK("it was accepted");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).starts_with("f: "));
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
      CHECK(std::string(error.what()).size() < 400);
    }
  }
}

}  // namespace
}  // namespace glint
