#include "formats/import/pickle_recognizer.h"

#include <array>
#include <cstdio>

namespace glint::pickle {
namespace {

// torch.save flushes a dictionary every 1000 entries, so an honest stack stays far below this.
constexpr size_t kMaxStack = 1 << 16;

}  // namespace

constexpr Opcode Recognizer::kOpcodes[] = {
    {0x80, "PROTO", &Recognizer::Proto},
    {0x95, "FRAME", &Recognizer::Frame},
    {'(', "MARK", &Recognizer::Mark},
    {'.', "STOP", &Recognizer::Stop},
    {'N', "NONE", &Recognizer::None},
    {0x88, "NEWTRUE", &Recognizer::True},
    {0x89, "NEWFALSE", &Recognizer::False},
    {'}', "EMPTY_DICT", &Recognizer::EmptyDict},
    {']', "EMPTY_LIST", &Recognizer::EmptyList},
    {')', "EMPTY_TUPLE", &Recognizer::EmptyTuple},
    {'J', "BININT", &Recognizer::BinInt},
    {'K', "BININT1", &Recognizer::BinInt1},
    {'M', "BININT2", &Recognizer::BinInt2},
    {0x8A, "LONG1", &Recognizer::Long1},
    {'X', "BINUNICODE", &Recognizer::BinUnicode},
    {0x8C, "SHORT_BINUNICODE", &Recognizer::ShortBinUnicode},
    {'q', "BINPUT", &Recognizer::BinPut},
    {'r', "LONG_BINPUT", &Recognizer::LongBinPut},
    {0x94, "MEMOIZE", &Recognizer::MemoizeNext},
    {'h', "BINGET", &Recognizer::BinGet},
    {'j', "LONG_BINGET", &Recognizer::LongBinGet},
    {'t', "TUPLE", &Recognizer::Tuple},
    {0x85, "TUPLE1", &Recognizer::Tuple1},
    {0x86, "TUPLE2", &Recognizer::Tuple2},
    {0x87, "TUPLE3", &Recognizer::Tuple3},
    {'a', "APPEND", &Recognizer::Append},
    {'e', "APPENDS", &Recognizer::Appends},
    {'s', "SETITEM", &Recognizer::SetItem},
    {'u', "SETITEMS", &Recognizer::SetItems},
    {'c', "GLOBAL", &Recognizer::GlobalLines},
    {0x93, "STACK_GLOBAL", &Recognizer::StackGlobal},
    {'i', "INST", &Recognizer::Inst},
    {'Q', "BINPERSID", &Recognizer::PersistentId},
    {'R', "REDUCE", &Recognizer::Reduce},
    {'b', "BUILD", &Recognizer::Build},
    {'o', "OBJ", nullptr},
    {0x81, "NEWOBJ", nullptr},
    {0x92, "NEWOBJ_EX", nullptr},
    {0x82, "EXT1", nullptr},
    {0x83, "EXT2", nullptr},
    {0x84, "EXT4", nullptr},
    {0x8B, "LONG4", nullptr},
    {'G', "BINFLOAT", nullptr},
    {'P', "PERSID", nullptr},
};

PickledTensors Recognizer::Run() {
  std::array<const Opcode*, 256> opcode_of{};
  for (const Opcode& opcode : kOpcodes) opcode_of[opcode.code] = &opcode;
  while (!stopped_) {
    const uint8_t code = reader_.Read<uint8_t>("opcode");
    const Opcode* opcode = opcode_of[code];
    if (opcode == nullptr || opcode->run == nullptr) {
      char hex[8];
      std::snprintf(hex, sizeof(hex), "0x%02X", code);
      reader_.Fail(std::string("the opcode ") + hex +
                   (opcode != nullptr ? std::string(" (") + opcode->name + ")" : "") +
                   " is not one of those that describe tensors");
    }
    (this->*opcode->run)();
  }
  if (!reader_.AtEnd()) reader_.Fail("bytes after the end of the pickle");
  if (!marks_.empty() || stack_.size() != 1) {
    reader_.Fail("expected one value at the end, got " + std::to_string(stack_.size()));
  }
  return Collect(stack_.back());
}

void Recognizer::Proto() {
  const auto version = reader_.Read<uint8_t>("protocol");
  if (reader_.position() != 2) reader_.Fail("PROTO is not at the start");
  if (version < 2 || version > 5) {
    reader_.Fail("expected pickle protocol 2 to 5, got " + std::to_string(version));
  }
}

void Recognizer::Frame() {
  const auto bytes = reader_.Read<uint64_t>("frame length");
  if (bytes > reader_.remaining()) reader_.Fail("the frame is longer than the pickle");
}

void Recognizer::Mark() {
  if (marks_.size() == kMaxStack) reader_.Fail("too many MARKs");
  marks_.push_back(stack_.size());
}

void Recognizer::EmptyDict() {
  Push({Kind::kDict, 0, dicts_.size()});
  dicts_.emplace_back();
}

void Recognizer::Long1() {
  const auto count = reader_.Read<uint8_t>("integer length");
  const uint8_t* digits = reader_.Take(count, "integer");
  if (count > sizeof(uint64_t)) reader_.Fail("an integer of more than 64 bits");
  // Two's complement of `count` bytes: start from the sign.
  uint64_t number = count > 0 && digits[count - 1] >= 0x80 ? ~uint64_t{0} : 0;
  for (size_t i = count; i-- > 0;) number = (number << 8) | digits[i];
  PushInt(static_cast<int64_t>(number));
}

void Recognizer::Append() {
  Pop();
  Expect(Pop(), Kind::kList, "the target of APPEND");
  Push({Kind::kList, 0, 0});
}

void Recognizer::Appends() {
  stack_.resize(PopMark());
  Expect(Pop(), Kind::kList, "the target of APPENDS");
  Push({Kind::kList, 0, 0});
}

void Recognizer::GlobalLines() {
  const std::string_view module = TakeLine("module");
  PushGlobal(module, TakeLine("name"));
}

void Recognizer::StackGlobal() {
  const Value name = Pop();
  const Value module = Pop();
  Expect(name, Kind::kString, "the name of a global");
  Expect(module, Kind::kString, "the module of a global");
  PushGlobal(Text(module), Text(name));
}

void Recognizer::Inst() {
  const std::string_view module = TakeLine("module");
  const std::string name = std::string(module) + "." + std::string(TakeLine("name"));
  reader_.Fail("the opcode INST wants to make a " + Quoted(name) +
               ": refused, nothing of a pickle is ever run");
}

void Recognizer::Push(const Value& value) {
  if (stack_.size() == kMaxStack) reader_.Fail("the stack grows too deep");
  stack_.push_back(value);
}

void Recognizer::PushString(uint64_t bytes) {
  const uint64_t place = reader_.position();
  reader_.Take(bytes, "string");
  Push({Kind::kString, static_cast<uint32_t>(bytes), place});
}

// A tuple of what the stack holds from `begin` on.
void Recognizer::PushTuple(size_t begin) {
  const Value tuple{Kind::kTuple, static_cast<uint32_t>(stack_.size() - begin), items_.size()};
  items_.insert(items_.end(), stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
  stack_.resize(begin);
  Push(tuple);
}

Value Recognizer::Pop() {
  const size_t top = Below(1);
  const Value value = stack_[top];
  stack_.resize(top);
  return value;
}

// The height of the stack without its top `count` values, which must be above the last mark.
size_t Recognizer::Below(size_t count) const {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() - floor < count) reader_.Fail("the stack has too few values");
  return stack_.size() - count;
}

size_t Recognizer::PopMark() {
  if (marks_.empty()) reader_.Fail("there is no MARK");
  const size_t height = marks_.back();
  marks_.pop_back();
  return height;
}

void Recognizer::Memoize(uint32_t index) {
  const size_t top = Below(1);
  memo_[index] = stack_[top];
}

void Recognizer::Recall(uint32_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) reader_.Fail("the memo has no entry " + std::to_string(index));
  Push(found->second);
}

