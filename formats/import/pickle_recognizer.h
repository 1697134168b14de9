#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/import/torch_pickle.h"
#include "formats/reader.h"

// The parts of RecognizePickle, for its two sources alone: pickle_recognizer.cc has the machine
// (opcodes, stack, memo), torch_pickle.cc what the allowed names mean and the tensors.
namespace glint::pickle {

// clang-format off
enum class Kind : uint8_t {
  kNone, kBool, kInt, kString, kTuple, kList, kDict, kGlobal, kStorage, kTensor
};
inline constexpr const char* kKindNames[] = {
    "None", "a bool", "an integer", "a string", "a tuple",
    "a list", "a dictionary", "a name", "a storage", "a tensor"};
// clang-format on

// Small and copied freely: tuples, strings and the like are places in the recogniser's own arrays,
// so a value named many times costs nothing and a cycle cannot be followed.
struct Value {
  Kind kind = Kind::kNone;
  uint32_t count = 0;  // of a tuple's items or a string's bytes
  uint64_t place = 0;  // index of a thing of this kind; of a bool or an integer the number itself
};

struct Member {
  Value key, value;
};

// A tensor as _rebuild_tensor_v2 describes it. Its geometry is judged once its name is known.
struct RawTensor {
  size_t storage;
  Value offset, shape, strides;
};

class Recognizer;

struct Opcode {
  uint8_t code;
  const char* name;
  void (Recognizer::*run)();  // null: known, so that it can be named, and refused
};

// A global name that may be in a pickle: something to "call" or the class of a storage.
struct Global {
  std::string_view module, name;
  void (Recognizer::*reduce)(const Value& arguments);  // null: a storage class
  SourceType type;
};

class Recognizer {
 public:
  Recognizer(std::span<const uint8_t> bytes, const std::string& where)
      : bytes_(bytes), reader_(bytes, where) {}

  PickledTensors Run();

 private:
  // Opcodes.
  void Proto();
  void Frame();
  void Mark();
  void Stop() { stopped_ = true; }
  void None() { Push({}); }
  void True() { Push({Kind::kBool, 0, 1}); }
  void False() { Push({Kind::kBool, 0, 0}); }
  void EmptyDict();
  void EmptyList() { Push({Kind::kList, 0, 0}); }
  void EmptyTuple() { Push({Kind::kTuple, 0, 0}); }
  void BinInt() { PushInt(reader_.Read<int32_t>("integer")); }
  void BinInt1() { PushInt(reader_.Read<uint8_t>("integer")); }
  void BinInt2() { PushInt(reader_.Read<uint16_t>("integer")); }
  void Long1();
  void BinUnicode() { PushString(reader_.Read<uint32_t>("string length")); }
  void ShortBinUnicode() { PushString(reader_.Read<uint8_t>("string length")); }
  void BinPut() { Memoize(reader_.Read<uint8_t>("memo index")); }
  void LongBinPut() { Memoize(reader_.Read<uint32_t>("memo index")); }
  void MemoizeNext() { Memoize(static_cast<uint32_t>(memo_.size())); }
  void BinGet() { Recall(reader_.Read<uint8_t>("memo index")); }
  void LongBinGet() { Recall(reader_.Read<uint32_t>("memo index")); }
  void Tuple() { PushTuple(PopMark()); }
  void Tuple1() { PushTuple(Below(1)); }
  void Tuple2() { PushTuple(Below(2)); }
  void Tuple3() { PushTuple(Below(3)); }
  void Append();
  void Appends();
  void SetItem() { SetFrom(Below(2)); }
  void SetItems() { SetFrom(PopMark()); }
  void GlobalLines();
  void StackGlobal();
  void Inst();
  void PersistentId();
  void Reduce();
  void Build();

  // What the allowed names do.
  void MakeOrderedDict(const Value& arguments);
  void RebuildTensor(const Value& arguments);
  void RebuildParameter(const Value& arguments);

  void Push(const Value& value);
  void PushInt(int64_t number) { Push({Kind::kInt, 0, static_cast<uint64_t>(number)}); }
  void PushString(uint64_t bytes);
  void PushTuple(size_t begin);
  void PushGlobal(std::string_view module, std::string_view name);
  Value Pop();
  size_t Below(size_t count) const;
  size_t PopMark();
  void Memoize(uint32_t index);
  void Recall(uint32_t index);
  void SetFrom(size_t begin);
  std::string_view TakeLine(const char* what);
  void Expect(const Value& value, Kind kind, const char* what) const;
  const Value* Items(const Value& tuple) const { return items_.data() + tuple.place; }
  std::string_view Text(const Value& value) const;
  void FindSizes(const Value& tuple, const std::string& where, std::vector<uint64_t>* sizes) const;
  PickledTensor Resolve(std::string_view name, const RawTensor& raw) const;
  PickledTensors Collect(const Value& root);

  static const Opcode kOpcodes[];
  static const Global kGlobals[];

  std::span<const uint8_t> bytes_;
  Reader reader_;
  bool stopped_ = false;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Value> memo_;
  std::vector<Value> items_;  // of all tuples
  std::vector<std::vector<Member>> dicts_;
  std::vector<PickledStorage> storages_;
  std::unordered_map<std::string_view, size_t> storage_of_key_;
  std::vector<RawTensor> tensors_;
};

}  // namespace glint::pickle
