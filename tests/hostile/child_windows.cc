#include <cstdio>

#include "lib/system/windows.h"
#include "tests/hostile/child.h"
#include "tests/stack.h"
// After windows.h; version 2 is in kernel32.
#define PSAPI_VERSION 2
#include <psapi.h>

namespace glint::hostile {
namespace {

const char* g_name = "";

LONG CALLBACK TellCrash(EXCEPTION_POINTERS* exception) {
  std::printf("FAILED %s: exception %lx\n", g_name,
              static_cast<unsigned long>(exception->ExceptionRecord->ExceptionCode));
  std::fflush(stdout);
  TerminateProcess(GetCurrentProcess(), 1);
  return EXCEPTION_CONTINUE_SEARCH;
}

long PeakKib() {
  PROCESS_MEMORY_COUNTERS counters = {};
  counters.cb = sizeof counters;
  GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters);
  return static_cast<long>(counters.PeakWorkingSetSize >> 10);
}

}  // namespace

Report RunApart(const std::string& name, const std::function<std::string()>& work) {
  g_name = name.c_str();
  SetUnhandledExceptionFilter(TellCrash);
  const long before = PeakKib();
  Report report;
  if (!test::RunOnStack(kStackBytes, [&] { report.outcome = work(); })) report.end = "no thread";
  report.kib = PeakKib() - before;
  return report;
}

}  // namespace glint::hostile
