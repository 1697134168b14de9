// A saved session with a part changed that random bytes would hardly meet. Hashes and the checksum
// are the target's affair (fuzz_session.cc).
#include <algorithm>
#include <cstring>
#include <iterator>

#include "tests/fuzz/mutate_formats.h"
#include "tests/fuzz/session_bytes.h"

namespace glint::fuzz {
namespace {

struct Field {
  size_t at, bytes;
};
constexpr Field kFields[] = {{0, 8},  {8, 4},  {12, 4}, {16, 8}, {24, 4}, {28, 4},
                             {32, 4}, {36, 4}, {40, 4}, {44, 4}, {48, 8}, {56, 8},
                             {64, 8}, {72, 8}, {80, 8}, {88, 8}};

// More than a session of the target holds; sizes stay small.
constexpr uint64_t kMostTokens = 40, kMostFloats = 1 << 10;

uint64_t EntryBytes(const std::string& image) {
  const uint64_t width = ImageNumber<uint32_t>(image, kHeadDimAt) % kMostFloats;
  switch (ImageNumber<uint32_t>(image, kKvTypeAt)) {
    case 0:
      return 8 * width;
    case 1:
      return 4 * width;
    default:
      return 2 * width + 8;
  }
}

void ChangeField(std::string* image, Random& random) {
  const Field field = kFields[Below(random, std::size(kFields))];
  uint64_t value = 0;
  std::memcpy(&value, image->data() + field.at, field.bytes);
  const uint64_t changes[] = {value + 1, value - 1, random() % 8, OddNumber(random)};
  value = changes[Below(random, std::size(changes))];
  std::memcpy(image->data() + field.at, &value, field.bytes);
}

// Another number of tokens, of the prompt's, or of logits; ids, logits and entries cut or with
// copies of the last.
void ChangeLength(std::string* image, Random& random) {
  const uint64_t old = ImageNumber<uint64_t>(*image, kLengthAt) % kMostTokens;
  const uint64_t logits = ImageNumber<uint64_t>(*image, kLogitsAt) % kMostFloats;
  const uint64_t adapters = ImageNumber<uint32_t>(*image, kAdaptersAt) % 4;
  const uint64_t blocks = (ImageNumber<uint32_t>(*image, kLayersAt) % 8) *
                          (ImageNumber<uint32_t>(*image, kHeadsAt) % 8);
  const uint64_t entry = EntryBytes(*image);
  const size_t ids_at = kImageHeadBytes + adapters * kAdapterRowBytes;
  const size_t entries_at = ids_at + 4 * old + 4 * logits;
  if (image->size() < entries_at + blocks * old * entry) return;
  const uint64_t length = random() % 2 ? old + 1 : 1 + Below(random, 26);
  const uint64_t kept_logits = random() % 6 == 0 ? 0 : logits;
  const auto resized = [](std::string text, size_t bytes, size_t unit) {
    while (text.size() >= unit && text.size() < bytes) text += text.substr(text.size() - unit);
    text.resize(bytes);
    return text;
  };
  std::string changed = image->substr(0, ids_at);
  changed += resized(image->substr(ids_at, 4 * old), 4 * length, 4);
  changed += image->substr(ids_at + 4 * old, 4 * kept_logits);
  for (uint64_t block = 0; block < blocks; ++block) {
    const std::string entries = image->substr(entries_at + block * old * entry, old * entry);
    changed += resized(entries, length * entry, entry);
  }
  changed.resize(changed.size() + kImageChecksumBytes);
  SetImageNumber(&changed, kLengthAt, length);
  SetImageNumber(&changed, kLogitsAt, kept_logits);
  const uint64_t prompt = ImageNumber<uint64_t>(changed, kPromptAt);
  SetImageNumber(&changed, kPromptAt, random() % 2 ? std::min(prompt, length) : length);
  *image = changed;
}

// A word of what follows the head.
void ChangeWord(std::string* image, Random& random) {
  const size_t words = (image->size() - kImageHeadBytes) / 4;
  if (words == 0) return;
  // Ids come first, and are few.
  const size_t word = Below(random, random() % 2 ? std::min<size_t>(words, 16) : words);
  // Small ids; floats and halves that are not finite, or the largest; the int8 without a negative.
  const uint32_t values[] = {static_cast<uint32_t>(random() % 128),
                             static_cast<uint32_t>(OddNumber(random)),
                             0x7F800000,
                             0x7FC00000,
                             0x7F7FFFFF,
                             0xFF7FFFFF,
                             0x7C007C00,
                             0x80808080};
  SetImageNumber(image, kImageHeadBytes + 4 * word, values[Below(random, std::size(values))]);
}

}  // namespace

bool MutateSession(std::string* input, Random& random) {
  if (input->size() < 1 + kImageHeadBytes + kImageChecksumBytes || random() % 6 == 0) return false;
  std::string image = input->substr(1);
  switch (random() % 6) {
    case 0:
      (*input)[0] = static_cast<char>((*input)[0] ^ (1 << random() % 7));
      break;
    case 1:
      ChangeField(&image, random);
      break;
    case 2:
    case 3:
      ChangeLength(&image, random);
      break;
    default:
      ChangeWord(&image, random);
  }
  *input = input->substr(0, 1) + image;
  return true;
}

}  // namespace glint::fuzz
