#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "formats/import/checkpoint.h"
#include "tests/import_files.h"
#include "tests/test_util.h"

// PyTorch checkpoints that lie, and unusual ones that do not.
namespace glint {
namespace {

using namespace test;

const std::string kData = Floats({1, 2, 3, 4});
const std::string kStorage = Storage("FloatStorage", "0", 4);

std::string W(const std::string& tensor) {
  return Str("w") + tensor;
}

// The tensor that most cases twist: f32 (2, 2) over 16 bytes.
std::string GoodTensor() {
  return Rebuild(kStorage, 0, Longs({2, 2}), Longs({2, 1}));
}
std::string GoodPickle() {
  return DictPickle(W(GoodTensor()));
}

std::string FromPickle(const std::string& pickle) {
  return Torch(pickle, {kData});
}
std::string FromTensor(const std::string& tensor) {
  return FromPickle(DictPickle(W(tensor)));
}

// A whole pickle whose one value is made by `body`.
std::string FromBody(const std::string& body) {
  return FromPickle("\x80\x02"s + body + ".");
}

void CheckRefused(const std::vector<BadFile>& cases) {
  const std::string path = TempDir() + "/bad.bin";
  for (const BadFile& bad : cases) {
    CAPTURE(bad.name);
    WriteFile(path, bad.contents);
    const std::string message = OpenError(path);
    CAPTURE(message);
    CHECK(IsPlainMessage(message, path));
    CHECK(message.find(bad.expect) != std::string::npos);
  }
}

TEST_CASE("a foreign name is refused by name, wherever the pickle has it") {
  const std::string print = Global("builtins", "print");
  const std::string args = Tuple(Str("x"));
  const std::string stack = Str("os") + Str("system") + "\x93";
  const std::string named = "'builtins.print'";
  CheckRefused({
      {"GLOBAL alone", FromBody(print), named},
      {"called", FromBody(print + args + "R"), named},
      {"os.system called", FromBody(Global("os", "system") + Tuple(Str("true")) + "R"),
       "'os.system'"},
      {"posix.system", FromBody(Global("posix", "system") + Tuple(Str("true")) + "R"),
       "'posix.system'"},
      {"INST", FromBody("(" + Str("x") + "ibuiltins\nprint\n"), named},
      {"INST of an allowed name", FromBody("(icollections\nOrderedDict\n"), "OrderedDict"},
      {"OBJ", FromBody("(" + print + Str("x") + "o"), named},
      {"NEWOBJ", FromBody(print + args + "\x81"), named},
      {"NEWOBJ_EX", FromBody(print + args + "}\x92"), named},
      {"NEWOBJ of an allowed name", FromBody(Global("collections", "OrderedDict") + ")\x81"),
       "NEWOBJ"},
      {"STACK_GLOBAL", FromBody(stack + args + "R"), "'os.system'"},
      {"STACK_GLOBAL, protocol 4",
       FromPickle("\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94)R."s), "'os.system'"},
      {"as a key", FromPickle(DictPickle(print + GoodTensor())), named},
      {"as a value", FromPickle(DictPickle(W(print))), named},
      {"in the hooks", FromTensor(Rebuild(kStorage, 0, Longs({2, 2}), Longs({2, 1}), print)),
       named},
      {"as a storage class",
       FromTensor(Rebuild(Tuple(Str("storage") + print + Str("0") + Str("cpu") + Long(4)) + "Q", 0,
                          Longs({4}), Longs({1}))),
       named},
      {"as an argument of OrderedDict",
       FromBody(Global("collections", "OrderedDict") + Tuple(print) + "R"), named},
      {"in metadata", FromBody(OrderedDict() + "}" + Str("_metadata") + print + "sb"), named},
      {"after the last STOP", FromPickle(GoodPickle() + print + args + "R."), "after the end"},
      {"hidden by a POP", FromBody(print + "0}"), named},
      {"EXT1", FromBody("\x82\x01"), "EXT1"},
      {"torch.load", FromBody(Global("torch", "load") + args + "R"), "'torch.load'"},
      {"dotted", FromBody(Global("torch", "_utils._rebuild_tensor_v2")), "torch._utils._rebuild"},
      {"padded", FromBody(Global("torch._utils ", "_rebuild_tensor_v2")), "'torch._utils ."},
      {"other case", FromBody(Global("Collections", "OrderedDict")), "'Collections.OrderedDict'"},
      {"empty", FromBody(Global("", "")), "'.'"},
      {"with a control character", FromBody(Global("os\x1b[2J", "system")), "os\\x1b"},
      {"quantized tensor", FromBody(Global("torch._utils", "_rebuild_qtensor")),
       "_rebuild_qtensor"},
      {"quantized storage", FromTensor(Storage("QInt8Storage", "0", 16)), "'torch.QInt8Storage'"},
      {"complex storage", FromTensor(Storage("ComplexFloatStorage", "0", 2)), "ComplexFloat"},
      {"getattr", FromBody(Global("builtins", "getattr")), "'builtins.getattr'"},
      {"Python 2 eval", FromBody(Global("__builtin__", "eval")), "'__builtin__.eval'"},
  });
}

TEST_CASE("malformed pickles") {
  const std::string good = GoodPickle();
  const std::string list = "(" + Str("k") + "]";
  std::vector<BadFile> cases = {
      {"empty", FromPickle(""), "opcode"},
      {"protocol 99", FromPickle("\x80\x63}."), "protocol"},
      {"protocol 0", FromPickle("\x80\0}."s), "protocol"},
      {"protocol twice", FromBody("\x80\x02}"), "PROTO"},
      {"only STOP", FromBody(""), "one value"},
      {"two values", FromBody("}}"), "one value"},
      {"open MARK", FromBody("}("), "one value"},
      {"TUPLE without MARK", FromBody("t"), "MARK"},
      {"SETITEMS without MARK", FromBody("}u"), "MARK"},
      {"APPENDS without MARK", FromBody("]e"), "MARK"},
      {"SETITEM on nothing", FromBody("s"), "too few"},
      {"SETITEM without a value", FromBody("}" + Str("a") + "s"), "too few"},
      {"SETITEM on a tuple", FromBody(")" + Str("a") + Str("b") + "s"), "a dictionary"},
      {"SETITEM on an integer", FromBody("K\1" + Str("a") + Str("b") + "s"), "a dictionary"},
      {"SETITEMS odd", FromBody("}(" + Str("a") + "u"), "key without a value"},
      {"SETITEMS across a MARK", FromBody("}(" + Str("a") + "s"), "too few"},
      {"APPEND on a dictionary", FromBody("}" + Str("a") + "a"), "a list"},
      {"REDUCE on nothing", FromBody("R"), "too few"},
      {"REDUCE of a string", FromBody(Str("a") + ")R"), "a name"},
      {"REDUCE without a tuple", FromBody(Global("collections", "OrderedDict") + "NR"), "a tuple"},
      {"REDUCE of a storage class", FromBody(Global("torch", "FloatStorage") + ")R"),
       "storage class"},
      {"BUILD on nothing", FromBody("}b"), "too few"},
      {"BUILD on a tensor", FromTensor(GoodTensor() + "}b"), "target of BUILD"},
      {"BUILD with a tuple", FromBody("})b"), "state of BUILD"},
      {"TUPLE2 of one", FromBody("N\x86"), "too few"},
      {"memo never set", FromBody("h\0"s), "memo"},
      {"memo 2^32 - 1", FromBody("j\xFF\xFF\xFF\xFF"), "memo"},
      {"PUT on nothing", FromBody("q\0"s), "too few"},
      {"string of 2^32 - 1", FromBody("X\xFF\xFF\xFF\xFF"), "bytes"},
      {"string of 2^64 - 1", FromBody("\x8d\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "0x8D"},
      {"LONG1 past the end", FromBody("\x8a\x7F"), "bytes"},
      {"LONG1 of 9 bytes", FromBody("\x8a\x09" + std::string(9, '\1')), "64 bits"},
      {"LONG4", FromBody("\x8b\xFF\xFF\xFF\xFF"), "LONG4"},
      {"FRAME past the end", FromBody("\x95" + U64(1000)), "frame"},
      {"GLOBAL without its lines", FromBody("ccollections"), "bytes"},
      {"text integer", FromBody("I1\n"), "0x49"},
      {"unknown opcode", FromBody("\xFE"), "0xFE"},
      {"200000 MARKs", FromBody(Repeat("(", 200000)), "MARKs"},
      {"200000 values", FromBody(Repeat("N", 200000)), "too deep"},
      {"100000 nested tuples", FromBody(Repeat("(", 60000) + Repeat("t", 60000)), "a dictionary"},
      {"100000 tuples of tuples", FromBody(")" + Repeat("\x85", 100000)), "a dictionary"},
      {"2^60 references", FromBody(")" + Repeat("q\0h\0\x86"s, 60)), "a dictionary"},
      {"dictionary in itself", FromBody("}q\0"s + Str("a") + "h\0s"s), "expected a tensor"},
      {"a list", FromBody("]"), "a dictionary"},
      {"a tensor alone", FromBody(GoodTensor()), "a dictionary"},
      {"nested dictionary", FromPickle(DictPickle(Str("model") + "}")),
       "'model': expected a tensor"},
      {"an integer among tensors", FromPickle(DictPickle(W(GoodTensor()) + Str("step") + "K\1")),
       "'step'"},
      {"integer as a name", FromPickle(DictPickle("K\1" + GoodTensor())), "a string"},
      {"name twice", FromPickle(DictPickle(W(GoodTensor()) + W(GoodTensor()))), "twice"},
      {"empty name", FromPickle(DictPickle(Str("") + GoodTensor())), "is empty"},
      {"name not UTF-8", FromPickle(DictPickle(Str("\xC0\x80") + GoodTensor())), "UTF-8"},
      {"name with NUL", FromPickle(DictPickle(Str("a\0b"s) + GoodTensor())), "NUL"},
  };
  for (const size_t size : {1, 2, 3, 10, 40}) {
    cases.push_back(
        {"cut to " + std::to_string(size), FromPickle(good.substr(0, size)), "data.pkl"});
  }
  cases.push_back({"without STOP", FromPickle(good.substr(0, good.size() - 1)), "opcode"});
  CheckRefused(cases);
}

TEST_CASE("storages that lie") {
  const auto with = [](const std::string& storage) {
    return FromTensor(Rebuild(storage, 0, Longs({1}), Longs({1})));
  };
  const auto elements = [&](int64_t count) { return with(Storage("FloatStorage", "0", count)); };
  const auto key = [&](const std::string& name) { return with(Storage("FloatStorage", name, 4)); };
  const auto id = [&](const std::string& items) { return with(Tuple(items) + "Q"); };
  const std::string type = Global("torch", "FloatStorage");
  CheckRefused({
      {"a million elements", elements(1000000), "'archive/data/0'"},
      {"2 elements", elements(2), "'archive/data/0'"},
      {"-4 elements", elements(-4), "-4 elements"},
      {"2^62 elements", elements(int64_t{1} << 62), "'archive/data/0'"},
      {"wrong type", with(Storage("DoubleStorage", "0", 4)), "F64"},
      {"missing record", key("1"), "'archive/data/1'"},
      {"path up", key("../../../../etc/hostname"), "missing"},
      {"own pickle", key("../data.pkl"), "missing"},
      {"absolute", key("/etc/hostname"), "missing"},
      {"backslash", key("..\\data.pkl"), "missing"},
      {"NUL", key("0\0"s), "missing"},
      {"empty key", key(""), "missing"},
      {"dot", key("."), "missing"},
      {"long key", key(std::string(70000, 'k')), "missing"},
      {"not 'storage'", id(Str("module") + type + Str("0") + Str("cpu") + Long(4)), "'storage'"},
      {"4 items", id(Str("storage") + type + Str("0") + Str("cpu")), "5 items"},
      {"6 items", id(Str("storage") + type + Str("0") + Str("cpu") + Long(4) + "N"), "5 items"},
      {"class is a string", id(Str("storage") + Str("f") + Str("0") + Str("cpu") + Long(4)),
       "class"},
      {"class is OrderedDict",
       id(Str("storage") + Global("collections", "OrderedDict") + Str("0") + Str("cpu") + Long(4)),
       "OrderedDict"},
      {"key is an integer", id(Str("storage") + type + Long(0) + Str("cpu") + Long(4)), "key"},
      {"size is a string", id(Str("storage") + type + Str("0") + Str("cpu") + Str("4")), "size"},
      {"id is no tuple", with(Str("x") + "Q"), "a tuple"},
      {"described in two ways",
       FromPickle(DictPickle(W(GoodTensor()) + Str("v") +
                             Rebuild(Storage("IntStorage", "0", 4), 0, Longs({4}), Longs({1})))),
       "two ways"},
      {"short record", Torch(GoodPickle(), {kData.substr(1)}), "'archive/data/0'"},
      {"long record", Torch(GoodPickle(), {kData + "x"}), "'archive/data/0'"},
  });
}

TEST_CASE("tensors that do not fit their storage") {
  const auto geometry = [](int64_t offset, const std::string& sizes, const std::string& strides) {
    return FromTensor(Rebuild(kStorage, offset, sizes, strides));
  };
  constexpr int64_t kBig = int64_t{1} << 40;
  const std::string arguments = kStorage + Long(0) + Longs({4}) + Longs({1});
  const auto rebuild = [](const std::string& items) {
    return FromTensor(Global("torch._utils", "_rebuild_tensor_v2") + Tuple(items) + "R");
  };
  CheckRefused({
      {"size 2^40", geometry(0, Longs({kBig}), Longs({1})), "'w'"},
      {"negative size", geometry(0, Longs({-4}), Longs({1})), "non-negative"},
      {"elements overflow", geometry(0, Longs({kBig, kBig}), Longs({0, 0})), "overflows"},
      {"overflow hidden by a zero", geometry(0, Longs({0, kBig, kBig}), Longs({0, 0, 0})),
       "overflows"},
      {"stride 2^40", geometry(0, Longs({2, 2}), Longs({kBig, 1})), "not contiguous"},
      {"negative stride", geometry(0, Longs({2, 2}), Longs({2, -1})), "non-negative"},
      {"transposed", geometry(0, Longs({2, 2}), Longs({1, 2})), "not contiguous"},
      {"stride 0", geometry(0, Longs({4}), Longs({0})), "not contiguous"},
      {"every second", geometry(0, Longs({2}), Longs({2})), "not contiguous"},
      {"one past the end", geometry(0, Longs({5}), Longs({1})), "not within"},
      {"offset 1", geometry(1, Longs({2, 2}), Longs({2, 1})), "not within"},
      {"offset -1", geometry(-1, Longs({4}), Longs({1})), "not within"},
      {"offset 2^62", geometry(int64_t{1} << 62, Longs({4}), Longs({1})), "not within"},
      {"empty beyond the end", geometry(5, Longs({0}), Longs({1})), "not within"},
      {"too few strides", geometry(0, Longs({2, 2}), Longs({1})), "strides"},
      {"too many strides", geometry(0, Longs({4}), Longs({4, 1})), "strides"},
      {"rank 9",
       geometry(0, Longs({1, 1, 1, 1, 1, 1, 1, 1, 4}), Longs({4, 4, 4, 4, 4, 4, 4, 4, 1})),
       "at most 8"},
      {"size is a string", geometry(0, Tuple(Str("4")), Longs({1})), "integers"},
      {"size is a list", geometry(0, "]", Longs({1})), "size of a tensor"},
      {"5 arguments", rebuild(arguments + "\x89"), "6 or 7"},
      {"8 arguments", rebuild(arguments + "\x89NNN"), "6 or 7"},
      {"storage is None", rebuild("N" + Long(0) + Longs({4}) + Longs({1}) + "\x89N"), "storage of"},
      {"requires_grad is a string", rebuild(arguments + Str("x") + "N"), "requires_grad"},
      {"hooks are a string", rebuild(arguments + "\x89" + Str("x")), "hooks"},
      {"parameter of None",
       FromTensor(Global("torch._utils", "_rebuild_parameter") + Tuple("N\x89N") + "R"),
       "parameter"},
      {"parameter of 2",
       FromTensor(Global("torch._utils", "_rebuild_parameter") + Tuple(GoodTensor() + "\x89") +
                  "R"),
       "3 arguments"},
  });
}

// The good archive after `change` has had its way with the members.
std::string Changed(const std::function<void(std::vector<ZipMember>*)>& change) {
  std::vector<ZipMember> members = TorchMembers(GoodPickle(), {kData});
  change(&members);
  return Zip(members);
}

// The good archive whose second member, the storage, was changed.
std::string Record(const std::function<void(ZipMember*)>& change) {
  return Changed([&](std::vector<ZipMember>* members) { change(&(*members)[1]); });
}

std::string Extra(const std::string& name, const std::string& data = "x") {
  return Changed([&](auto* members) { members->push_back({.name = name, .data = data}); });
}

TEST_CASE("archives whose members lie") {
  CheckRefused({
      {"deflated", Record([](auto* m) { m->method = 8; }), "compressed"},
      {"method 99", Record([](auto* m) { m->method = 99; }), "compressed"},
      {"encrypted", Record([](auto* m) { m->flags = 1; }), "encrypted"},
      {"other local name", Record([](auto* m) { m->local_name = "archive/data/9"; }), "names it"},
      {"wrong local signature", Record([](auto* m) { m->local_signature = 0; }), "signature"},
      {"wrong central signature", Record([](auto* m) { m->signature = 0; }), "signature"},
      {"local size differs", Record([](auto* m) { m->local_size_change = 1; }), "differ"},
      {"sizes past the end", Record([](auto* m) { m->size_change = 1 << 20; }), "not before"},
      {"size 2^64 - 1", Record([](auto* m) {
         m->zip64 = true;
         m->size_change = ~uint64_t{0} - 16;
       }),
       "not before"},
      {"offset past the end", Record([](auto* m) { m->offset_change = 1 << 20; }), "not before"},
      {"offset 2^63", Record([](auto* m) {
         m->zip64 = true;
         m->offset_change = uint64_t{1} << 63;
       }),
       "not before"},
      {"offset off by one", Record([](auto* m) { m->offset_change = 1; }), "signature"},
      {"on another disk", Record([](auto* m) { m->disk = 1; }), "disk"},
      {"symbolic link", Record([](auto* m) {
         m->made_by = 3 << 8;
         m->attributes = 0120777u << 16;
       }),
       "link"},
      {"wrong checksum of the pickle", Changed([](auto* m) { (*m)[0].crc_change = 1; }),
       "checksum"},
      {"member twice", Extra("archive/data/0"), "twice"},
      {"overlapping members", Record([](auto* m) { m->size_change = 4; }), "overlap"},
      {"path up", Extra("archive/../../x"), "unsafe"},
      {"dot", Extra("archive/./x"), "unsafe"},
      {"absolute", Extra("/archive/x"), "unsafe"},
      {"drive", Extra("C:x"), "unsafe"},
      {"backslash", Extra("archive\\x"), "unsafe"},
      {"NUL", Extra("archive/x\0y"s), "unsafe"},
      {"empty name", Extra(""), "unsafe"},
      {"not UTF-8", Extra("archive/\xFF"), "unsafe"},
      {"outside the folder", Extra("other/x"), "'other/x'"},
      {"two pickles", Extra("other/data.pkl"), "data.pkl"},
      {"TorchScript", Extra("archive/constants.pkl"), "TorchScript"},
      {"TorchScript code", Extra("archive/code/__torch__.py"), "TorchScript"},
      {"big-endian", Extra("archive/byteorder", "big"), "'little'"},
      {"version 999", Changed([](auto* m) { m->back().data = "999\n"; }), "version"},
      {"version 99999999999", Changed([](auto* m) { m->back().data = "99999999999"; }), "version"},
      {"version empty", Changed([](auto* m) { m->back().data = ""; }), "version"},
      {"version x", Changed([](auto* m) { m->back().data = "3x"; }), "version"},
      {"no version", Changed([](auto* m) { m->pop_back(); }), "version"},
      {"no pickle", Changed([](auto* m) { m->erase(m->begin()); }), "data.pkl"},
      {"pickle at the top", Changed([](auto* m) { (*m)[0].name = "data.pkl"; }), "data.pkl"},
  });
}

TEST_CASE("archives whose directory lies") {
  const std::vector<ZipMember> members = TorchMembers(GoodPickle(), {kData});
  const std::string good = Zip(members), good64 = Zip(members, {.zip64 = true});
  std::vector<BadFile> cases = {
      {"no end record", good.substr(0, good.size() - 22), "end record"},
      {"bytes after the end", Zip(members, {.suffix = "x"}), "end record"},
      {"comment too long", Zip(members, {.comment_length_change = 5}), "end record"},
      {"prefix", Zip(members, {.prefix = "junk"}), "does not begin with"},
      {"prefix with a signature", "PK\3\4" + good, "end"},
      {"0 entries", Zip(members, {.entries_change = 0u - members.size()}), "after the last"},
      {"one entry fewer", Zip(members, {.entries_change = ~uint64_t{0}}), "after the last"},
      {"one entry more", Zip(members, {.entries_change = 1}), "zip"},
      {"65535 entries", Zip(members, {.entries_change = 65535 - members.size()}), "entries"},
      {"directory past the end", Zip(members, {.directory_change = 1 << 20}), "does not end"},
      {"directory off by one", Zip(members, {.directory_change = 1}), "does not end"},
      {"directory too long", Zip(members, {.directory_bytes_change = 1}), "does not end"},
      {"several disks", Zip(members, {.disk = 1}), "disk"},
      {"zip64: entries differ", Zip(members, {.zip64 = true, .end64_entries_change = 1}), "differ"},
      {"zip64: offset", Zip(members, {.zip64 = true, .end64_offset_change = 1}), "does not end"},
      {"zip64: offset 2^63",
       Zip(members, {.zip64 = true, .end64_offset_change = uint64_t{1} << 63}), "does not end"},
      {"zip64: size", Zip(members, {.zip64 = true, .end64_size_change = 1}), "size"},
      {"zip64: locator", Zip(members, {.zip64 = true, .locator_change = 1000}), "does not fit"},
      {"zip64: locator 2^64 - 1", Zip(members, {.zip64 = true, .locator_change = ~uint64_t{0}}),
       "signature"},
      {"zip64: disks", Zip(members, {.zip64 = true, .disks = 2}), "disk"},
      {"legacy pickle", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9"s + std::string(100, 'x'), "torch.save"},
      {"tar", std::string(257, 'x') + "ustar" + std::string(300, 'x'), "tar"},
      {"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"HTML page", "<!DOCTYPE html>", "HTML"},
      {"empty file", "", "does not begin with"},
      {"only an end record", good.substr(good.size() - 22), "does not begin with"},
      {"no members", "PK\3\4" + Zip({}).substr(0), "end"},
  };
  for (const size_t size : {3, 4, 30, 200}) {
    cases.push_back({"cut to " + std::to_string(size), good.substr(0, size), "zip"});
  }
  for (const size_t lost : {1, 20, 21, 40, 80}) {
    cases.push_back(
        {"zip64 cut by " + std::to_string(lost), good64.substr(0, good64.size() - lost), "zip"});
  }
  CheckRefused(cases);
}

std::vector<float> ReadW(const std::string& contents) {
  const std::string path = TempDir() + "/good.bin";
  WriteFile(path, contents);
  const auto checkpoint = Checkpoint::Open(path);
  const SourceTensor* tensor = checkpoint->Find("w");
  REQUIRE(tensor != nullptr);
  std::vector<float> values(tensor->elements);
  checkpoint->ReadF32(*tensor, 0, tensor->elements, values.data());
  return values;
}

TEST_CASE("unusual checkpoints that torch can write are accepted") {
  const std::vector<float> all = {1, 2, 3, 4};
  const std::vector<ZipMember> members = TorchMembers(GoodPickle(), {kData});
  CHECK(ReadW(Zip(members)) == all);
  CHECK(ReadW(Zip(members, {.zip64 = true})) == all);
  CHECK(ReadW(Zip(members, {.comment = "a comment"})) == all);
  CHECK(ReadW(Record([](auto* m) { m->streamed = true; })) == all);
  CHECK(ReadW(Record([](auto* m) { m->zip64 = true; })) == all);
  CHECK(ReadW(Extra("archive/byteorder", "little")) == all);
  CHECK(ReadW(Extra("archive/.data/serialization_id", "123")) == all);
  CHECK(ReadW(Changed([](auto* m) {
          for (ZipMember& member : *m) member.name.replace(0, 7, "\xE6\xA8\xA1\xE5\x9E\x8B x");
        })) == all);

  const auto tensor = [](int64_t offset, const std::string& sizes, const std::string& strides) {
    return ReadW(FromTensor(Rebuild(kStorage, offset, sizes, strides)));
  };
  CHECK(tensor(1, Longs({2}), Longs({1})) == std::vector<float>{2, 3});
  CHECK(tensor(3, Longs({}), Longs({})) == std::vector<float>{4});  // a scalar
  CHECK(tensor(4, Longs({0, 7}), Longs({7, 1})).empty());           // empty
  CHECK(tensor(0, Longs({1, 4, 1}), Longs({99, 1, 77})) == all);    // strides unused
  CHECK(ReadW(FromTensor(Rebuild(kStorage, 0, Longs({4}), Longs({1}), "N"))) == all);
  CHECK(ReadW(FromTensor(Rebuild(kStorage, 0, Longs({4}), Longs({1}), "N}"))) == all);
  CHECK(ReadW(FromTensor(Global("torch._utils", "_rebuild_parameter") +
                         Tuple(GoodTensor() + "\x88" + OrderedDict()) + "R")) == all);
  // An OrderedDict with _metadata, a repeated name from the memo, protocol 4 with frame and memo.
  const std::string metadata =
      "}" + Str("_metadata") + "}" + Str("") + "}" + Str("version") + "K\1sssb";
  CHECK(ReadW(FromBody(OrderedDict() + "(" + W(GoodTensor()) + "u" + metadata)) == all);
  CHECK(ReadW(FromBody("}" + Str("w") + "q\5" + GoodTensor() + "s")) == all);
  CHECK(ReadW(FromPickle("\x80\x04\x95"s + U64(2) + "}\x94(\x8c\1w\x94" + GoodTensor() + "u.")) ==
        all);
  CHECK(ReadW(FromTensor(Rebuild(Tuple(Str("storage") + Global("torch", "FloatStorage") + Str("0") +
                                       Str("cuda:0") + "K\4") +
                                     "Q",
                                 0, Longs({4}), Longs({1})))) == all);
  CHECK(ReadW(Torch(
            DictPickle(W(Rebuild(Storage("BFloat16Storage", "0", 2), 0, Longs({2}), Longs({1})))),
            {U16(0x3F80) + U16(0xC000)})) == std::vector<float>{1, -2});
}

TEST_CASE("tied tensors share their place") {
  const std::string path = TempDir() + "/tied.bin";
  WriteFile(path, FromPickle(DictPickle(W(GoodTensor()) + Str("v") + GoodTensor() + Str("half") +
                                        Rebuild(kStorage, 2, Longs({2}), Longs({1})))));
  const auto checkpoint = Checkpoint::Open(path);
  CHECK(checkpoint->Find("w")->offset == checkpoint->Find("v")->offset);
  CHECK(checkpoint->Find("half")->offset == checkpoint->Find("w")->offset + 8);
}

TEST_CASE("an archive of 12000 members opens") {
  std::string pairs;
  std::vector<std::string> storages;
  for (int i = 0; i < 12000; ++i) {
    pairs += Str("t" + std::to_string(i)) +
             Rebuild(Storage("FloatStorage", std::to_string(i), 1), 0, Longs({1}), Longs({1}));
    storages.push_back(Floats({static_cast<float>(i)}));
  }
  const std::string path = TempDir() + "/many.bin";
  WriteFile(path, Zip(TorchMembers(DictPickle(pairs), storages), {.zip64 = true}));
  const auto checkpoint = Checkpoint::Open(path);
  CHECK(checkpoint->tensors().size() == 12000);
  float value = 0;
  checkpoint->ReadF32(*checkpoint->Find("t11999"), 0, 1, &value);
  CHECK(value == 11999);
}

// The tensor is the last two numbers of a storage of 5 GiB, a hole in the file but for them.
TEST_CASE("a storage beyond 4 GiB is read through zip64") {
  const int64_t elements = int64_t{5} << 28;
  const std::string tensor =
      Rebuild(Storage("FloatStorage", "0", elements), elements - 2, Longs({2}), Longs({1}));
  const ZipMember pickle = {.name = "archive/data.pkl", .data = DictPickle(W(tensor))};
  const ZipMember big = {.name = "archive/data/0",
                         .data = "",
                         .size_change = 4 * static_cast<uint64_t>(elements),
                         .zip64 = true};
  const ZipMember version = {.name = "archive/version", .data = "3\n", .zip64 = true};
  std::string head = ZipLocal(pickle) + pickle.data;
  std::string central = ZipCentral(pickle, 0) + ZipCentral(big, head.size());
  head += ZipLocal(big);
  const uint64_t place = head.size() + big.size_change;
  const std::string tail = ZipLocal(version) + version.data;
  central += ZipCentral(version, place);

  const std::string path = TempDir() + "/big.bin";
  WriteFile(path, head);
  std::filesystem::resize_file(path, place - 8);
  std::ofstream(path, std::ios::binary | std::ios::app)
      << Floats({5, 6}) << tail << central
      << ZipEnd(3, place + tail.size(), central.size(), {.zip64 = true});
  const auto checkpoint = Checkpoint::Open(path);
  float values[2] = {};
  checkpoint->ReadF32(*checkpoint->Find("w"), 0, 2, values);
  CHECK(values[0] == 5);
  CHECK(values[1] == 6);
  CHECK(checkpoint->Find("w")->offset == place - 8);
}

}  // namespace
}  // namespace glint
