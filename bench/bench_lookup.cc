// What look-up drafting would save on given texts, without a model: the reply is known, so each
// draft can be judged by it. Reads pairs of lines from standard input, JSON lists of ids as `glint
// tokenize` prints them: a prompt and the reply to it.
//
// usage: bench_lookup [--batch N] [--cost X] [--grams MIN MAX] < PAIRS
//
// Prints one JSON object: tokens of reply, drafted, accepted, runs, and how many runs there were of
// 1, 2, ... N tokens. The ids decide all of it, so it is the same everywhere. What it is worth
// follows from what a batch costs (bench_batch); bench/lookup.py puts the two together.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "lib/lookup.h"

namespace {

struct Totals {
  size_t tokens = 0, drafted = 0, accepted = 0;
  std::vector<size_t> runs_of;  // by the run's tokens
};

std::vector<int32_t> ParseIds(std::string line) {
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '[' || c == ']' || c == ','; }, ' ');
  std::istringstream in(line);
  std::vector<int32_t> ids;
  for (int32_t id; in >> id;) ids.push_back(id);
  return ids;
}

// As lib/generate.cc goes through a reply.
void Replay(const std::vector<int32_t>& prompt, const std::vector<int32_t>& reply, size_t batch,
            const glint::LookupTuning& tuning, Totals* totals) {
  glint::LookupDraft lookup(prompt.size() + reply.size() + 1, tuning);
  std::vector<int32_t> draft(batch - 1);
  for (const int32_t id : prompt) lookup.Add(id);
  for (size_t at = 0; at < reply.size();) {
    lookup.Add(reply[at++]);
    const size_t room = std::min(draft.size(), reply.size() - at);
    const size_t n = lookup.Propose(std::span(draft).first(room));
    size_t right = 0;
    while (right < n && reply[at] == draft[right]) {
      lookup.Add(reply[at++]);
      ++right;
    }
    ++totals->runs_of[1 + n];
    totals->drafted += n;
    totals->accepted += right;
  }
  totals->tokens += reply.size();
}

}  // namespace

int main(int argc, char** argv) {
  size_t batch = 8;
  glint::LookupTuning tuning;
  bool wrong = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--batch") == 0 && i + 1 < argc) {
      batch = std::strtoul(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--cost") == 0 && i + 1 < argc) {
      tuning.token_cost = std::strtod(argv[++i], nullptr);
    } else if (std::strcmp(argv[i], "--grams") == 0 && i + 2 < argc) {
      tuning.min_gram = std::strtoul(argv[++i], nullptr, 10);
      tuning.max_gram = std::strtoul(argv[++i], nullptr, 10);
    } else {
      wrong = true;
    }
  }
  if (wrong || batch < 1 || batch > 1024 || tuning.min_gram < 1 ||
      tuning.max_gram < tuning.min_gram || tuning.max_gram > glint::LookupDraft::kMaxMatch) {
    std::fprintf(stderr,
                 "usage: bench_lookup [--batch N] [--cost X] [--grams MIN MAX] < PAIRS\n");
    return 2;
  }
  Totals totals;
  totals.runs_of.resize(batch + 1);
  size_t pairs = 0;
  for (std::string prompt, reply;
       std::getline(std::cin, prompt) && std::getline(std::cin, reply);) {
    Replay(ParseIds(prompt), ParseIds(reply), batch, tuning, &totals);
    ++pairs;
  }
  size_t runs = 0;
  for (const size_t n : totals.runs_of) runs += n;
  std::printf(
      "{\"pairs\": %zu, \"tokens\": %zu, \"drafted\": %zu, \"accepted\": %zu, \"runs\": %zu, "
      "\"runs_of\": [",
      pairs, totals.tokens, totals.drafted, totals.accepted, runs);
  for (size_t n = 1; n <= batch; ++n) std::printf("%s%zu", n == 1 ? "" : ", ", totals.runs_of[n]);
  std::printf("]}\n");
}
