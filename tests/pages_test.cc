// Memory from the system, and files as a map reads them ahead or a copy reads them at once.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#if !defined(_WIN32)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "formats/mapped_file.h"
#include "lib/error.h"
#include "lib/system/pages.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

#if !defined(_WIN32)
// Bytes of [data, data + bytes) that are in memory.
uint64_t Resident(uint8_t* data, uint64_t bytes) {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
#if defined(__APPLE__)
  std::vector<char> pages((bytes + page - 1) / page);
#else
  std::vector<unsigned char> pages((bytes + page - 1) / page);
#endif
  REQUIRE(mincore(data, bytes, pages.data()) == 0);
  uint64_t resident = 0;
  for (const auto state : pages) resident += (state & 1) * page;
  return resident;
}
constexpr bool kHasHugePages = true;
#else
constexpr bool kHasHugePages = false;
#endif

// Of no whole number of steps, and no two alike nearby.
std::string Contents() {
  std::string text(40 * kMiB + 4321, '\0');
  uint64_t state = 1;
  for (size_t i = 0; i + 8 <= text.size(); i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(&text[i], &state, 8);
  }
  return text;
}

}  // namespace

TEST_CASE("reserved memory is zero, aligned and writable to its last byte") {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{5000}, 2 * kMiB, 5 * kMiB + 1}) {
    CAPTURE(bytes);
    uint8_t* const data = ReservePages(bytes);
    REQUIRE(data);
    const uint64_t alignment = kHasHugePages && bytes >= 2 * kMiB ? 2 * kMiB : 4096;
    CHECK(reinterpret_cast<uintptr_t>(data) % alignment == 0);
    CHECK(std::all_of(data, data + bytes, [](uint8_t byte) { return byte == 0; }));
    std::memset(data, 1, bytes);
    ReleasePages(data, bytes);
  }
  CHECK(ReservePages(UINT64_MAX) == nullptr);
  ReleasePages(nullptr, 4096);
}

#if !defined(_WIN32)  // which counts what is promised
TEST_CASE("what is not touched is not resident") {
  const uint64_t bytes = 256 * kMiB;
  uint8_t* const data = ReservePages(bytes);
  REQUIRE(data);
  for (uint64_t at = 0; at < bytes; at += 64 * kMiB) data[at] = 1;
  CHECK(Resident(data, bytes) <= 4 * 2 * kMiB);
  ReleasePages(data, bytes);
}
#endif

TEST_CASE("a file, mapped and read ahead, and copied by several threads") {
  const std::string path = TempDir() + "/file";
  const std::string contents = Contents();
  WriteFile(path, contents);
  MappedFile map(path);
  const uint8_t* const mapped = map.Map();
  map.ReadAhead();
  CHECK(std::memcmp(mapped, contents.data(), contents.size()) == 0);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{100}, 16 * kMiB, uint64_t{contents.size()}}) {
    CAPTURE(offset);
    MappedFile copy(path);
    const uint8_t* const copied = copy.Copy(offset);
    CHECK(std::memcmp(copied, contents.data() + offset, contents.size() - offset) == 0);
  }
  SUBCASE("a file that closes while it is read ahead") {
    for (int i = 0; i < 20; ++i) {
      MappedFile brief(path);
      brief.Map();
      brief.ReadAhead();
    }
  }
#if !defined(_WIN32)  // which does not let anybody cut a mapped file
  SUBCASE("a file that shrinks: an error, no signal, from whichever thread") {
    MappedFile copy(path);
    REQUIRE(truncate(path.c_str(), 20 * kMiB) == 0);
    CHECK_THROWS_AS(copy.Copy(0), Error);
    MappedFile shrunk(path);
    shrunk.Map();
    REQUIRE(truncate(path.c_str(), 4096) == 0);
    shrunk.ReadAhead();
  }
#endif
}
