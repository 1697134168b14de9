// safetensors and PyTorch files (RELIABILITY.md 2.2, 2.3). tests/import_hostile_test.cc and
// tests/import_torch_test.cc judge most rows word by word; here are those with size or depth, for
// the limits of the runner, and what is not there.
#include <functional>

#include "tests/hostile/runner.h"
#include "tests/import_files.h"

namespace glint::hostile {
namespace {

using namespace test;

const std::string kFloats16 = Floats({1, 2, 3, 4});
const std::string kEntry = Entry("w", "F32", "[2,2]", 0, 16);
constexpr uint64_t kMax = ~uint64_t{0};

struct Adder {
  Cases* cases;
  const char* file;
  void operator()(const std::string& name, const std::string& bytes, bool accept = false,
                  const std::string& words = "") const {
    const std::string kind = file[2] == 's' ? "safetensors/" : "torch/";
    cases->push_back({kind + name, Stage::kCheckpoint, file, {{file, bytes}}, accept, words});
  }
};

std::string WithLength(uint64_t length) {
  const std::string header = "{" + kEntry + "}";
  return U64(length) + header + kFloats16;
}

void AddLengths(const Adder& add) {
  const uint64_t good = kEntry.size() + 2;
  const std::pair<const char*, uint64_t> kLengths[] = {{"0", 0},
                                                       {"1", 1},
                                                       {"less_1", good - 1},
                                                       {"plus_1", good + 1},
                                                       {"1000", 1000},
                                                       {"100000001", 100000001},
                                                       {"2e32", uint64_t{1} << 32},
                                                       {"2e63", uint64_t{1} << 63},
                                                       {"max_7", kMax - 7},
                                                       {"max", kMax}};
  for (const auto& [name, length] : kLengths)
    add(std::string("length_") + name, WithLength(length));
  const std::string file = WithLength(good);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{9}, size_t{20},
                         file.size() - 17, file.size() - 16, file.size() - 1}) {
    add("trunc_" + std::to_string(n), file.substr(0, n));
  }
  add("trailing", file + "x");
}

}  // namespace

void AddSafetensorsCases(Cases* cases) {
  const Adder add{cases, "x.safetensors"};
  AddLengths(add);
  const auto header = [&](const std::string& text) { return Safetensors(text, kFloats16); };
  add("deep_array", header(Repeat("[", 100000)));
  add("deep_object", header(Repeat("{\"a\":", 50000)));
  add("deep_metadata", header("{\"__metadata__\":" + Repeat("[", 20000)));
  std::string many = "{";
  for (int i = 0; i < 20000; ++i) {
    many += (i ? "," : "") + Entry("t" + std::to_string(i), "F32", "[4]", 0, 16);
  }
  add("20000_overlapping", header(many + "}"));
  add("many_zero_elements",
      header("{" + Entry("w", "F32", "[0,9223372036854775807,4]", 0, 0) + "}"));
  for (const char* size : {"2.0", "4e0", "true", "02", "NaN", "18446744073709551616", "-1", "[]"}) {
    add(std::string("size_") + size, header("{\"w\":{\"dtype\":\"F32\",\"shape\":[" +
                                            std::string(size) + "],\"data_offsets\":[0,16]}}"));
  }
  add("not_utf8", header("{\"\xED\xA0\x80\":{}}"));
  add("half_byte", header("{" + Entry("w", "F4", "[3]", 0, 16) + "}"));
  add("pickle", "\x80\x02}q\1." + std::string(100, 'x'));
  add("zip", Zip({{.name = "a", .data = "b"}}));
  const auto accept = [&](const std::string& name, const std::string& text,
                          const std::string& data) {
    add("ok_" + name, Safetensors(text, data), true);
  };
  accept("good", "{" + kEntry + "}", kFloats16);
  accept("space_behind", "{" + kEntry + "}    ", kFloats16);
  accept("space_before", "  {" + kEntry + "}", kFloats16);
  accept("scalar", "{" + Entry("w", "F32", "[]", 0, 4) + "}", "abcd");
  accept("empty_tensor", "{" + Entry("w", "F32", "[0,7]", 0, 0) + "}", "");
  accept("nothing", "{}", "");
  accept("unsorted",
         "{" + Entry("b", "F32", "[2]", 8, 16) + "," + Entry("a", "F32", "[2]", 0, 8) + "}",
         kFloats16);
  accept("unicode", "{" + Entry("\u91cd", "F32", "[4]", 0, 16) + "}", kFloats16);
  accept("escaped", "{" + Entry("\\u91cd", "F32", "[4]", 0, 16) + "}", kFloats16);
  accept("unaligned",
         "{" + Entry("a", "U8", "[3]", 0, 3) + "," + Entry("b", "F32", "[1]", 3, 7) + "}",
         "abcdefg");
  accept("unknown_member",
         "{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"more\":1}}", kFloats16);
}

