// Megabytes of text per second of CPU time, encoded and decoded on one thread, and how long a
// tokenizer takes to open from its tables.
//
// usage: bench_tokenizers TOKENIZER TYPE TEXT...
//
// TOKENIZER: a folder or a tokenizer's file; TYPE: its rules, as for `glint tokenize --type`, or
// "-". Each text is encoded several times, the first time unmeasured; the best time counts. Prints
// a JSON object for each text.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "formats/import/imported_tokenizer.h"
#include "formats/import/input_file.h"
#include "lib/error.h"

namespace {

constexpr double kSeconds = 1.0;  // at least three rounds, and no more once these are over
constexpr int kMinRounds = 3;

double CpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <class Run>
double BestSeconds(Run run) {
  run();
  double best = 1e9, sum = 0;
  for (int round = 0; round < kMinRounds || sum < kSeconds; ++round) {
    const double begin = CpuSeconds();
    run();
    const double seconds = CpuSeconds() - begin;
    best = std::min(best, seconds);
    sum += seconds;
  }
  return best;
}

std::string ReadText(const std::string& path) {
  const std::vector<uint8_t> bytes = glint::ReadWholeFile(glint::InputFile(path), 1 << 28);
  return {bytes.begin(), bytes.end()};
}

void Measure(const glint::LoadedTokenizer& loaded, const std::string& source,
             const std::string& path) {
  const glint::Tokenizer& tokenizer = *loaded.tokenizer;
  const std::string text = ReadText(path);
  std::vector<int32_t> ids;
  const double encode = BestSeconds([&] { ids = tokenizer.Encode(text); });
  std::string decoded;
  const double decode = BestSeconds([&] { decoded = tokenizer.Decode(ids); });
  const double open = BestSeconds(
      [&] { glint::Tokenizer::Create(loaded.model.options, loaded.model.Tables(), source); });
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  const nlohmann::ordered_json row = {{"tokenizer", source},
                                      {"text", path.substr(path.rfind('/') + 1)},
                                      {"bytes", text.size()},
                                      {"ids", ids.size()},
                                      {"open_ms", 1e3 * open},
                                      {"encode_mb_per_s", megabytes / encode},
                                      {"decode_mb_per_s", megabytes / decode},
                                      {"round_trip", decoded == text}};
  std::printf("%s\n", row.dump().c_str());
}

int Run(int argc, char** argv) {
  if (argc < 4) throw glint::Error("usage: bench_tokenizers TOKENIZER TYPE TEXT...");
  const std::string source = argv[1];
  const glint::ImportRules rules = {argv[2] == std::string("-") ? "" : argv[2], 0};
  std::optional<glint::ImportedTokenizer> model = glint::FolderExists(source)
                                                      ? glint::ReadFolderTokenizer(source, rules)
                                                      : glint::ReadTokenizerFile(source, rules);
  if (!model) throw glint::Error(source + ": no tokenizer in this folder");
  const auto loaded = glint::LoadTokenizer(std::move(*model), source);
  for (int i = 3; i < argc; ++i) Measure(*loaded, source, argv[i]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_tokenizers: %s\n", error.what());
    return 1;
  }
}
