#include "lib/perplexity.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "lib/error.h"

namespace glint {
namespace {

using Window = WindowSet::Window;

void AddWindow(WindowSet* set, const Window& window) {
  set->windows.push_back(window);
  set->longest = std::max(set->longest, set->prefix.size() + window.end - window.begin);
  set->n_scored += window.end - window.first;
}

float Largest(std::span<const float> row) {
  float largest = row[0];
  for (const float x : row) largest = x > largest ? x : largest;
  return largest;
}

// ln of the sum of exp(x). The largest goes out before, so that no exp overflows.
double LogSumExp(std::span<const float> row) {
  const double largest = Largest(row);
  double sum = 0;
  for (const float x : row) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

// What one pass over both rows gives.
struct Divergence {
  double log_sum_base, log_sum, kl;
};

// KL(p || q) with p = softmax(base) and q = softmax(row), p_i = e_i / S:
// sum_i p_i (ln p_i - ln q_i) = sum_i e_i (base_i - row_i) / S - lse(base) + lse(row).
// Of a row with itself it is 0 to the bit; rounding may leave others just below it.
Divergence Compare(std::span<const float> base, std::span<const float> row) {
  const double base_largest = Largest(base), largest = Largest(row);
  double base_sum = 0, sum = 0, weighted = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    const double e = std::exp(base[i] - base_largest);
    base_sum += e;
    sum += std::exp(row[i] - largest);
    weighted += e * (double{base[i]} - double{row[i]});
  }
  const double log_sum_base = base_largest + std::log(base_sum);
  const double log_sum = largest + std::log(sum);
  const double kl = weighted / base_sum - log_sum_base + log_sum;
  return {log_sum_base, log_sum, std::max(kl, 0.0)};
}

size_t Likeliest(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// Reads windows one after another and fills in the scores of their tokens.
class Scorer {
 public:
  Scorer(Session& session, Session* base, const WindowSet& set)
      : session_(session), base_(base), set_(set), n_outputs_(session.model().n_outputs()) {
    CheckModels();
    CheckTargets();
    tokens_.reserve(set.longest);
    scores_.nll.resize(set.n_scored);
    if (!base) return;
    scores_.base_nll.resize(set.n_scored);
    scores_.kl.resize(set.n_scored);
    scores_.same_top.resize(set.n_scored);
    size_t most = 0;
    for (const Window& window : set.windows) most = std::max(most, window.end - window.first);
    base_rows_.resize(most * n_outputs_);
  }

  TokenScores Score(const std::function<void(double)>& progress) {
    for (size_t i = 0; i < set_.windows.size(); ++i) {
      const Window& window = set_.windows[i];
      tokens_ = set_.prefix;
      tokens_.insert(tokens_.end(), set_.ids.begin() + static_cast<ptrdiff_t>(window.begin),
                     set_.ids.begin() + static_cast<ptrdiff_t>(window.end));
      // Row r of the logits foretells token r + 1.
      first_row_ = set_.prefix.size() + window.first - window.begin - 1;
      if (base_) Read(*base_, i, [&](size_t row, const float* x) { Keep(row, x); });
      Read(session_, i, [&](size_t row, const float* x) { ScoreRow(row, x); });
      done_ += window.end - window.first;
      if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(set_.windows.size()));
    }
    return std::move(scores_);
  }

 private:
  void CheckModels() const {
    if (!base_) return;
    const Model& model = session_.model();
    const Model& base = base_->model();
    if (base.n_outputs() == n_outputs_ && base.vocab_size() == model.vocab_size()) return;
    throw Error(base.file().path() + ": a vocabulary of " + std::to_string(base.vocab_size()) +
                " ids and " + std::to_string(base.n_outputs()) + " logits, but " +
                model.file().path() + " has " + std::to_string(model.vocab_size()) + " and " +
                std::to_string(n_outputs_));
  }

  void CheckTargets() const {
    for (const Window& window : set_.windows) {
      for (size_t i = window.first; i < window.end; ++i) {
        const int32_t id = set_.ids[i];
        if (id >= 0 && static_cast<uint64_t>(id) < n_outputs_) continue;
        throw Error(set_.name + ": id " + std::to_string(id) + " is outside the " +
                    std::to_string(n_outputs_) + " logits of " + session_.model().file().path());
      }
    }
  }

  // Starts the session with the tokens; use(row, logits) gets the rows that foretell scored tokens,
  // from several threads.
  template <class Use>
  void Read(Session& session, size_t index, const Use& use) {
    const size_t end = tokens_.size() - 1;  // the last row foretells what is not there
    const auto take = [&](size_t begin, size_t n, const float* rows, size_t stride) {
      const size_t from = std::max(begin, first_row_), to = std::min(begin + n, end);
      if (from >= to) return;
      session.pool().Run(to - from, [&](size_t task, size_t) {
        use(from + task, rows + (from + task - begin) * stride);
      });
    };
    const OutputSink sink(take);
    const std::string place = set_.name + ": window " + std::to_string(index) + ": ";
    Status status = Status::kOk;
    try {
      status = session.Start(tokens_, &sink);
    } catch (const Error& error) {
      throw Error(place + error.what());
    }
    if (status != Status::kOk) {
      throw Error(place + session.model().file().path() + ": " + Describe(status));
    }
  }

  void Keep(size_t row, const float* x) {
    std::copy(x, x + n_outputs_, base_rows_.begin() + RowOffset(row));
  }

  void ScoreRow(size_t row, const float* x) {
    const std::span<const float> logits(x, n_outputs_);
    const size_t target = static_cast<size_t>(tokens_[row + 1]);
    const size_t i = done_ + row - first_row_;
    if (!base_) {
      scores_.nll[i] = LogSumExp(logits) - logits[target];
      return;
    }
    const std::span<const float> base(base_rows_.data() + RowOffset(row), n_outputs_);
    const Divergence both = Compare(base, logits);
    scores_.nll[i] = both.log_sum - logits[target];
    scores_.base_nll[i] = both.log_sum_base - base[target];
    scores_.kl[i] = both.kl;
    scores_.same_top[i] = Likeliest(base) == Likeliest(logits) ? 1 : 0;
  }

  ptrdiff_t RowOffset(size_t row) const {
    return static_cast<ptrdiff_t>((row - first_row_) * n_outputs_);
  }

  Session& session_;
  Session* base_;
  const WindowSet& set_;
  const size_t n_outputs_;
  std::vector<int32_t> tokens_;   // of the window, with the prefix
  size_t first_row_ = 0;          // of its logits that is scored
  size_t done_ = 0;               // scored tokens of the windows before
  std::vector<float> base_rows_;  // (scored tokens of a window, n_outputs)
  TokenScores scores_;
};

}  // namespace

std::vector<int32_t> TextPrefix(const Model& model) {
  const PromptIds& ids = model.prompt_ids();
  const int32_t mask = ids.gmask >= 0 ? ids.gmask : ids.mask;
  if (mask >= 0 && ids.sop >= 0) return {mask, ids.sop};
  if (model.tokenizer()) return model.tokenizer()->EncodeWithSpecial("");
  if (ids.bos >= 0) return {ids.bos};
  return {};
}

WindowSet StridedWindows(std::string name, std::vector<int32_t> prefix, std::vector<int32_t> ids,
                         size_t length, size_t stride) {
  WindowSet set{std::move(name), std::move(prefix), std::move(ids)};
  const size_t n = set.ids.size(), before = set.prefix.size();
  if (n < 2) {
    throw Error(set.name + ": " + std::to_string(n) +
                " tokens of text; expected at least 2, since the first is not scored");
  }
  // A token without one before it cannot be scored, so without a prefix windows must overlap.
  const size_t least = std::max<size_t>(2, before + stride + (before == 0 ? 1 : 0));
  if (stride == 0 || length < least) {
    throw Error("windows of " + std::to_string(length) + " tokens that begin " +
                std::to_string(stride) + " apart; expected windows of at least " +
                std::to_string(std::max<size_t>(least, before + 2)) + ", at least 1 apart");
  }
  const size_t text = length - before;
  size_t scored = 1;
  for (size_t begin = 0; scored < n; begin += stride) {
    const size_t end = text < n - begin ? begin + text : n;
    if (end > scored) AddWindow(&set, {begin, scored, end});
    scored = std::max(scored, end);
  }
  return set;
}

WindowSet RowWindows(std::string name, std::vector<int32_t> ids, size_t rows, size_t cols) {
  WindowSet set{std::move(name), {}, std::move(ids)};
  if (cols < 2) {
    throw Error(set.name + ": windows of " + std::to_string(cols) +
                " token; expected at least 2, since the first is not scored");
  }
  for (size_t begin = 0; begin < rows * cols; begin += cols) {
    AddWindow(&set, {begin, begin + 1, begin + cols});
  }
  return set;
}

TokenScores ScoreWindows(Session& session, Session* base, const WindowSet& set,
                         const std::function<void(double)>& progress) {
  return Scorer(session, base, set).Score(progress);
}

Mean MeanOf(const std::vector<double>& values) {
  return MeanDifference(values, {});
}

Mean MeanDifference(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = static_cast<double>(a.size());
  const auto value = [&](size_t i) { return b.empty() ? a[i] : a[i] - b[i]; };
  Mean mean;
  if (a.empty()) return mean;
  for (size_t i = 0; i < a.size(); ++i) mean.mean += value(i);
  mean.mean /= n;
  if (a.size() == 1) return mean;
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double distance = value(i) - mean.mean;
    squares += distance * distance;
  }
  mean.error = std::sqrt(squares / (n - 1) / n);
  return mean;
}

double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double part = at - static_cast<double>(below);
  return (1 - part) * values[below] + part * values[above];
}

}  // namespace glint
