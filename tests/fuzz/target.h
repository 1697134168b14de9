#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace glint::fuzz {

// A fuzz target reads bytes of a stranger by one entrance of the library. It may throw Error, whose
// message is judged, and nothing else. What must hold is said with Require. One file per target;
// libFuzzer calls it through entry.cc, the replay program (every build has it) through this table.
using Input = std::span<const uint8_t>;
struct Target {
  const char* name;  // also of its folder in corpus/
  void (*run)(Input input);
};
std::span<const Target> Targets();  // targets.cc

// Runs a target on one input: an Error is an answer, if its message is one short line without raw
// bytes. Anything else that is thrown comes out: std::logic_error where something did not hold.
void RunTarget(void (*run)(Input), Input input);

// Throws std::logic_error(what).
void Require(bool holds, const char* what);

inline std::string_view Text(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

// Writes the input to a file of this name in the process's own folder (in memory, where the system
// has one: run.sh sets TMPDIR) and gives its path.
std::string AsFile(Input input, const std::string& name);
// The folder itself.
const std::string& Folder();

// Starts from `text`'s first bytes: parts of an input that ask for several. At the end they are
// empty or 0.
class Parts {
 public:
  explicit Parts(Input input) : rest_(input) {}
  uint8_t Byte();
  uint32_t Below(uint32_t limit);  // of two bytes; limit > 0
  std::string_view Line();         // up to a newline, which is taken too
  Input Rest() const { return rest_; }

 private:
  Input rest_;
};

void FuzzAdapter(Input input);
void FuzzGgufModel(Input input);
void FuzzGguf(Input input);
void FuzzGlint(Input input);
void FuzzHfFolder(Input input);
void FuzzJinja(Input input);
void FuzzJson(Input input);
void FuzzNpy(Input input);
void FuzzPickle(Input input);
void FuzzSafetensors(Input input);
void FuzzSentencePiece(Input input);
void FuzzSession(Input input);
void FuzzText(Input input);
void FuzzTokenizerJson(Input input);
void FuzzTorch(Input input);
void FuzzDequant(Input input);

}  // namespace glint::fuzz
