#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "examples/commands/machine_peaks.h"
#include "lib/profile.h"
#include "lib/session.h"

// What `bench` measures, and the numbers it comes to. bench_report.h says them.
namespace glint {

// Ids that stand for text: any but the special ones.
class RandomIds {
 public:
  explicit RandomIds(const Model& model) : model_(model) {}
  int32_t Next();
  std::vector<int32_t> Prompt(size_t n);  // n >= 3; ends as the model's prompts do

 private:
  const Model& model_;
  uint64_t state_ = 1;
};

// The same work done again and again.
struct Timing {
  size_t tokens = 0;                  // of a prompt; decoded one by one
  size_t context = 0;                 // decode: tokens before the first of them
  std::vector<double> seconds;        // of each run or token, sorted
  double macs = 0, bytes = 0;         // of one: multiply-adds of linear ops; weights and cache read
  std::vector<ProfileEntry> profile;  // of all of them together; empty if not asked for

  // The value below which this share of the times lie: 0.5 is the median.
  double Quantile(double share) const;
  double Total() const;
};

// One row of a sweep. A part that the sweep does not ask for is not there.
struct Measurement {
  size_t threads = 0;
  MachinePeaks before, after;  // of what is measured here
  double load_ms = 0;          // from opening the file to a session that is ready
  double first_token_ms = 0;   // of the short prompt right after that
  std::optional<Timing> prefill, decode;
  double anonymous_mib = 0;

  // The machine changes while it is measured: others on the same host take bandwidth, and give it
  // back. A peak taken once may be lower than what the model had, and its share above 100%. So the
  // peaks are taken before and after, and the share is of the greater.
  MachinePeaks Peaks() const;
};

// A prompt of so many tokens.
inline constexpr size_t kFirstPrompt = 16;
double FirstTokenSeconds(Session& session, RandomIds& ids);

// Reads prompts of `n` tokens, `runs` times. 0: three times, but not again after half a minute.
Timing MeasurePrefill(Session& session, RandomIds& ids, size_t n, size_t runs, bool profile);

// Decodes `n` tokens after `context` tokens, which it reads first if the session has others.
Timing MeasureDecode(Session& session, RandomIds& ids, size_t context, size_t n, bool profile);

// Memory of this process that is no file's.
double AnonymousMib();

}  // namespace glint
