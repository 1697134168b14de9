#pragma once
#include <string>

namespace glint {

// Folder of golden outputs (environment variable GLINT_REFERENCE_DIR, set by meson), or empty.
std::string ReferenceDir();

// Folder of the project's sources (environment variable GLINT_SOURCE_DIR, set by meson).
std::string SourceDir();

// True, and says so on stdout, if the folder is absent. CI greps for "skipped:" and fails on it.
bool SkipWithoutReference(const char* what);

// A fresh folder, removed when the process exits.
std::string TempDir();

std::string ReadFile(const std::string& path);                         // throws if it cannot
void WriteFile(const std::string& path, const std::string& contents);  // throws if it cannot

}  // namespace glint
