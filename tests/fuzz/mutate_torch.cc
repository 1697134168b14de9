// A zip file taken apart into its members: one of them changed, packed again with right sizes and
// checksums, by the tests' own writer.
#include <cstring>
#include <vector>

#include "tests/fuzz/mutate.h"
#include "tests/import_files.h"

namespace glint::fuzz {
namespace {

// The stored members that follow each other from the start.
std::vector<test::ZipMember> Unpack(const std::string& file) {
  std::vector<test::ZipMember> members;
  size_t at = 0;
  while (file.size() - at >= 30 && file.compare(at, 4, "PK\3\4") == 0) {
    uint32_t bytes = 0;
    uint16_t name = 0, extra = 0;
    std::memcpy(&bytes, file.data() + at + 18, 4);
    std::memcpy(&name, file.data() + at + 26, 2);
    std::memcpy(&extra, file.data() + at + 28, 2);
    const uint64_t data = at + 30 + uint64_t{name} + extra;
    if (data > file.size() || bytes > file.size() - data) break;
    members.push_back({.name = file.substr(at + 30, name), .data = file.substr(data, bytes)});
    at = data + bytes;
  }
  return members;
}

}  // namespace
}  // namespace glint::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace glint;
  using namespace glint::fuzz;
  Random random(seed);
  std::vector<test::ZipMember> members = Unpack({reinterpret_cast<const char*>(data), size});
  if (members.empty() || random() % 6 == 0) return LLVMFuzzerMutate(data, size, max_size);
  test::ZipMember& member = members[random() % 2 ? 0 : Below(random, members.size())];
  switch (random() % 8) {
    case 0:
      member.name = MutateText(member.name, 8);
      break;
    case 1:
      member.zip64 = true;
      break;
    case 2:
      member = test::ZipMember(members[Below(random, members.size())]);
      break;
    default:
      member.data = MutateText(member.data, 64);
  }
  test::ZipOptions options;
  options.zip64 = random() % 8 == 0;
  return Deliver(test::Zip(members, options), data, size, max_size);
}
