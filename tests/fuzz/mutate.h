#pragma once
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// What the mutators of structured formats share. They take an input apart, change one part and put
// it together with right lengths, counts and checksums: bytes changed at random rarely pass those.
namespace glint::fuzz {

using Random = std::minstd_rand;

inline size_t Below(Random& random, size_t limit) {
  return limit == 0 ? 0 : random() % limit;
}

// A number at which programs go wrong.
uint64_t OddNumber(Random& random);

// libFuzzer's own change of a text; up to `room` bytes longer.
std::string MutateText(const std::string& text, size_t room);

// One value of a JSON text replaced, removed, doubled, renamed or moved; or, if it is no JSON,
// MutateText.
std::string MutateJson(const std::string& text, Random& random);

// The changed input as libFuzzer wants it: within max_size, in place of the old. If it is too long,
// libFuzzer's own change of the old instead.
size_t Deliver(const std::string& changed, uint8_t* data, size_t size, size_t max_size);

}  // namespace glint::fuzz
