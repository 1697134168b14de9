#include "formats/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "formats/mapped_file.h"
#include "formats/reader.h"
#include "lib/error.h"
#include "lib/tensor.h"

namespace glint {
namespace {

constexpr uint64_t kMaxHeadBytes = 1 << 16;  // of the dictionary; NumPy's own are below 200
constexpr uint64_t kPieceBytes = 1 << 20;

struct Head {
  std::string type;
  bool fortran_order = false;
  std::vector<uint64_t> shape;
};

// The head's text is a Python literal: a dictionary of exactly the keys descr, fortran_order and
// shape, whose values are a string, a truth value and a tuple of integers. All else is refused.
class HeadParser {
 public:
  HeadParser(std::string_view text, std::string path) : text_(text), path_(std::move(path)) {}

  Head Parse() {
    Head head;
    bool has_type = false, has_order = false, has_shape = false;
    Take('{');
    while (!Accept('}')) {
      const std::string key = TakeString();
      Take(':');
      if (key == "descr" && !has_type) {
        has_type = true;
        head.type = TakeString();
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        head.fortran_order = TakeTruth();
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        head.shape = TakeShape();
      } else {
        Fail("unknown or repeated key " + Quoted(key));
      }
      if (!Accept(',')) {
        Take('}');
        break;
      }
    }
    SkipSpace();
    if (!text_.empty()) Fail("something follows the dictionary");
    if (!has_type || !has_order || !has_shape) Fail("expected descr, fortran_order and shape");
    return head;
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const { throw Error(path_ + ": head: " + what); }

  void SkipSpace() {
    const size_t space = std::min(text_.find_first_not_of(" \n"), text_.size());
    text_.remove_prefix(space);
  }

  bool Accept(char c) {
    SkipSpace();
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  void Take(char c) {
    if (!Accept(c)) Fail(std::string("expected '") + c + "' before " + Quoted(text_.substr(0, 20)));
  }

  std::string TakeString() {
    SkipSpace();
    const char quote = text_.empty() ? 0 : text_[0];
    const size_t end = quote == '\'' || quote == '"' ? text_.find(quote, 1) : text_.npos;
    if (end == text_.npos) Fail("expected a string before " + Quoted(text_.substr(0, 20)));
    const std::string value(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return value;
  }

  bool TakeTruth() {
    SkipSpace();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return word == "True";
    }
    Fail("fortran_order: expected True or False");
  }

  std::vector<uint64_t> TakeShape() {
    std::vector<uint64_t> shape;
    Take('(');
    while (!Accept(')')) {
      uint64_t n = 0;
      SkipSpace();
      const auto [next, error] = std::from_chars(text_.data(), text_.data() + text_.size(), n);
      if (error != std::errc() || shape.size() == 8) Fail("shape: expected a tuple of sizes");
      text_.remove_prefix(static_cast<size_t>(next - text_.data()));
      shape.push_back(n);
      if (!Accept(',')) {
        Take(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  std::string path_;
};

// Reads the head; *data_offset: where the numbers begin.
Head ReadHead(const MappedFile& file, const std::string& path, uint64_t* data_offset) {
  const auto fill = [&file](uint64_t offset, void* out, uint64_t n) {
    file.ReadAt(offset, out, n);
  };
  Reader reader(fill, std::min(file.bytes(), kMaxHeadBytes), path);
  constexpr std::string_view kMagic("\x93NUMPY", 6);
  if (reader.remaining() < 12 || reader.TakeString(6, "magic") != kMagic) {
    throw Error(path + ": not a NumPy file (.npy)");
  }
  const auto version = reader.Read<uint8_t>("version"), minor = reader.Read<uint8_t>("version");
  if (version < 1 || version > 3 || minor != 0) {
    throw Error(path + ": NumPy format " + std::to_string(version) + "." + std::to_string(minor) +
                "; known: 1.0, 2.0, 3.0");
  }
  const uint32_t length = version == 1 ? reader.Read<uint16_t>("length of the head")
                                       : reader.Read<uint32_t>("length of the head");
  const std::string text(reader.TakeString(length, "head"));
  *data_offset = reader.position();
  return HeadParser(text, path).Parse();
}

// Takes numbers of type T from `bytes`; the index of the first that is no id, if there is one.
template <class T>
std::optional<size_t> TakeIds(const std::vector<uint8_t>& bytes, size_t n, uint64_t vocab_size,
                              int32_t* out) {
  for (size_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    if (value < 0 || static_cast<uint64_t>(value) >= vocab_size) return i;
    out[i] = static_cast<int32_t>(value);
  }
  return std::nullopt;
}

}  // namespace

IdMatrix ReadIdMatrix(const std::string& path, uint64_t vocab_size) {
  const MappedFile file(path);
  uint64_t at = 0;
  const Head head = ReadHead(file, path, &at);
  const bool is_long = head.type == "<i8";
  if (!is_long && head.type != "<i4") {
    throw Error(path + ": numbers of type " + Quoted(head.type) + "; expected '<i4' or '<i8'");
  }
  if (head.fortran_order) throw Error(path + ": Fortran order; expected C order");
  if (head.shape.size() != 2 || head.shape[0] == 0 || head.shape[1] == 0) {
    throw Error(path + ": shape " + ShapeText(head.shape) + "; expected (windows, length)");
  }
  IdMatrix matrix{head.shape[0], head.shape[1], {}};
  const uint64_t item = is_long ? 8 : 4, data = file.bytes() - at;
  if (data % item != 0 || data / item / matrix.cols != matrix.rows ||
      data / item % matrix.cols != 0) {
    throw Error(path + ": shape " + ShapeText(head.shape) + " of " + head.type + ", but " +
                std::to_string(data) + " bytes of numbers");
  }
  matrix.ids.resize(matrix.rows * matrix.cols);
  std::vector<uint8_t> piece(std::min(data, kPieceBytes));
  for (size_t done = 0; done < matrix.ids.size();) {
    const size_t n = std::min<size_t>(piece.size() / item, matrix.ids.size() - done);
    file.ReadAt(at + done * item, piece.data(), n * item);
    int32_t* out = matrix.ids.data() + done;
    const std::optional<size_t> bad = is_long ? TakeIds<int64_t>(piece, n, vocab_size, out)
                                              : TakeIds<int32_t>(piece, n, vocab_size, out);
    if (bad) {
      const size_t index = done + *bad;
      throw Error(path + ": row " + std::to_string(index / matrix.cols) + ", column " +
                  std::to_string(index % matrix.cols) + ": not an id below " +
                  std::to_string(vocab_size));
    }
    done += n;
  }
  return matrix;
}

}  // namespace glint
