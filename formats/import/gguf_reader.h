#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "formats/import/input_file.h"
#include "lib/error.h"

namespace glint {

// The cursor for the header of a GGUF file, whose length nothing says: it reads a window at a time,
// and no more than kMaxHeaderBytes in all. Like ByteReader it gives nothing that was not compared
// with what is left. `subject` ("key 'a.b'") stands in each message. Owns its window only.
class GgufReader {
 public:
  // A vocabulary of 256,000 tokens with its merges takes 16 MiB.
  static constexpr uint64_t kMaxHeaderBytes = uint64_t{256} << 20;

  explicit GgufReader(const InputFile& file)
      : file_(file), end_(std::min(file.size(), kMaxHeaderBytes)) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }
  void SetSubject(std::string subject) { subject_ = std::move(subject); }

  // The next `bytes` bytes; `what` names them in the error.
  void ReadBytes(void* out, uint64_t bytes, const char* what) {
    Require(bytes, 1, what);
    auto* place = static_cast<uint8_t*>(out);
    while (bytes > 0) {
      if (used_ == window_.size()) Refill();
      const uint64_t piece = std::min<uint64_t>(bytes, window_.size() - used_);
      std::memcpy(place, window_.data() + used_, static_cast<size_t>(piece));
      used_ += static_cast<size_t>(piece);
      position_ += piece;
      place += piece;
      bytes -= piece;
    }
  }

  template <class T>
  T Read(const char* what) {
    T value;
    ReadBytes(&value, sizeof value, what);
    return value;
  }

  // A length, at most `limit`, and as many bytes.
  std::string ReadString(uint64_t limit, const char* what) {
    const auto bytes = Read<uint64_t>(what);
    Require(bytes, 1, what);
    if (bytes > limit) {
      Fail("expected at most " + std::to_string(limit) + " bytes (" + what + "), got " +
           std::to_string(bytes));
    }
    std::string text(static_cast<size_t>(bytes), '\0');
    ReadBytes(text.data(), bytes, what);
    return text;
  }

  // Fails unless `count` items of at least `item_bytes` are left: asked before anything is
  // allocated for them.
  void Require(uint64_t count, uint64_t item_bytes, const char* what) const {
    if (count <= remaining() / item_bytes) return;
    Fail("expected " + std::to_string(count) +
         (item_bytes == 1 ? "" : " * " + std::to_string(item_bytes)) + " bytes (" + what +
         "), only " + std::to_string(remaining()) + " bytes are left" +
         (end_ < file_.size() ? " of the 256 MiB that a header may have" : ""));
  }

  [[noreturn]] void Fail(const std::string& reason) const {
    throw Error(file_.path() + ": " + (subject_.empty() ? "" : subject_ + ": ") + "at byte " +
                std::to_string(position_) + ": " + reason);
  }

 private:
  static constexpr uint64_t kWindowBytes = 64 << 10;

  void Refill() {
    window_.resize(static_cast<size_t>(std::min(kWindowBytes, remaining())));
    file_.ReadAt(position_, window_.data(), window_.size());
    used_ = 0;
  }

  const InputFile& file_;
  uint64_t end_;
  uint64_t position_ = 0;
  std::string subject_ = "header";
  std::vector<uint8_t> window_;
  size_t used_ = 0;
};

}  // namespace glint
