#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "formats/reader.h"

namespace glint {

// The fields of one protobuf message, in file order. Nested messages are bytes, to be read by a
// reader of their own, so nothing recurses. Groups, which nobody writes any more, are refused.
class ProtoReader {
 public:
  enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  ProtoReader(std::span<const uint8_t> message, std::string where, uint64_t base = 0)
      : in_(message, std::move(where), base), base_(base) {}

  // Moves to the next field; false at the end. Throws Error if the bytes are no protobuf.
  bool Next() {
    if (in_.AtEnd()) return false;
    const uint64_t tag = in_.ReadVarint("tag");
    field_ = tag >> 3;
    wire_ = static_cast<uint32_t>(tag & 7);
    if (field_ == 0 || tag > UINT32_MAX) in_.Fail("expected a field number, found none");
    if (wire_ == kVarint) {
      number_ = in_.ReadVarint("number");
    } else if (wire_ == kFixed64) {
      number_ = in_.Read<uint64_t>("number");
    } else if (wire_ == kFixed32) {
      number_ = in_.Read<uint32_t>("number");
    } else if (wire_ == kBytes) {
      const uint64_t size = in_.ReadVarint("length");
      bytes_base_ = base_ + in_.position();
      bytes_ = {in_.Take(size, "value"), static_cast<size_t>(size)};
    } else {
      in_.Fail("expected wire type 0, 1, 2 or 5, found " + std::to_string(wire_));
    }
    return true;
  }

  uint64_t field() const { return field_; }

  // The field's value; each fails if the field has another wire type or the value does not fit.
  std::span<const uint8_t> Bytes() const {
    Expect(kBytes);
    return bytes_;
  }
  uint64_t bytes_base() const { return bytes_base_; }  // place in the file of Bytes()
  std::string String() const {
    Expect(kBytes);
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  int32_t Int32() const {
    Expect(kVarint);
    const int64_t value = static_cast<int64_t>(number_);
    if (value < INT32_MIN || value > INT32_MAX)
      Fail("expected 32 bits, found " + std::to_string(value));
    return static_cast<int32_t>(value);
  }
  bool Bool() const {
    Expect(kVarint);
    return number_ != 0;
  }
  float Float() const {
    Expect(kFixed32);
    return std::bit_cast<float>(static_cast<uint32_t>(number_));
  }

  [[noreturn]] void Fail(const std::string& reason) const {
    in_.Fail("field " + std::to_string(field_) + ": " + reason);
  }

 private:
  void Expect(Wire wire) const {
    if (wire_ != wire) {
      Fail("expected wire type " + std::to_string(wire) + ", found " + std::to_string(wire_));
    }
  }

  Reader in_;
  uint64_t base_, bytes_base_ = 0;
  uint64_t field_ = 0, number_ = 0;
  uint32_t wire_ = 0;
  std::span<const uint8_t> bytes_;
};

}  // namespace glint
