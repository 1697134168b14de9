// GGUF containers (RELIABILITY.md 2.1). The rows are named as its table is; what tests/gguf_test.cc
// judges word by word is here again for the limits of the runner.
#include <functional>

#include "tests/gguf_files.h"
#include "tests/hostile/runner.h"

namespace glint::hostile {
namespace {

using namespace test;

constexpr uint64_t kBit = 1;
constexpr uint64_t kMax = ~uint64_t{0};

// Two tensors in f32, w (2, 3) and v (8), with some keys.
GgufParts Good() {
  GgufParts parts;
  parts.pairs = {GgufText("general.architecture", "llama"), GgufU32("llama.block_count", 2)};
  parts.tensors = {GgufEntry("w", {3, 2}, 0, 0), GgufEntry("v", {8}, 0, 32)};
  parts.data = std::string(64, '\1');
  return parts;
}

class Adder {
 public:
  explicit Adder(Cases* cases) : cases_(cases) {}
  void Refuse(const std::string& name, const std::string& bytes, const std::string& words = "") {
    Add("gguf/" + name, bytes, false, words);
  }
  void Accept(const std::string& name, const std::string& bytes) {
    Add("gguf/ok_" + name, bytes, true, "");
  }
  // Good() after a change.
  void Refuse(const std::string& name, const std::function<void(GgufParts*)>& change,
              const std::string& words = "") {
    Refuse(name, Changed(change), words);
  }
  void Accept(const std::string& name, const std::function<void(GgufParts*)>& change) {
    Accept(name, Changed(change));
  }
  void RefusePair(const std::string& name, const std::string& pair, const std::string& words = "") {
    Refuse(
        name, [&](GgufParts* p) { p->pairs.push_back(pair); }, words);
  }
  void RefuseTensor(const std::string& name, const std::string& entry,
                    const std::string& words = "") {
    Refuse(
        name, [&](GgufParts* p) { p->tensors = {entry}; }, words);
  }

