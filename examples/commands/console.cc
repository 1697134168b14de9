#include "examples/commands/console.h"

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>

#include "lib/error.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr double kPatience = 0.3;  // seconds before a bar appears
constexpr int kBarWidth = 30;

// What Quoted() hides too: control characters, separators of lines, marks of direction.
bool IsUnsafe(int32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200E && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

std::string Escaped(std::string_view text, std::string_view allowed) {
  std::string out;
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    const std::string_view bytes = text.substr(0, point.bytes);
    if (!IsUnsafe(point.value) || allowed.find(bytes[0]) != allowed.npos) {
      out += bytes;
    } else {
      for (const char byte : bytes) out += Format("\\x%02x", static_cast<uint8_t>(byte));
    }
    text.remove_prefix(point.bytes);
  }
  return out;
}

std::string Scaled(double value, double step, const char* const* units, int n_units) {
  int unit = 0;
  for (; value >= step && unit + 1 < n_units; ++unit) value /= step;
  const int digits = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return Format("%.*f%s%s", digits, value, *units[unit] ? " " : "", units[unit]);
}

}  // namespace

std::string Format(const char* format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  const int length = std::vsnprintf(nullptr, 0, format, args);
  va_end(args);
  std::string text(length > 0 ? static_cast<size_t>(length) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

void Print(std::string_view text) {
  WriteOut(text);
}

void Flush() {
  if (!FlushOut()) throw Error("standard output: cannot write");
}

void Note(const std::string& text) {
  WriteError("glint: note: " + OneLine(text) + "\n");
}

std::string ForTerminal(std::string_view text) {
  return Escaped(text, "\n\t");
}
std::string OneLine(std::string_view text) {
  return Escaped(text, "");
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  return Scaled(static_cast<double>(bytes), 1024, kUnits, 7);
}

std::string HumanCount(uint64_t count) {
  static constexpr const char* kUnits[] = {"", "K", "M", "B", "T"};
  return Scaled(static_cast<double>(count), 1000, kUnits, 5);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), start_(Now()) {}

ProgressBar::~ProgressBar() {
  if (drawn_ >= 0) WriteError("\r\x1b[K");
}

void ProgressBar::Update(double share) {
  static const bool is_terminal = StderrIsTerminal();
  if (!is_terminal) return;
  const std::lock_guard lock(mutex_);
  share = std::clamp(share, 0.0, 1.0);
  const double seconds = Now() - start_;
  const int now = static_cast<int>(share * 1000);
  if (now <= drawn_ || (drawn_ < 0 && seconds < kPatience)) return;
  drawn_ = now;
  const int full = static_cast<int>(share * kBarWidth);
  std::string line = "\r" + label_ + " [" + std::string(static_cast<size_t>(full), '=') +
                     std::string(static_cast<size_t>(kBarWidth - full), ' ') +
                     Format("] %3d%%", now / 10);
  if (share > 0.02) {
    const int left = static_cast<int>(seconds * (1 - share) / share + 0.5);
    line += Format("  %d:%02d left", left / 60, left % 60);
  }
  WriteError(line + "\x1b[K");
}

std::function<void(double)> ProgressBar::Callback() {
  return [this](double share) { Update(share); };
}

void PrintColumns(const std::vector<std::vector<std::string>>& rows,
                  const std::vector<bool>& right) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - row[i].size(), ' ');
      const bool at_right = i < right.size() && right[i];
      line += (i == 0 ? "" : "  ") + (at_right ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    Print(line + "\n");
  }
}

}  // namespace glint
