#include "lib/text/charsmap.h"

#include <algorithm>
#include <cstring>

#include "lib/error.h"

namespace glint {
namespace {

constexpr uint32_t kLeafBit = 1u << 31;

uint32_t Label(uint32_t unit) {
  return unit & (kLeafBit | 0xFF);
}
bool HasValue(uint32_t unit) {
  return (unit >> 8) & 1;
}
uint32_t Offset(uint32_t unit) {
  return (unit & ~kLeafBit) >> 10 << ((unit & (1u << 9)) >> 6);
}

// A file could make one byte of text into megabytes; no real rule is long.
void CheckReplacements(std::string_view text, const std::string& where) {
  if (text.empty() || text.back() != '\0') {
    throw Error(where + ": charsmap: expected replacements ended by zero bytes, found none");
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\0', begin);
    if (end - begin > Charsmap::kMaxReplacementBytes) {
      throw Error(where + ": charsmap: expected replacements of at most " +
                  std::to_string(Charsmap::kMaxReplacementBytes) + " bytes, found " +
                  std::to_string(end - begin));
    }
    begin = end + 1;
  }
}

}  // namespace

Charsmap::Charsmap(std::span<const uint8_t> blob, const std::string& where) {
  if (blob.empty()) return;
  uint32_t bytes = 0;
  if (blob.size() <= sizeof(bytes)) {
    throw Error(where + ": charsmap: expected more than 4 bytes, found " +
                std::to_string(blob.size()));
  }
  std::memcpy(&bytes, blob.data(), sizeof(bytes));
  blob = blob.subspan(sizeof(bytes));
  if (bytes == 0 || bytes % 4 != 0 || bytes >= blob.size()) {
    throw Error(where + ": charsmap: expected a trie of whole 4-byte units within " +
                std::to_string(blob.size()) + " bytes, found " + std::to_string(bytes) + " bytes");
  }
  units_ = blob.data();
  n_units_ = bytes / 4;
  replacements_ = {reinterpret_cast<const char*>(blob.data()) + bytes, blob.size() - bytes};
  CheckReplacements(replacements_, where);
  root_ = Offset(Unit(0));
  if ((Unit(0) & kLeafBit) != 0 || root_ == 0 || root_ >= n_units_) {
    throw Error(where + ": charsmap: expected the trie's root to point within its " +
                std::to_string(n_units_) + " units");
  }
}

uint32_t Charsmap::Unit(uint32_t at) const {
  uint32_t unit;
  std::memcpy(&unit, units_ + size_t{4} * at, sizeof(unit));
  return unit;
}

size_t Charsmap::Match(std::string_view text, std::string_view* replacement) const {
  if (n_units_ == 0) return 0;
  const size_t limit = std::min(text.size(), kMaxRuleBytes);
  size_t longest = 0;
  uint32_t begin = 0;
  uint32_t at = root_;
  for (size_t i = 0; i < limit; ++i) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    at ^= c;
    if (at >= n_units_) break;
    const uint32_t unit = Unit(at);
    if (Label(unit) != c) break;
    at ^= Offset(unit);
    if (!HasValue(unit)) continue;
    if (at >= n_units_) break;
    const uint32_t value = Unit(at) & ~kLeafBit;
    if (value >= replacements_.size()) continue;
    longest = i + 1;
    begin = value;
  }
  // The replacements end with a zero byte, so this stays within them.
  if (longest > 0) *replacement = std::string_view(replacements_.data() + begin);
  return longest;
}

}  // namespace glint
