#pragma once
#include <functional>
#include <string>

// What convert and synth share: types to choose from, and the way from start to the last line.
namespace glint {

bool IsConvertType(const std::string& name);
std::string ConvertTypes();  // "f32, f16, ..."
// For CLI11: empty if `name` is one, else what is wrong.
std::string CheckConvertType(const std::string& name);

// Runs `work` with a progress bar; Ctrl-C leaves it cleanly, by way of what it calls with the share
// that is done. Returns the seconds that it took.
double RunWithProgress(const std::string& label,
                       const std::function<void(std::function<void(double)> progress)>& work);

// Runs `write` with a progress bar; Ctrl-C ends it cleanly. Then says what the model file has
// become.
void WriteWithProgress(const std::string& label, const std::string& output,
                       const std::function<void(std::function<void(double)> progress)>& write);

}  // namespace glint
