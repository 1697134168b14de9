#pragma once

namespace glint {

// The exit status of a program that a mapped file was taken away from.
inline constexpr int kFileFaultStatus = 3;

// From now on a SIGBUS (a mapped file was cut short, or its disk failed, between two checks of the
// session) prints one line and ends the program with kFileFaultStatus. Programs may install such a
// handler; the library never does, since signals belong to the process.
void InstallFileFaultHandler();

}  // namespace glint
