// A page of a mapped file that the disk or the network does not give: the program's one line and
// status. Nothing can take a mapped file away on this system, so the exception is raised by hand.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstring>
#include <thread>

#include "examples/commands/file_fault.h"
#include "lib/system/windows.h"
#include "tests/system.h"
#include "tests/test_util.h"

namespace glint {
namespace {

struct End {
  int status;
  std::string err;
};

// This program once more, as one that does `what`.
End RunAs(const std::string& what) {
  wchar_t self[MAX_PATH];
  const DWORD size = GetModuleFileNameW(nullptr, self, MAX_PATH);
  REQUIRE(size > 0);
  REQUIRE(size < MAX_PATH);
  const std::string folder = TempDir(), in = folder + "/in", out = folder + "/out",
                    err = folder + "/err";
  WriteFile(in, "");
  const int status = test::RunProgram({{Utf8({self, size}), what}, "", in, out, err});
  return {status, ReadFile(err)};
}

void Raise(DWORD code) {
  // Read, from this address, with this status of the disk.
  const ULONG_PTR facts[] = {0, 0x10000, 0xC000009C};
  RaiseException(code, 0, 3, facts);
}

int Child(const char* what) {
  InstallFileFaultHandler();
  if (std::strcmp(what, "fault") == 0) Raise(EXCEPTION_IN_PAGE_ERROR);
  if (std::strcmp(what, "fault-in-threads") == 0) {
    std::thread others[4];
    for (std::thread& other : others) other = std::thread([] { Raise(EXCEPTION_IN_PAGE_ERROR); });
    for (std::thread& other : others) other.join();
  }
  // C++'s own are exceptions of the system, too.
  try {
    throw 5;
  } catch (int number) {
    return number;
  }
}

TEST_CASE("a page that cannot be read: one line and the status") {
  for (const char* what : {"fault", "fault-in-threads"}) {
    const End end = RunAs(what);
    CHECK(end.status == kFileFaultStatus);
    CHECK(end.err == std::string(kFileFaultLine));
  }
}

TEST_CASE("other exceptions go their way") {
  const End end = RunAs("none");
  CHECK(end.status == 5);
  CHECK(end.err == std::string());
}

}  // namespace
}  // namespace glint

int main(int argc, char** argv) {
  if (argc == 2 && argv[1][0] != '-') return glint::Child(argv[1]);
  return doctest::Context(argc, argv).run();
}
