#include "examples/commands/written.h"

#include "examples/commands/console.h"
#include "examples/commands/interrupt.h"
#include "formats/glint_file.h"
#include "lib/error.h"

namespace glint {
namespace {

constexpr const char* kConvertTypes[] = {"f32",  "f16",  "bf16",  "int8",
                                          "int6", "int4x", "int4", "int3"};

}  // namespace

bool IsConvertType(const std::string& name) {
  for (const char* type : kConvertTypes) {
    if (name == type) return true;
  }
  return false;
}

std::string ConvertTypes() {
  std::string text;
  for (const char* type : kConvertTypes) text += (text.empty() ? "" : ", ") + std::string(type);
  return text;
}

std::string CheckConvertType(const std::string& name) {
  return IsConvertType(name) ? "" : "unknown type " + Quoted(name) + "; known: " + ConvertTypes();
}

double RunWithProgress(const std::string& label,
                       const std::function<void(std::function<void(double)> progress)>& work) {
  const double start = Now();
  const InterruptScope interrupts;
  ProgressBar bar(label);
  work([&](double share) {
    if (InterruptScope::Count() != 0) throw Interrupted();
    bar.Update(share);
  });
  return Now() - start;
}

void WriteWithProgress(const std::string& label, const std::string& output,
                       const std::function<void(std::function<void(double)> progress)>& write) {
  const double seconds = RunWithProgress(label, write);
  const std::unique_ptr<GlintFile> file = GlintFile::Open(output);
  uint64_t matrix_bytes = 0, matrix_elements = 0;
  for (size_t i = 0; i < file->tensors().size(); ++i) {
    const Tensor& tensor = file->tensors()[i];
    if (!tensor.IsMatrix() || !file->TiedTo(i).empty()) continue;
    matrix_bytes += tensor.bytes;
    matrix_elements += tensor.shape[0] * tensor.shape[1];
  }
  const double bits = matrix_elements == 0 ? 0
                                           : 8 * static_cast<double>(matrix_bytes) /
                                                 static_cast<double>(matrix_elements);
  Print(OneLine(output) + ": " + HumanBytes(file->bytes()) +
        Format(", %.2f bits per weight, %.1f s\n", bits, seconds));
}

}  // namespace glint
