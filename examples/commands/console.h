#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "examples/commands/terminal.h"

// How the program talks: plain output, notes, progress bars and aligned columns. Nothing else
// prints.
namespace glint {

#if defined(__MINGW32__)
#define GLINT_FORMAT [[gnu::format(gnu_printf, 1, 2)]]  // not what Microsoft's printf takes
#else
#define GLINT_FORMAT [[gnu::format(printf, 1, 2)]]
#endif

// A printf into a string.
GLINT_FORMAT std::string Format(const char* format, ...);

void Print(std::string_view text);  // to stdout, as it is
void Flush();                       // stdout; throws Error if something could not be written
// One line to stderr: "glint: note: ...".
void Note(const std::string& text);

// `text` with what a terminal would act on (control characters but newline and tab, invalid UTF-8,
// marks that reverse the direction) written as \xNN.
std::string ForTerminal(std::string_view text);
// The same, newline and tab too: one line.
std::string OneLine(std::string_view text);

std::string HumanBytes(uint64_t bytes);  // "3.4 GiB"
std::string HumanCount(uint64_t count);  // "6.2 B" (thousand millions), "412 K"

// A bar on stderr while it lives, if that is a terminal and the work takes more than a moment.
// Update may be called from any thread.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();  // takes the bar away
  ProgressBar(const ProgressBar&) = delete;

  void Update(double share);  // 0..1
  std::function<void(double)> Callback();

 private:
  std::string label_;
  double start_;
  std::mutex mutex_;
  int drawn_ = -1;  // per mille
};

// Seconds on a clock that only goes forward.
double Now();

// Rows of text in columns, each as wide as it needs; columns of `right` are aligned right.
void PrintColumns(const std::vector<std::vector<std::string>>& rows,
                  const std::vector<bool>& right);

}  // namespace glint
