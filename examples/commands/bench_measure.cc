#include "examples/commands/bench_measure.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>

#include "examples/commands/console.h"
#include "examples/commands/options.h"
#include "lib/system/pages.h"

namespace glint {
namespace {

constexpr size_t kPrefillRuns = 3;
constexpr double kPrefillSeconds = 30;  // no further run after so long

// Records a session's runs of one plan while it lives, if that is wanted.
class ProfileScope {
 public:
  ProfileScope(Session& session, const Plan& plan, bool wanted) : session_(session) {
    if (wanted) profile_ = std::make_unique<Profile>(plan);
    session_.SetProfile(profile_.get());
  }
  ~ProfileScope() { session_.SetProfile(nullptr); }
  ProfileScope(const ProfileScope&) = delete;
  std::vector<ProfileEntry> Entries() const {
    return profile_ ? Summarize(*profile_, session_.cache()) : std::vector<ProfileEntry>();
  }

 private:
  Session& session_;
  std::unique_ptr<Profile> profile_;
};

double SecondsOfStart(Session& session, const std::vector<int32_t>& prompt) {
  session.Forget();  // or what the last run has read would not be read again
  const double start = Now();
  Expect(session.Start(prompt), session.model());
  return Now() - start;
}

}  // namespace

int32_t RandomIds::Next() {
  for (int tries = 0;; ++tries) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const auto id = static_cast<int32_t>((state_ >> 33) % model_.vocab_size());
    const PromptIds& ids = model_.prompt_ids();
    const bool special = id == ids.mask || id == ids.gmask || id == ids.sop || id == ids.eop;
    if (!special || tries == 100) return id;
  }
}

std::vector<int32_t> RandomIds::Prompt(size_t n) {
  std::vector<int32_t> prompt(n);
  for (int32_t& id : prompt) id = Next();
  if (model_.prompt_ids().bos >= 0) prompt[0] = model_.prompt_ids().bos;
  if (model_.prompt_ids().gmask >= 0 && model_.prompt_ids().sop >= 0) {
    prompt[n - 2] = model_.prompt_ids().gmask;
    prompt[n - 1] = model_.prompt_ids().sop;
  }
  return prompt;
}

double Timing::Quantile(double share) const {
  const double at = share * static_cast<double>(seconds.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, seconds.size() - 1);
  return std::lerp(seconds[below], seconds[above], at - static_cast<double>(below));
}

double Timing::Total() const {
  return std::accumulate(seconds.begin(), seconds.end(), 0.0);
}

MachinePeaks Measurement::Peaks() const {
  return {std::max(before.read_gb_per_s, after.read_gb_per_s),
          std::max(before.dot_gmac_per_s, after.dot_gmac_per_s),
          std::max(before.file_read_gb_per_s, after.file_read_gb_per_s)};
}

double FirstTokenSeconds(Session& session, RandomIds& ids) {
  return SecondsOfStart(session, ids.Prompt(std::min(kFirstPrompt, session.context())));
}

Timing MeasurePrefill(Session& session, RandomIds& ids, size_t n, size_t runs, bool profile) {
  const Model::Cost& cost = session.model().cost();
  const double tokens = static_cast<double>(n);
  const auto chunks = static_cast<double>((n + session.chunk() - 1) / session.chunk());
  Timing timing;
  timing.tokens = n;
  timing.macs = static_cast<double>(cost.linear_parameters - cost.head_parameters) * tokens +
                static_cast<double>(cost.head_parameters);
  // Every chunk reads the weights anew.
  timing.bytes = static_cast<double>(cost.chunk_bytes - cost.head_bytes) * chunks +
                 static_cast<double>(cost.head_bytes);
  const std::vector<int32_t> prompt = ids.Prompt(n);
  const ProfileScope scope(session, session.prompt_plan(), profile);
  const double begin = Now();
  for (size_t run = 0; run < (runs != 0 ? runs : kPrefillRuns); ++run) {
    if (runs == 0 && run != 0 && Now() - begin > kPrefillSeconds) break;
    timing.seconds.push_back(SecondsOfStart(session, prompt));
  }
  std::sort(timing.seconds.begin(), timing.seconds.end());
  timing.profile = scope.Entries();
  return timing;
}

Timing MeasureDecode(Session& session, RandomIds& ids, size_t context, size_t n, bool profile) {
  if (session.length() != context) Expect(session.Start(ids.Prompt(context)), session.model());
  const Model::Cost& cost = session.model().cost();
  Timing timing;
  timing.tokens = n;
  timing.context = context;
  timing.macs = static_cast<double>(cost.linear_parameters);
  // A token reads the cache of all before it that it sees.
  const KvCache& cache = session.cache();
  timing.bytes =
      static_cast<double>(cost.decode_bytes) +
      static_cast<double>(cache.ReadBytes(context) + cache.ReadBytes(context + n)) / 2;
  timing.seconds.resize(n);
  const ProfileScope scope(session, session.batch_plan(), profile);
  for (double& token : timing.seconds) {
    const int32_t id = ids.Next();
    const double start = Now();
    Expect(session.Append(id), session.model());
    token = Now() - start;
  }
  std::sort(timing.seconds.begin(), timing.seconds.end());
  timing.profile = scope.Entries();
  return timing;
}

double AnonymousMib() {
  return static_cast<double>(PrivateMemory()) / (1 << 20);
}

}  // namespace glint
