#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/plan.h"

namespace glint {

// Where the time of one plan's runs goes: one row per step, all made beforehand, so that recording
// allocates nothing. Rows are chained (a step ends where the next begins), so that what a run
// spends between its steps is in the rows, too. Written by the thread that runs the session.
class Profile {
 public:
  // Nanoseconds on the steady clock.
  static int64_t Clock();

  struct Row {
    uint64_t calls = 0;
    uint64_t tokens = 0;      // rows that went through
    uint64_t cache_rows = 0;  // cache positions that the last token sees, summed over the calls
    int64_t ns = 0;           // wall time
    int64_t busy_ns = 0;      // inside tasks, all threads together
  };

  // `plan` must outlive the profile. Runs of other plans are not recorded.
  explicit Profile(const Plan& plan) : plan_(&plan), rows_(plan.steps().size() + 2) {}

  const Plan& plan() const { return *plan_; }
  // (steps + 2): after the plan's steps what comes before them, and the sink.
  const std::vector<Row>& rows() const { return rows_; }
  size_t InputsRow() const { return rows_.size() - 2; }
  size_t OutputsRow() const { return rows_.size() - 1; }

  // For the session: a run begins. For Execute: what the row stands for has ended.
  void Begin() {
    at_ = Clock();
    busy_at_ = busy_.load();
  }
  void End(size_t index, uint64_t tokens, uint64_t cache_rows);
  std::atomic<int64_t>* busy() { return &busy_; }  // what the thread pool counts into

 private:
  const Plan* plan_;
  std::vector<Row> rows_;
  std::atomic<int64_t> busy_{0};
  int64_t at_ = 0, busy_at_ = 0;
};

// Steps that do the same in every layer, as one.
struct ProfileEntry {
  // "linear", "attention", "attention.store"; "inputs": ids, positions and the file are checked;
  // "outputs": they are checked and copied.
  std::string op;
  std::string what;  // the matrix, or else the output; the layer's number is a '*'
  std::string type;  // of the matrix, with its shape: "int4 (12288, 4096)"; empty without one
  uint64_t calls = 0;
  double seconds = 0;
  double busy_seconds = 0;  // of all threads together, inside tasks
  double macs = 0;          // of matrices with activations
  double bytes = 0;         // of matrices and cache that were read; 0: not known
};

// The rows of a profile, in the order in which the plan first does them. `cache` is the session's.
std::vector<ProfileEntry> Summarize(const Profile& profile, const KvCache& cache);

}  // namespace glint
