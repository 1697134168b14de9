// What a batch of n verified tokens costs, relative to one token: the price of look-up drafts.
//
// usage: bench_batch MODEL.glint [--context N] [--rounds N] [--threads N] [--batches 2,4,8]
//
// Each round times every size once, one after the other at the same place of the sequence, so that
// a busy machine disturbs all of them alike; medians over the rounds, and the middle half of the
// ratios within a round. Prints one JSON object.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "lib/error.h"
#include "lib/session.h"

namespace {

struct Options {
  std::string model;
  size_t context = 128;  // tokens before the batch
  size_t rounds = 11;
  size_t threads = 0;
  std::vector<size_t> batches = {1, 2, 4, 8};
};

std::vector<size_t> ParseList(const char* text) {
  std::vector<size_t> list = {1};
  for (char* end = nullptr; *text != '\0'; text = *end == ',' ? end + 1 : end) {
    const size_t n = std::strtoul(text, &end, 10);
    if (end == text || n < 1) throw glint::Error("--batches: expected numbers such as 2,4,8");
    if (n > 1) list.push_back(n);
  }
  return list;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) {
      return std::strcmp(argv[i], name) == 0 && i + 1 < argc;
    };
    if (is("--context")) {
      options.context = std::strtoul(argv[++i], nullptr, 10);
    } else if (is("--rounds")) {
      options.rounds = std::max<size_t>(1, std::strtoul(argv[++i], nullptr, 10));
    } else if (is("--threads")) {
      options.threads = std::strtoul(argv[++i], nullptr, 10);
    } else if (is("--batches")) {
      options.batches = ParseList(argv[++i]);
    } else if (options.model.empty() && argv[i][0] != '-') {
      options.model = argv[i];
    } else {
      throw glint::Error(std::string("unexpected argument ") + argv[i]);
    }
  }
  if (options.model.empty()) throw glint::Error("usage: bench_batch MODEL.glint [options]");
  return options;
}

void Expect(glint::Status status) {
  if (status != glint::Status::kOk) throw glint::Error(glint::Describe(status));
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

// Some text, and for GLM [gMASK] and <sop>, as many tokens as asked for and at least these two.
std::vector<int32_t> PromptOf(const glint::Model& model, size_t n) {
  std::vector<int32_t> ids;
  const size_t range = std::max<uint64_t>(1, model.vocab_size() / 2);
  for (size_t i = 0; i + 2 < n; ++i) ids.push_back(static_cast<int32_t>(i * 37 % range));
  const glint::PromptIds& special = model.prompt_ids();
  if (special.sop < 0) {  // no GLM: any ids will do
    ids.resize(std::max<size_t>(n, 2), 7);
    return ids;
  }
  ids.push_back(special.gmask >= 0 ? special.gmask : special.mask);
  ids.push_back(special.sop);
  return ids;
}

void Measure(const Options& options) {
  const std::unique_ptr<glint::Model> model = glint::Model::Open(options.model);
  const size_t largest = *std::max_element(options.batches.begin(), options.batches.end());
  glint::SessionOptions session_options;
  session_options.context = options.context + largest + 2;
  session_options.threads = options.threads;
  session_options.kv = glint::DefaultKv(*model);
  session_options.max_batch = largest;
  glint::Session session(*model, session_options);
  Expect(session.Start(PromptOf(*model, options.context)));
  const size_t begin = session.length();
  std::vector<int32_t> ids(largest, 5);
  std::vector<std::vector<double>> seconds(options.batches.size()), ratios(options.batches.size());
  for (size_t round = 0; round <= options.rounds; ++round) {
    for (size_t i = 0; i < options.batches.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      Expect(session.AppendBatch(std::span(ids).first(options.batches[i])));
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      session.Truncate(begin);
      if (round == 0) continue;  // pages and caches become warm
      seconds[i].push_back(took.count());
      ratios[i].push_back(took.count() / seconds[0].back());
    }
  }
  std::printf(
      "{\"model\": \"%s\", \"isa\": \"%s\", \"threads\": %zu, \"context\": %zu, "
      "\"rounds\": %zu, \"batches\": [",
      options.model.c_str(), session.kernels().isa, session.pool().size(), begin, options.rounds);
  for (size_t i = 0; i < options.batches.size(); ++i) {
    const double median = Quantile(seconds[i], 0.5);
    std::printf(
        "%s{\"tokens\": %zu, \"ms\": %.3f, \"relative\": %.3f, \"quartiles\": [%.3f, %.3f]}",
        i == 0 ? "" : ", ", options.batches[i], median * 1e3, Quantile(ratios[i], 0.5),
        Quantile(ratios[i], 0.25), Quantile(ratios[i], 0.75));
  }
  std::printf("]}\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Measure(Parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_batch: %s\n", error.what());
    return 1;
  }
}
