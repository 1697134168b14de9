// What the thread pool costs: an empty job (fork and join), the first job after a pause, and how a
// token's worth of small jobs fares when threads outnumber processors or other programs want them.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "lib/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace glint {
namespace {

// The shape of a decoded token of the 6B: 28 layers of 10 steps.
constexpr size_t kJobs = 280, kTasks = 32;
constexpr double kTaskSeconds = 6e-6;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Programs that compete for processors: one busy child on each of `cpus`, until destroyed.
class Competitors {
 public:
  explicit Competitors(const std::vector<int>& cpus) {
#if defined(__linux__)
    for (const int cpu : cpus) {
      const pid_t child = fork();
      if (child > 0) children_.push_back(child);
      if (child != 0) continue;
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cpu, &set);
      sched_setaffinity(0, sizeof set, &set);
      std::atomic<uint64_t> count{0};
      while (getppid() != 1) {  // else the parent is gone
        for (int i = 0; i < 1000000; ++i) count.fetch_add(1, std::memory_order_relaxed);
      }
      _exit(0);
    }
#else
    (void)cpus;
#endif
  }
  ~Competitors() {
#if defined(__linux__)
    for (const int child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
#endif
  }
  Competitors(const Competitors&) = delete;

 private:
  std::vector<int> children_;
};

std::vector<int> OurCpus() {
  std::vector<int> cpus;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
#endif
  return cpus;
}

struct Times {
  double median, p99;  // seconds
};

Times Summary(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds[seconds.size() * 99 / 100]};
}

// `count` jobs in which every thread has one empty task, `pause_us` apart.
Times EmptyJobs(ThreadPool& pool, size_t count, int pause_us) {
  std::vector<double> seconds(count);
  for (double& s : seconds) {
    if (pause_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    const double start = Now();
    pool.Run(pool.size(), [](size_t, size_t) {});
    s = Now() - start;
  }
  return Summary(seconds);
}

// `count` jobs in which each thread has one task and all wait for each other: until the last has come.
Times Meetings(ThreadPool& pool, size_t count) {
  std::vector<double> seconds(count);
  for (double& s : seconds) {
    std::atomic<size_t> arrived{0};
    const double start = Now();
    pool.Run(pool.size(), [&](size_t, size_t) {
      arrived.fetch_add(1);
      for (int i = 0; arrived.load() < pool.size(); ++i) {
        if (i > 1000) std::this_thread::yield();
      }
    });
    s = Now() - start;
  }
  return Summary(seconds);
}

std::atomic<uint64_t> g_sink{0};

void Work(uint64_t rounds) {
  uint64_t x = rounds | 1;
  for (uint64_t i = 0; i < rounds; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  g_sink.store(x, std::memory_order_relaxed);
}

// Rounds of Work that take kTaskSeconds on an undisturbed processor: the best of many.
uint64_t RoundsPerTask() {
  double best = 1;
  for (int i = 0; i < 200; ++i) {
    const double start = Now();
    Work(10000);
    best = std::min(best, Now() - start);
  }
  return static_cast<uint64_t>(10000 * kTaskSeconds / best);
}

// Seconds of a token's jobs.
Times Tokens(ThreadPool& pool, uint64_t rounds, size_t count) {
  std::vector<double> seconds(count);
  for (double& s : seconds) {
    const double start = Now();
    for (size_t job = 0; job < kJobs; ++job) {
      pool.Run(kTasks, [&](size_t, size_t) { Work(rounds); });
    }
    s = Now() - start;
  }
  return Summary(seconds);
}

struct Load {
  const char* name;
  std::vector<int> cpus;
};

// The least time that a token's work takes: each processor gives all its time, or half of it where a
// competitor runs.
double Ideal(size_t threads, const std::vector<int>& cpus, const Load& load) {
  std::vector<double> shares;
  for (const int cpu : cpus) {
    const bool shared = std::find(load.cpus.begin(), load.cpus.end(), cpu) != load.cpus.end();
    shares.push_back(shared ? 0.5 : 1.0);
  }
  std::sort(shares.rbegin(), shares.rend());
  double sum = 0;
  for (size_t i = 0; i < std::min(threads, shares.size()); ++i) sum += shares[i];
  return kJobs * kTasks * kTaskSeconds / std::max(sum, 0.5);
}

void Run(bool quick, const std::vector<size_t>& threads_list) {
  const std::vector<int> cpus = OurCpus();
  std::vector<Load> loads = {{"idle machine", {}}};
  if (!cpus.empty()) {
    loads.push_back({"last processor shared", {cpus.back()}});
    loads.push_back({"every processor shared", cpus});
  }
  const size_t count = quick ? 2000 : 20000;
  const uint64_t rounds = RoundsPerTask();
  std::printf("%zu processors; a token is %zu jobs of %zu tasks of %.0f us\n", cpus.size(), kJobs,
              kTasks, kTaskSeconds * 1e6);
  std::printf("%-23s %7s %19s %19s %19s %29s\n", "", "threads", "empty job us (p99)",
              "after 5 ms (p99)", "all meet us (p99)",
              "token ms (p99), of the ideal");
  for (const Load& load : loads) {
    const Competitors competitors(load.cpus);
    for (const size_t threads : threads_list) {
      ThreadPool pool(threads);
      EmptyJobs(pool, 100, 0);
      const Times empty = EmptyJobs(pool, count / (load.cpus.empty() ? 1 : 10), 0);
      const Times first = EmptyJobs(pool, count / 100, 5000);
      const Times meeting = Meetings(pool, count / (load.cpus.empty() ? 1 : 20));
      const Times token = Tokens(pool, rounds, quick ? 5 : 15);
      std::printf("%-23s %7zu %9.2f (%7.1f) %9.2f (%7.1f) %9.2f (%7.1f) %9.1f (%6.1f) %9.2f\n", load.name, threads,
                  empty.median * 1e6, empty.p99 * 1e6, first.median * 1e6, first.p99 * 1e6,
                  meeting.median * 1e6, meeting.p99 * 1e6,
                  token.median * 1e3, token.p99 * 1e3,
                  token.median / Ideal(threads, cpus, load));
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace glint

// bench_threads [--quick] [THREADS...]
int main(int argc, char** argv) {
  bool quick = false;
  std::vector<size_t> threads;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
    } else {
      threads.push_back(std::max(1ul, std::strtoul(argv[i], nullptr, 10)));
    }
  }
  if (threads.empty()) threads = {1, 2, 3, 4, 8};
  glint::Run(quick, threads);
  return 0;
}
