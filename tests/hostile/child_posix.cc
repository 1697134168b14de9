#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/hostile/child.h"
#include "tests/stack.h"

namespace glint::hostile {
namespace {

long PeakKib() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// In the child: never returns.
[[noreturn]] void Child(const std::function<std::string()>& work, int out) {
  const rlimit cpu = {5, 5};
  setrlimit(RLIMIT_CPU, &cpu);
  const rlimit core = {0, 0};
  setrlimit(RLIMIT_CORE, &core);
  if (!kIsAsan) {
    const rlimit addresses = {rlim_t{1} << 30, rlim_t{1} << 30};
    setrlimit(RLIMIT_AS, &addresses);
  }
  const long before = PeakKib();
  std::string outcome;
  if (!test::RunOnStack(kStackBytes, [&] { outcome = work(); })) _exit(3);
  const std::string text = std::to_string(PeakKib() - before) + " " + outcome;
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(out, text.data() + done, text.size() - done);
    if (n <= 0) _exit(4);
    done += static_cast<size_t>(n);
  }
  _exit(0);
}

std::string ReadAll(int in) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  return text;
}

}  // namespace

Report RunApart(const std::string&, const std::function<std::string()>& work) {
  int ends[2];
  if (pipe(ends) != 0) return {"no pipe", ""};
  const pid_t child = fork();
  if (child < 0) return {"no process", ""};
  if (child == 0) {
    close(ends[0]);
    Child(work, ends[1]);
  }
  close(ends[1]);
  const std::string text = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return {"signal " + std::to_string(WTERMSIG(status)), ""};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return {"exit status " + std::to_string(status), ""};
  }
  const size_t space = text.find(' ');
  if (space == text.npos) return {"no report", ""};
  return {"", text.substr(space + 1), std::stol(text.substr(0, space))};
}

}  // namespace glint::hostile
