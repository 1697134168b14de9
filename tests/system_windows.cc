#include <algorithm>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <utility>

#include "lib/system/file.h"
#include "lib/system/windows.h"
#include "tests/stack.h"
#include "tests/system.h"

namespace glint::test {
namespace {

// As CommandLineToArgvW reads it.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  size_t slashes = 0;
  for (const char c : text) {
    if (c == '"') out.append(slashes + 1, '\\');
    slashes = c == '\\' ? slashes + 1 : 0;
    out += c;
  }
  return out.append(slashes, '\\') + "\"";
}

// The variables of "A=1 B='2 3'", set while it lives.
class Variables {
 public:
  explicit Variables(const std::string& text) {
    std::string word;
    bool quoted = false;
    for (const char c : text + " ") {
      if (c == '\'') {
        quoted = !quoted;
      } else if (c == ' ' && !quoted) {
        Set(std::exchange(word, ""));
      } else {
        word += c;
      }
    }
  }
  ~Variables() {
    for (const auto& [name, value] : before_) SetVariable(name.c_str(), value);
  }

 private:
  void Set(const std::string& word) {
    const size_t at = word.find('=');
    if (at == std::string::npos) return;
    const std::string name = word.substr(0, at);
    before_.emplace_back(name, Environment(name.c_str()));
    SetVariable(name.c_str(), word.substr(at + 1));
  }
  std::vector<std::pair<std::string, std::string>> before_;
};

// A file that the child gets as one of its streams.
HANDLE Inherited(const std::string& path, DWORD access, DWORD how) {
  SECURITY_ATTRIBUTES inherit = {sizeof inherit, nullptr, TRUE};
  return CreateFileW(WidePath(path).c_str(), access, FILE_SHARE_READ, &inherit, how, 0, nullptr);
}

}  // namespace

void SetVariable(const char* name, const std::string& value) {
  _putenv_s(name, value.c_str());
  SetEnvironmentVariableW(Wide(name).c_str(), value.empty() ? nullptr : Wide(value).c_str());
}
void ClearVariable(const char* name) { SetVariable(name, ""); }

std::string MakeFolder() {
  static int number = 0;
  for (;;) {
    std::string path = JoinPath(TemporaryFolder(), "glint-test-" + std::to_string(ProcessId()) +
                                                       "-" + std::to_string(++number));
    std::replace(path.begin(), path.end(), '\\', '/');
    if (CreateDirectoryW(WidePath(path).c_str(), nullptr)) return path;
    if (GetLastError() != ERROR_ALREADY_EXISTS) {  // of a killed process with the same number
      throw std::runtime_error("cannot make " + path + ": " + LastSystemError());
    }
  }
}

std::vector<std::string> NoRegularFiles(const std::string&, const std::string&) { return {"NUL"}; }

uint64_t BytesOnDisk(const std::string& path) {
  DWORD high = 0;
  const DWORD low = GetCompressedFileSizeW(WidePath(path).c_str(), &high);
  return uint64_t{high} << 32 | low;
}

int RunProgram(const ProgramRun& run) {
  const Variables variables(run.environment);
  std::string command;
  for (const std::string& arg : run.command) command += (command.empty() ? "" : " ") + Quoted(arg);
  std::wstring wide = Wide(command);
  STARTUPINFOW start = {};
  start.cb = sizeof start;
  start.dwFlags = STARTF_USESTDHANDLES;
  start.hStdInput = Inherited(run.in, GENERIC_READ, OPEN_EXISTING);
  start.hStdOutput = Inherited(run.out, GENERIC_WRITE, CREATE_ALWAYS);
  start.hStdError = Inherited(run.err, GENERIC_WRITE, CREATE_ALWAYS);
  PROCESS_INFORMATION child = {};
  const bool started = CreateProcessW(nullptr, wide.data(), nullptr, nullptr, TRUE, 0, nullptr,
                                      nullptr, &start, &child);
  const DWORD error = GetLastError();
  for (const HANDLE handle : {start.hStdInput, start.hStdOutput, start.hStdError}) {
    CloseHandle(handle);
  }
  if (!started) throw std::runtime_error("cannot start " + command + ": " + SystemErrorText(error));
  DWORD status = 0;
  WaitForSingleObject(child.hProcess, INFINITE);
  GetExitCodeProcess(child.hProcess, &status);
  CloseHandle(child.hProcess);
  CloseHandle(child.hThread);
  return status < 256 ? static_cast<int>(status) : 1000 + static_cast<int>(status & 0xFFFF);
}

// pthread_attr_setstacksize does no more than to touch as much at once.
bool RunOnStack(size_t bytes, const std::function<void()>& fn) {
  const auto run = [](void* argument) -> DWORD {
    (*static_cast<const std::function<void()>*>(argument))();
    return 0;
  };
  const HANDLE thread = CreateThread(nullptr, bytes, run, const_cast<std::function<void()>*>(&fn),
                                     STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  if (!thread) return false;
  WaitForSingleObject(thread, INFINITE);
  CloseHandle(thread);
  return true;
}

}  // namespace glint::test