// Stores the pairs that the stack holds from `begin` on in the dictionary below them.
void Recognizer::SetFrom(size_t begin) {
  if ((stack_.size() - begin) % 2 != 0) reader_.Fail("a key without a value");
  const std::vector<Value> pairs(stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
  stack_.resize(begin);
  const Value& target = stack_[Below(1)];
  Expect(target, Kind::kDict, "the target of SETITEM");
  std::vector<Member>& members = dicts_[target.place];
  for (size_t i = 0; i < pairs.size(); i += 2) members.push_back({pairs[i], pairs[i + 1]});
}

std::string_view Recognizer::TakeLine(const char* what) {
  const size_t begin = reader_.position();
  while (reader_.Read<uint8_t>(what) != '\n') {
  }
  return {reinterpret_cast<const char*>(bytes_.data()) + begin, reader_.position() - begin - 1};
}

void Recognizer::Expect(const Value& value, Kind kind, const char* what) const {
  if (value.kind == kind) return;
  reader_.Fail(std::string(what) + ": expected " + kKindNames[static_cast<size_t>(kind)] +
               ", got " + kKindNames[static_cast<size_t>(value.kind)]);
}

std::string_view Recognizer::Text(const Value& value) const {
  return {reinterpret_cast<const char*>(bytes_.data()) + value.place, value.count};
}

}  // namespace glint::pickle
