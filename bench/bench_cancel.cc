// How long a computation goes on after Session::Cancel.
//
// usage: bench_cancel MODEL.glint [--prompt N] [--threads N] [--times N] [--load]
//
// Begins a prompt of N tokens (512) as many times as said (12), cancels it from another thread after
// 0.1 s, 0.35 s, 0.6 s, ... and prints the milliseconds from the cancel to the return of Start: median
// and longest; and the CPU time of all threads in between, which others' load does not stretch and on
// a quiet machine is the longest it can take. With --load it stops a load of the file instead (private copy and checksums), after a
// part of it. Prints one JSON object.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "lib/error.h"
#include "lib/session.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string model;
  size_t prompt = 512, threads = 2, times = 12;
  bool load = false;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) {
      return std::strcmp(argv[i], name) == 0 && i + 1 < argc;
    };
    if (is("--prompt")) {
      options.prompt = std::strtoul(argv[++i], nullptr, 10);
    } else if (is("--threads")) {
      options.threads = std::strtoul(argv[++i], nullptr, 10);
    } else if (is("--times")) {
      options.times = std::max<size_t>(1, std::strtoul(argv[++i], nullptr, 10));
    } else if (std::strcmp(argv[i], "--load") == 0) {
      options.load = true;
    } else if (options.model.empty() && argv[i][0] != '-') {
      options.model = argv[i];
    } else {
      throw glint::Error(std::string("unexpected argument ") + argv[i]);
    }
  }
  if (options.model.empty()) throw glint::Error("usage: bench_cancel MODEL.glint [OPTIONS]");
  return options;
}

double Milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

void Print(const char* what, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("{\"what\":\"%s\",\"times\":%zu,\"median_ms\":%.2f,\"longest_ms\":%.2f}\n", what,
              times.size(), times[times.size() / 2], times.back());
}

std::vector<double> StopLoads(const Options& options) {
  std::vector<double> times, gaps;
  for (size_t i = 0; i < options.times; ++i) {
    const double until = 0.9 * static_cast<double>(i + 1) / static_cast<double>(options.times + 1);
    Clock::time_point asked = Clock::now();
    double longest = 0;  // between two questions: so long a wish to stop may have to wait
    glint::LoadOptions load;
    load.mode = glint::LoadMode::kCopy;
    load.verify = true;
    load.progress = [&](double done) {
      longest = std::max(longest, Milliseconds(Clock::now() - asked));
      asked = Clock::now();
      return done < until;
    };
    try {
      glint::Model::Open(options.model, load);
    } catch (const glint::Cancelled&) {
      times.push_back(Milliseconds(Clock::now() - asked));
      gaps.push_back(longest);
    }
  }
  if (!gaps.empty()) Print("load, between two questions", gaps);
  return times;
}

std::vector<double> CancelPrompts(const Options& options) {
  const auto model = glint::Model::Open(options.model);
  glint::SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.context = options.prompt + 16;
  glint::Session session(*model, session_options);
  std::vector<int32_t> prompt;
  for (size_t i = 0; i < options.prompt; ++i) {
    prompt.push_back(static_cast<int32_t>(i * 37 % std::min<uint64_t>(model->vocab_size(), 5000)));
  }
  if (!model->causal()) {
    prompt[options.prompt - 2] = model->prompt_ids().gmask;
    prompt[options.prompt - 1] = model->prompt_ids().sop;
  }
  std::vector<double> times, cpu_times;
  for (size_t i = 0; i < options.times; ++i) {
    Clock::time_point asked;
    std::clock_t cpu_asked = 0;
    session.Forget();
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100 + 250 * i));
      asked = Clock::now();
      cpu_asked = std::clock();
      session.Cancel();
    });
    const glint::Status status = session.Start(prompt);
    const Clock::time_point returned = Clock::now();
    const std::clock_t cpu_returned = std::clock();
    other.join();
    session.ClearCancel();
    if (status != glint::Status::kCancelled) continue;
    times.push_back(Milliseconds(returned - asked));
    cpu_times.push_back(1e3 * static_cast<double>(cpu_returned - cpu_asked) / CLOCKS_PER_SEC);
  }
  if (!cpu_times.empty()) Print("prompt, CPU time", cpu_times);
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = Parse(argc, argv);
    const std::vector<double> times = options.load ? StopLoads(options) : CancelPrompts(options);
    if (times.empty()) throw glint::Error("the work was over before it could be stopped");
    Print(options.load ? "load" : "prompt", times);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_cancel: %s\n", error.what());
    return 1;
  }
}
