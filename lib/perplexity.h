#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/session.h"

// How well a model foretells text, and how far it is from another model. docs/QUANT.md has the
// formulas.
namespace glint {

// Ids in windows, each of which a session reads from an empty cache.
struct WindowSet {
  // ids[begin, end), of which those from `first` on are scored. Before each of these is another
  // token of the window or of the prefix.
  struct Window {
    size_t begin = 0, first = 0, end = 0;
  };
  std::string name;               // where the ids come from; begins messages
  std::vector<int32_t> prefix{};  // stands before the ids of every window
  std::vector<int32_t> ids{};
  std::vector<Window> windows{};
  size_t longest = 0;   // tokens of the longest window, with the prefix
  size_t n_scored = 0;  // tokens, all windows together
};

// The ids with which a model begins a text that it is to foretell: [gMASK] <sop> (or [MASK] <sop>)
// if it fills a mask, else its bos id if it has one, else nothing.
std::vector<int32_t> TextPrefix(const Model& model);

// Windows over the ids of one text. A window has `length` tokens with the prefix (the last one may
// be shorter), each begins `stride` tokens of text after the one before, and scores what none
// before it has. So every token but the first is scored once, behind at least length - prefix -
// stride tokens of text (in the first window: behind those that there are). Throws Error for fewer
// than 2 ids, a stride of 0 or a window too short for it.
WindowSet StridedWindows(std::string name, std::vector<int32_t> prefix, std::vector<int32_t> ids,
                         size_t length, size_t stride);

// Each row of (rows, cols) is a window as it is; all but its first token are scored. Throws Error
// for fewer than 2 columns.
WindowSet RowWindows(std::string name, std::vector<int32_t> ids, size_t rows, size_t cols);

// One number per scored token, in the order of the windows.
struct TokenScores {
  std::vector<double> nll;  // -ln p(token)
  // With a base: its own nll; KL(base || model) of the distributions; 1 where both have the same
  // likeliest token.
  std::vector<double> base_nll, kl;
  std::vector<uint8_t> same_top;
};

// Runs every window through the session and, if there is one, through `base`, a session of another
// model. The sessions' contexts must hold the longest window, their max_outputs is how many rows
// are scored together. Sums are in double and in a fixed order: no bit depends on threads. With a
// base the scored rows of one window of its logits are held. Throws Error: vocabularies that
// differ, a window that a model cannot read, a status other than kOk.
TokenScores ScoreWindows(Session& session, Session* base, const WindowSet& set,
                         const std::function<void(double)>& progress = {});

// The mean of numbers and its standard error, as if they were independent (0 for a single one).
struct Mean {
  double mean = 0, error = 0;
};
Mean MeanOf(const std::vector<double>& values);
// The mean of a[i] - b[i].
Mean MeanDifference(const std::vector<double>& a, const std::vector<double>& b);
// The value below which `share` (0..1) of the values lie: linear between the two nearest.
double Quantile(std::vector<double> values, double share);

}  // namespace glint
