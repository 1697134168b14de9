#pragma once

namespace glint {

// The exit status of a program that a mapped file was taken away from, and what it says.
inline constexpr int kFileFaultStatus = 3;
inline constexpr char kFileFaultLine[] =
    "glint: a model file was cut short, or its disk failed, while it was in use "
    "(--load copy keeps a model in memory)\n";

// From now on a page of a mapped file that cannot be read (the file was cut short, or its disk
// failed, between two checks of the session) prints that line and ends the program with that
// status. On POSIX it is a SIGBUS; on Windows, which keeps a mapped file from being cut, an
// exception for a failing disk or network. Programs may install such a handler; the library never
// does, since signals and exceptions belong to the process. There is a file_fault_posix.cc and a
// file_fault_windows.cc.
void InstallFileFaultHandler();

}  // namespace glint
