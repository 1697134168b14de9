// Ctrl-C in a console of Windows: it cancels the session that works, and without a handler ends the
// program as it would any other.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <chrono>
#include <vector>

#include "examples/commands/interrupt.h"
#include "examples/commands/terminal.h"
#include "lib/session.h"
#include "lib/system/windows.h"
#include "lib/text/chat.h"
#include "tests/test_util.h"

namespace glint {
namespace {

constexpr DWORD kControlC = 0xC000013A;  // STATUS_CONTROL_C_EXIT

// This program once more, in a console of its own: Ctrl-C goes to all programs of a console.
DWORD RunAs(const wchar_t* what) {
  wchar_t self[MAX_PATH];
  const DWORD size = GetModuleFileNameW(nullptr, self, MAX_PATH);
  REQUIRE(size > 0);
  REQUIRE(size < MAX_PATH);
  std::wstring command = L"\"" + std::wstring(self, size) + L"\" " + what;
  STARTUPINFOW start = {};
  start.cb = sizeof start;
  PROCESS_INFORMATION child = {};
  REQUIRE(CreateProcessW(nullptr, command.data(), nullptr, nullptr, FALSE, CREATE_NO_WINDOW,
                         nullptr, nullptr, &start, &child));
  DWORD status = 0;
  WaitForSingleObject(child.hProcess, INFINITE);
  GetExitCodeProcess(child.hProcess, &status);
  CloseHandle(child.hProcess);
  CloseHandle(child.hThread);
  return status;
}

// The system's own answer to Ctrl-C ended it. Wine gives it the status 0; a child returns that
// never.
bool IsEndByControlC(DWORD status) { return status == kControlC || status == 0; }

// Returns only if nothing ends the program.
int EndBy(const char* what) {
  if (std::string(what) == "end") EndAsInterrupted();
  GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0);
  Sleep(20000);
  return 1;
}

int Child(const char* what) {
  SetConsoleCtrlHandler(nullptr, FALSE);  // whoever started the tests may have it ignored
  if (std::string(what) != "session") return EndBy(what);
  const auto model = Model::Open(SourceDir() + "/examples/tiny/tiny.glint");
  SessionOptions options;
  options.threads = 2;
  Session session(*model, options);
  const std::vector<int32_t> prompt =
      model->chat()->Build({{{"user", "What is \"cat\" in Chinese?"}}}, nullptr).ids;
  {
    const InterruptScope interrupts(&session);
    if (!GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)) return 2;
    const auto begin = std::chrono::steady_clock::now();
    Status status = Status::kOk;
    while (status == Status::kOk) {
      status = session.Start(prompt);
      if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(20)) return 3;
    }
    if (status != Status::kCancelled || InterruptScope::Count() != 1) return 4;
    session.ClearCancel();
    if (session.Start(prompt) != Status::kOk) return 5;
  }
  return EndBy("");
}

TEST_CASE("Ctrl-C cancels the session, and afterwards ends the program again") {
  const DWORD status = RunAs(L"session");
  CAPTURE(status);
  CHECK(IsEndByControlC(status));
}

TEST_CASE("Ctrl-C ends a program without a handler, and a program that ends as if by it") {
  CHECK(IsEndByControlC(RunAs(L"none")));
  CHECK(RunAs(L"end") == kControlC);
}

}  // namespace
}  // namespace glint

int main(int argc, char** argv) {
  if (argc == 2 && argv[1][0] != '-') return glint::Child(argv[1]);
  return doctest::Context(argc, argv).run();
}