void AddTorchCases(Cases* cases) {
  const Adder add{cases, "x.bin"};
  const std::string pickle = DictPickle(
      Str("w") + Rebuild(Storage("FloatStorage", "0", 4), 0, Longs({2, 2}), Longs({2, 1})));
  const auto of = [&](const std::string& data) { return Torch(data, {kFloats16}); };
  add("ok_good", of(pickle), true);
  const auto body = [&](const std::string& bytes) { return of("\x80\x02" + bytes + "."); };
  // Foreign names are refused before anything is made of them.
  const std::string print = Global("builtins", "print");
  for (const auto& [name, bytes] : std::initializer_list<std::pair<const char*, std::string>>{
           {"reduce", print + Tuple(Str("x")) + "R"},
           {"inst", "(ibuiltins\nprint\n"},
           {"obj", "(" + print + "o"},
           {"newobj", print + ")\x81"},
           {"stack_global", Str("builtins") + Str("print") + "\x93"}}) {
    add(std::string("print_") + name, body(bytes), false, "builtins.print");
  }
  for (const std::string& module : {std::string("os"), std::string("torch._utils "), "torch\0"s}) {
    add("name_" + std::to_string(module.size()), body(Global(module, "_rebuild_tensor_v2")), false,
        "_rebuild_tensor_v2");
  }
  for (size_t i = 1; i < 8; ++i) {
    add("pickle_trunc_" + std::to_string(i), of(pickle.substr(0, pickle.size() * i / 8)));
  }
  const std::pair<const char*, std::string> kBodies[] = {
      {"marks", Repeat("(", 200000)},
      {"deep_tuples", ")" + Repeat("\x85", 100000)},
      {"2e60_references", ")" + Repeat("q\0h\0\x86"s, 60)},
      {"self", "}q\0"s + Str("a") + "h\0s"s},
      {"memo_max", "j\xFF\xFF\xFF\xFF"},
      {"memo_put_max", "}r\xFF\xFF\xFF\xFF"s + Str("a")},
      {"string_max", "X\xFF\xFF\xFF\xFF"},
      {"string8_max", "\x8d" + U64(kMax)},
      {"bytes8_max", "\x8e" + U64(kMax)},
      {"long4_negative", "\x8b\xFF\xFF\xFF\xFF"},
      {"long1_255", "\x8a\xFF"},
      {"frame_max", "\x95" + U64(kMax)},
      {"setitem_tuple", ")NNs"},
      {"setitem_int", "K\1NNs"},
      {"setitems_odd", "}(Nu"},
      {"ext4", "\x84" + U32(1)},
      {"pop_mark", "1"},
      {"dup", "2"},
      {"build_tensor_like", "}K\1b"},
      {"nothing", ""}};
  for (const auto& [name, bytes] : kBodies) add(std::string("pickle_") + name, body(bytes));
  const auto tensor = [&](const std::string& name, int64_t numel, int64_t offset,
                          const std::string& sizes, const std::string& strides) {
    add("geometry_" + name, of(DictPickle(Str("w") + Rebuild(Storage("FloatStorage", "0", numel),
                                                             offset, sizes, strides))));
  };
  const int64_t big = int64_t{1} << 62;
  tensor("numel_million", 1000000, 0, Longs({4}), Longs({1}));
  tensor("numel_negative", -4, 0, Longs({4}), Longs({1}));
  tensor("numel_2e62", big, 0, Longs({4}), Longs({1}));
  tensor("size_2e40", 4, 0, Longs({int64_t{1} << 40}), Longs({1}));
  tensor("size_negative", 4, 0, Longs({-4}), Longs({1}));
  tensor("elements_2e64_stride_0", 4, 0, Longs({big, 4}), Longs({0, 0}));
  tensor("stride_2e40", 4, 0, Longs({2, 2}), Longs({int64_t{1} << 40, 1}));
  tensor("stride_negative", 4, 3, Longs({4}), Longs({-1}));
  tensor("one_past_end", 4, 1, Longs({4}), Longs({1}));
  tensor("stride_count", 4, 0, Longs({2, 2}), Longs({1}));
  tensor("offset_2e62", 4, big, Longs({1}), Longs({1}));
  tensor("offset_negative", 4, -1, Longs({1}), Longs({1}));
  std::vector<ZipMember> members = TorchMembers(pickle, {kFloats16});
  const auto zip = [&](const std::string& name, const std::function<void(ZipMember*)>& change,
                       const ZipOptions& options = {}) {
    std::vector<ZipMember> changed = members;
    change(&changed[1]);  // the storage
    add("zip_" + name, Zip(changed, options));
  };
  zip("name_up", [](ZipMember* m) { m->name = "archive/../data/0"; });
  zip("name_absolute", [](ZipMember* m) { m->name = "/etc/hostname"; });
  zip("name_drive", [](ZipMember* m) { m->name = "C:\\data"; });
  zip("name_nul", [](ZipMember* m) { m->name = "archive/data/0\0"s; });
  zip("name_differs", [](ZipMember* m) { m->local_name = "archive/data/1"; });
  zip("name_70000", [](ZipMember* m) { m->name = "archive/" + std::string(65000, 'n'); });
  zip("deflated", [](ZipMember* m) { m->method = 8; });
  zip("method_99", [](ZipMember* m) { m->method = 99; });
  zip("encrypted", [](ZipMember* m) { m->flags = 1; });
  zip("symlink", [](ZipMember* m) { m->made_by = 3 << 8, m->attributes = 0120777u << 16; });
  zip("size_4gib", [](ZipMember* m) { m->size_change = 0xFFFFFFF0u - 16; });
  zip("offset_past_end", [](ZipMember* m) { m->offset_change = 1 << 20; });
  zip("other_disk", [](ZipMember* m) { m->disk = 1; });
  const auto none = [](ZipMember*) {};
  zip("entries_65535", none, {.entries_change = 65535 - 3});
  zip("entries_0", none, {.entries_change = uint64_t(0) - 3});
  zip("directory_past_end", none, {.directory_change = 1 << 30});
  zip("comment_length", none, {.comment_length_change = 500});
  zip("prefix", none, {.prefix = "junk"});
  zip("zip64_entries", none, {.zip64 = true, .end64_entries_change = uint64_t{1} << 40});
  zip("zip64_offset", none, {.zip64 = true, .end64_offset_change = uint64_t{1} << 63});
  zip("zip64_locator", none, {.zip64 = true, .locator_change = kMax});
  const std::string good = Zip(members);
  for (size_t i = 1; i < 6; ++i) {
    add("zip_trunc_" + std::to_string(i), good.substr(0, good.size() * i / 6));
  }
  ZipMember bad = members[0];
  bad.crc_change = 1;
  add("zip_bad_crc", Zip({bad, members[1], members[2]}));
  add("zip_twice", Zip({members[0], members[1], members[1], members[2]}));
  add("zip_no_version", Zip({members[0], members[1]}), false, "version");
  const auto note = [&](const char* name, const std::string& member, const std::string& text) {
    add(name, Zip({members[0], members[1], {.name = "archive/" + member, .data = text}}));
  };
  note("version_999", "version", "999\n");
  note("version_huge", "version", std::string(60, '9'));
  note("version_long", "version", std::string(100000, '1'));
  std::vector<ZipMember> with = members;
  with.push_back({.name = "archive/byteorder", .data = "big"});
  add("byteorder_big", Zip(with), false, "byteorder");
  with.back().data = "little";
  add("ok_byteorder_little", Zip(with), true);
  with.back() = {.name = "archive/code/model.py", .data = "import os"};
  add("torchscript", Zip(with), false, "TorchScript");
  add("legacy_pickle", "\x80\x02\x8a\x0a" + std::string(200, 'x'));
  add("legacy_tar", std::string(257, '\0') + "ustar" + std::string(300, '\0'));
  for (size_t i = 0; i < 12000; ++i) {
    with.push_back({.name = "archive/data/x" + std::to_string(i), .data = ""});
  }
  with.erase(with.begin() + 3);
  add("ok_12000_members", Zip(with), true);
}

}  // namespace glint::hostile
