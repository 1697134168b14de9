#include <atomic>

#include "examples/commands/file_fault.h"
#include "lib/system/windows.h"

namespace glint {
namespace {

// Called in the thread that met it, before any frame of it is asked; several may meet it at once.
// What it calls goes to the system without a lock or memory of ours.
LONG CALLBACK HandleFileFault(EXCEPTION_POINTERS* exception) {
  if (exception->ExceptionRecord->ExceptionCode != EXCEPTION_IN_PAGE_ERROR) {
    return EXCEPTION_CONTINUE_SEARCH;
  }
  static std::atomic_flag is_taken;
  while (is_taken.test_and_set()) Sleep(INFINITE);  // another thread says it and ends the program
  DWORD n;
  WriteFile(GetStdHandle(STD_ERROR_HANDLE), kFileFaultLine, sizeof kFileFaultLine - 1, &n, nullptr);
  TerminateProcess(GetCurrentProcess(), kFileFaultStatus);
  return EXCEPTION_CONTINUE_SEARCH;
}

}  // namespace

// A page that cannot be read is an exception there. Nothing else in the program may want to handle
// that one, so ours is asked first.
void InstallFileFaultHandler() { AddVectoredExceptionHandler(1, HandleFileFault); }

}  // namespace glint
