#pragma once
#include <string>
#include <string_view>
#include <vector>

// The program's streams, arguments and Ctrl-C as the operating system has them; there is a
// terminal_posix.cc and a terminal_windows.cc. All text is UTF-8. console.h is what commands use.
namespace glint {

// To be called first: bytes go through the streams unchanged, and a file that grows too large is an
// error of writing.
void SetUpProcess();
// What main got, in UTF-8. Without the program's name.
std::vector<std::string> ProgramArguments(int argc, char** argv);

bool StdinIsTerminal();
bool StdoutIsTerminal();
bool StderrIsTerminal();

// Windows' console shows text of any language; a pipe or a file gets the bytes.
void WriteOut(std::string_view text);
bool FlushOut();  // false if something could not be written
void WriteError(std::string_view text);

enum class InputLine { kRead, kEnd, kInterrupted };
// The next line of the standard input, without its end. kInterrupted: Ctrl-C came meanwhile, or the end.
InputLine ReadInputLine(std::string* line);
std::string ReadAllInput();

// From now on Ctrl-C calls `handler` and ends the wait for a line; null: it ends the program again. Does
// nothing if whoever started the program wants Ctrl-C ignored. The handler must do no more than a signal's
// may, and be ready to run at the same time as everything else.
void CatchInterrupts(void (*handler)());
// Ends the program as Ctrl-C would have, so that a script that called us ends too.
[[noreturn]] void EndAsInterrupted();

}  // namespace glint