 private:
  static std::string Changed(const std::function<void(GgufParts*)>& change) {
    GgufParts parts = Good();
    change(&parts);
    return GgufBytes(parts);
  }
  void Add(const std::string& name, const std::string& bytes, bool accept,
           const std::string& words) {
    cases_->push_back({name, Stage::kGguf, "x.gguf", {{"x.gguf", bytes}}, accept, words});
  }
  Cases* cases_;
};

std::string BigEndian() {
  return "GGUF"s + "\0\0\0\3"s + std::string(7, '\0') + "\1" + std::string(7, '\0') + "\1" +
         std::string(100, '\0');
}

void AddHeaders(Adder* add) {
  const std::string good = GgufBytes(Good());
  for (const char* magic : {"FUGG", "gguf", "tjgg", "lmgg"}) {
    add->Refuse("magic_" + std::string(magic), magic + good.substr(4), "GGUF");
  }
  for (const uint32_t version : {0u, 1u, 4u, ~0u}) {
    add->Refuse(
        "version_" + std::to_string(version), [&](GgufParts* p) { p->version = version; },
        "version");
  }
  add->Refuse("big_endian_v3", BigEndian(), "big-endian");
  const std::pair<const char*, uint64_t> kCounts[] = {
      {"max", kMax}, {"2e60", kBit << 60}, {"2e58", kBit << 58}, {"million", 1000000}};
  for (const auto& [name, count] : kCounts) {
    add->Refuse(std::string("ntensors_") + name,
                [&](GgufParts* p) { p->tensors_change = count - p->tensors.size(); });
    add->Refuse(std::string("nkv_") + name,
                [&](GgufParts* p) { p->pairs_change = count - p->pairs.size(); });
  }
  add->Refuse("ntensors_one_more", [](GgufParts* p) { p->tensors_change = 1; });
  add->Refuse("nkv_one_more", [](GgufParts* p) { p->pairs_change = 1; });
  for (size_t n = 0; n <= 65; n += n < 32 ? 2 : 8) {
    add->Refuse("trunc_" + std::to_string(n), good.substr(0, n));
  }
  const size_t data = good.size() - 64;
  for (size_t i = 1; i <= 6; ++i) {
    add->Refuse("trunc_header_" + std::to_string(i), good.substr(0, data * i / 7));
  }
  add->Refuse("trunc_before_data", good.substr(0, data), "cut off");
  add->Refuse("trunc_mid_tensor", good.substr(0, data + 10), "cut off");
  add->Refuse("trunc_last_byte", good.substr(0, good.size() - 1), "cut off");
}

void AddKeys(Adder* add) {
  const std::pair<const char*, uint64_t> kLengths[] = {
      {"max", kMax}, {"max_7", kMax - 7}, {"2e63", kBit << 63}, {"1gib", kBit << 30}, {"eof", 500}};
  for (const auto& [name, length] : kLengths) {
    add->RefusePair(std::string("key_len_") + name, U64(length) + "a");
    add->RefusePair(std::string("str_len_") + name, GgufPairOf("a", 8, U64(length) + "x"), "'a'");
    add->RefuseTensor(std::string("tname_len_") + name, U64(length) + "w");
  }
  add->RefusePair("key_70000", GgufU32(std::string(70000, 'k'), 1));
  add->RefusePair("key_empty", GgufU32("", 1), "empty");
  add->RefusePair("key_nul", GgufU32("a\0b"s, 1), "NUL");
  add->RefusePair("key_utf8", GgufU32("\xC3(", 1), "UTF-8");
  add->RefusePair("key_dup", GgufU32("llama.block_count", 2), "twice");
  add->RefusePair("key_dup_type", GgufText("llama.block_count", "2"), "twice");
  const auto name_v = [&](const std::string& name, const std::string& tensor, const char* words) {
    add->Refuse(
        name, [&](GgufParts* p) { p->tensors[1] = GgufEntry(tensor, {8}, 0, 32); }, words);
  };
  name_v("tname_dup", "w", "'w'");
  name_v("tname_nul", "w\0x"s, "NUL");
  name_v("tname_empty", "", "empty");
  name_v("tname_utf8", "\xFF", "UTF-8");
  for (const uint32_t type : {13u, 255u, 0x7FFFFFFFu, ~0u}) {
    const std::string n = std::to_string(type);
    add->RefusePair("vtype_" + n, GgufPairOf("a", type, U64(0)), "'a'");
    add->RefusePair("arr_type_" + n, GgufPairOf("a", 9, GgufArray(type, 1, U64(0))), "'a'");
  }
  add->RefusePair("bool_2", GgufPairOf("a", 7, "\2"), "'a'");
  const struct {
    const char* name;
    uint32_t type;
    uint64_t count;
  } kArrays[] = {{"u8_max", 0, kMax},          {"f64_max", 12, kMax},
                 {"str_max", 8, kMax},         {"bool_max", 7, kMax},
                 {"f64_2e61", 12, kBit << 61}, {"str_2e29", 8, kBit << 29},
                 {"u8_2e28", 0, kBit << 28},   {"u16_2e63", 2, kBit << 63}};
  for (const auto& array : kArrays) {
    add->RefusePair(std::string("arr_") + array.name,
                    GgufPairOf("a", 9, GgufArray(array.type, array.count, "xx")), "'a'");
  }
  add->RefusePair("arr_of_arr", GgufPairOf("a", 9, GgufArray(9, 1, GgufArray(0, 1, "x"))), "array");
  add->RefusePair("arr_deep", GgufPairOf("a", 9, Repeat(GgufArray(9, 1, ""), 5000)), "array");
  add->RefusePair("arr_inner_str", GgufPairOf("a", 9, GgufArray(8, 2, GgufString("x") + U64(kMax))),
                  "'a'");
  const auto alignment = [](const std::string& pair) {
    return [pair](GgufParts* p) { p->pairs.push_back(pair); };
  };
  for (const uint32_t n : {0u, 3u, 13u, 24u, 48u, 0x7FFFFFFFu, ~0u, 1u << 30, 1u << 31}) {
    add->Refuse("align_" + std::to_string(n), alignment(GgufU32("general.alignment", n)),
                "alignment");
  }
  add->Refuse("align_u64", alignment(GgufPairOf("general.alignment", 10, U64(32))), "alignment");
  add->Refuse("align_i32", alignment(GgufPairOf("general.alignment", 5, U32(32))), "alignment");
  add->Refuse("align_str", alignment(GgufText("general.alignment", "32")), "alignment");
  add->Refuse(
      "align_64_laid_out_8",
      [](GgufParts* p) {
        p->pairs.push_back(GgufU32("general.alignment", 64));
        p->tensors[1] = GgufEntry("v", {8}, 0, 24);
      },
      "64");
}

void AddShapes(Adder* add) {
  for (const uint32_t n : {0u, 5u, 8u, 9u, 255u, 0x7FFFFFFFu, ~0u}) {
    add->RefuseTensor("ndims_" + std::to_string(n),
                      GgufString("w") + U32(n) + Repeat(U64(1), std::min(n, 9u)) + U32(0) + U64(0),
                      "'w'");
  }
  const uint64_t b32 = kBit << 32;
  const struct {
    const char* name;
    std::vector<uint64_t> dims;
    uint32_t type;
  } kShapes[] = {{"zero", {0}, 0},
                 {"zero_second", {4, 0}, 0},
                 {"minus_1", {kMax}, 0},
                 {"minus_2_x_minus_2", {kMax - 1, kMax - 1}, 0},
                 {"product_2e64", {b32, b32}, 0},
                 {"product_wraps_to_4", {b32, b32 + 4}, 0},
                 {"bytes_wrap_to_16", {(kBit << 62) + 4}, 0},
                 {"pad_wraps_to_0", {kMax - 15}, 24},
                 {"q8_0_bytes_wrap", {kBit << 63}, 8},
                 {"one_tib", {kBit << 38}, 0},
                 {"i8_max", {kMax}, 24}};
  for (const auto& shape : kShapes) {
    add->RefuseTensor(std::string("dim_") + shape.name, GgufEntry("w", shape.dims, shape.type, 0),
                      "'w'");
  }
  add->Refuse("sum_wrap", [](GgufParts* p) {
    p->tensors.clear();
    for (uint64_t i = 0; i < 4; ++i) {
      p->tensors.push_back(GgufEntry("t" + std::to_string(i), {kBit << 60}, 0, i << 62));
    }
  });
  for (const uint32_t type : {4u, 5u, 31u, 36u, 43u, 999u, 0x7FFFFFFFu, ~0u}) {
    add->RefuseTensor("ttype_" + std::to_string(type), GgufEntry("w", {32}, type, 0), "'w'");
  }
  add->RefuseTensor("row_not_32", GgufEntry("w", {33}, 2, 0), "32");
  add->RefuseTensor("row_not_256", GgufEntry("w", {32, 8}, 12, 0), "256");
  const std::pair<const char*, uint64_t> kOffsets[] = {
      {"33", 33},    {"equal", 0},         {"inside", 16}, {"1mib", kBit << 20},
      {"max", kMax}, {"wraps", kMax - 31}, {"hole", 64}};
  for (const auto& [name, offset] : kOffsets) {
    add->Refuse(
        std::string("off_") + name,
        [&, o = offset](GgufParts* p) { p->tensors[1] = GgufEntry("v", {8}, 0, o); }, "'v'");
  }
  add->Refuse(
      "off_32_first", [](GgufParts* p) { p->tensors = {GgufEntry("w", {8}, 0, 32)}; }, "'w'");
  add->Refuse("off_reversed", [](GgufParts* p) { std::swap(p->tensors[0], p->tensors[1]); });
}

void AddAccepted(Adder* add) {
  add->Accept("v2", [](GgufParts* p) { p->version = 2; });
  add->Accept("good", [](GgufParts*) {});
  add->Accept("header_only", "GGUF" + U32(3) + U64(0) + U64(0));
  add->Accept("no_tensors", [](GgufParts* p) { p->tensors.clear(), p->data.clear(); });
  for (const uint32_t n : {1u, 8u, 64u, 4096u}) {
    add->Accept("align_" + std::to_string(n), [n](GgufParts* p) {
      p->pairs.push_back(GgufU32("general.alignment", n));
      p->alignment = n;
      const uint64_t next = (24 + n - 1) / n * n;
      p->tensors[1] = GgufEntry("v", {8}, 0, next);
      p->data.resize(next + 32);
    });
  }
  const auto pair = [&](const char* name, const std::string& bytes) {
    add->Accept(name, [&](GgufParts* p) { p->pairs.push_back(bytes); });
  };
  pair("empty_string", GgufText("a", ""));
  pair("unicode_key", GgufU32("\u952e", 1));
  pair("empty_array", GgufPairOf("a", 9, GgufArray(6, 0, "")));
  pair("empty_strings", GgufPairOf("a", 9, GgufArray(8, 0, "")));
  pair("value_not_utf8", GgufText("a", "\xFF\xC0"));
  const auto one = [&](const char* name, const std::string& entry, size_t bytes) {
    add->Accept(name,
                [&](GgufParts* p) { p->tensors = {entry}, p->data = std::string(bytes, '\1'); });
  };
  one("one_element", GgufEntry("w", {1}, 0, 0), 4);
  one("ones_4d", GgufEntry("w", {1, 1, 1, 1}, 0, 0), 32);
  one("name_63", GgufEntry(std::string(63, 'n'), {1}, 0, 0), 32);
  one("no_final_padding", GgufEntry("w", {3}, 0, 0), 12);
  add->Accept("nan_weights", [](GgufParts* p) { p->data = std::string(64, '\xFF'); });
  add->Accept("trailing_zeros", [](GgufParts* p) { p->data += std::string(1000, '\0'); });
}

}  // namespace

void AddGgufCases(Cases* cases) {
  Adder add(cases);
  AddHeaders(&add);
  AddKeys(&add);
  AddShapes(&add);
  AddAccepted(&add);
}

}  // namespace glint::hostile
