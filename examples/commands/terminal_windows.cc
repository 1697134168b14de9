#include <fcntl.h>
#include <io.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "examples/commands/terminal.h"
#include "lib/system/windows.h"
// After windows.h.
#include <shellapi.h>

namespace glint {
namespace {

std::atomic<void (*)()> g_handler{nullptr};

std::atomic<int> g_interrupts{0};

BOOL WINAPI HandleInterrupt(DWORD event) {
  const auto handler = g_handler.load();
  if (!handler || (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)) return FALSE;
  handler();
  g_interrupts.fetch_add(1);
  return TRUE;
}

// The wait for a line ends before the handler, which runs in a thread of its own, has been called.
InputLine AwaitInterrupt(int before) {
  constexpr int kPatience = 1000;  // ms
  for (int i = 0; i < kPatience && g_interrupts.load() == before; ++i) Sleep(1);
  return InputLine::kInterrupted;
}

// A handle that is a console, which takes UTF-16 whatever its code page.
bool IsConsole(DWORD which) {
  DWORD mode;
  return GetConsoleMode(GetStdHandle(which), &mode) != 0;
}

// The bytes at the end of `text` that begin a character without ending it.
size_t OpenEnd(std::string_view text) {
  for (size_t n = 1; n <= 3 && n <= text.size(); ++n) {
    const uint8_t byte = static_cast<uint8_t>(text[text.size() - n]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t length = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return length > n ? n : 0;
  }
  return 0;
}

// One of the two output streams. A character may come in two pieces.
class Stream {
 public:
  Stream(DWORD which, std::FILE* file) : which_(which), file_(file), is_console_(IsConsole(which)) {
    // Escape sequences erase the rest of a line; consoles before Windows 10 do not know them.
    DWORD mode;
    if (is_console_ && GetConsoleMode(GetStdHandle(which), &mode)) {
      SetConsoleMode(GetStdHandle(which), mode | ENABLE_PROCESSED_OUTPUT |
                                              ENABLE_VIRTUAL_TERMINAL_PROCESSING);
    }
  }

  bool is_console() const { return is_console_; }

  void Write(std::string_view text) {
    if (!is_console_) {
      std::fwrite(text.data(), 1, text.size(), file_);
      return;
    }
    rest_ += text;
    const size_t open = OpenEnd(rest_);
    std::wstring wide = Wide(std::string_view(rest_).substr(0, rest_.size() - open));
    rest_.erase(0, rest_.size() - open);
    for (size_t begin = 0; begin < wide.size();) {
      DWORD n = 0;
      const DWORD count = static_cast<DWORD>(wide.size() - begin);
      if (!WriteConsoleW(GetStdHandle(which_), wide.data() + begin, count, &n, nullptr) || n == 0) {
        failed_ = true;
        return;
      }
      begin += n;
    }
  }

  bool Flush() { return std::fflush(file_) == 0 && std::ferror(file_) == 0 && !failed_; }

 private:
  DWORD which_;
  std::FILE* file_;
  bool is_console_, failed_ = false;
  std::string rest_;
};

Stream& Out() {
  static Stream stream(STD_OUTPUT_HANDLE, stdout);
  return stream;
}
Stream& Err() {
  static Stream stream(STD_ERROR_HANDLE, stderr);
  return stream;
}

constexpr wchar_t kCtrlZ = 0x1A;

// The console gives a line with its end; a longer one than the buffer in pieces.
InputLine ReadConsoleLine(std::string* line) {
  const int interrupts = g_interrupts.load();
  std::wstring wide;
  while (wide.find(L'\n') == wide.npos) {
    wchar_t piece[1024];
    DWORD n = 0;
    SetLastError(0);
    if (!ReadConsoleW(GetStdHandle(STD_INPUT_HANDLE), piece, 1024, &n, nullptr)) {
      return InputLine::kEnd;
    }
    if (n == 0) {
      return GetLastError() == ERROR_OPERATION_ABORTED ? AwaitInterrupt(interrupts)
                                                       : InputLine::kEnd;
    }
    wide.append(piece, n);
    if (wide[0] == kCtrlZ) return InputLine::kEnd;
  }
  wide.erase(wide.find_first_of(L"\r\n"));
  *line = Utf8(wide);
  return InputLine::kRead;
}

}  // namespace

void SetUpProcess() {
  for (const int stream : {0, 1, 2}) _setmode(stream, _O_BINARY);
  // No box that waits for a click where a drive has no disk, or after a crash.
  SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
}

// main's own are in the system's code page, which has no Chinese on most machines.
std::vector<std::string> ProgramArguments(int, char**) {
  int n = 0;
  wchar_t** const wide = CommandLineToArgvW(GetCommandLineW(), &n);
  std::vector<std::string> args;
  for (int i = 1; wide && i < n; ++i) args.push_back(Utf8(wide[i]));
  LocalFree(wide);
  return args;
}

bool StdinIsTerminal() {
  return IsConsole(STD_INPUT_HANDLE);
}
bool StdoutIsTerminal() {
  return Out().is_console();
}
bool StderrIsTerminal() {
  return Err().is_console();
}

void WriteOut(std::string_view text) {
  Out().Write(text);
}
bool FlushOut() {
  return Out().Flush();
}
void WriteError(std::string_view text) {
  Err().Write(text);
}

InputLine ReadInputLine(std::string* line) {
  if (StdinIsTerminal()) return ReadConsoleLine(line);
  if (!std::getline(std::cin, *line)) return InputLine::kEnd;
  if (line->ends_with('\r')) line->pop_back();
  return InputLine::kRead;
}

std::string ReadAllInput() {
  if (!StdinIsTerminal()) return {std::istreambuf_iterator<char>(std::cin), {}};
  std::string all;
  for (std::string line; ReadConsoleLine(&line) == InputLine::kRead;) all += line + "\n";
  return all;
}

void CatchInterrupts(void (*handler)()) {
  if (!g_handler.exchange(handler) == !handler) return;
  SetConsoleCtrlHandler(HandleInterrupt, handler != nullptr);
}

void EndAsInterrupted() {
  ExitProcess(static_cast<UINT>(STATUS_CONTROL_C_EXIT));
}

}  // namespace glint
