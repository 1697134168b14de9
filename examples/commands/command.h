#pragma once
#include <functional>
#include <vector>

namespace CLI {
class App;
}

namespace glint {

// Runs a command whose options have been read. Throws Error to report a failure (exit status 1) and
// UsageError for options that do not go together (exit status 2).
using RunCommand = std::function<void()>;

// A row of the table of commands.
struct Command {
  const char* name;
  const char* help;  // one line
  // Declares options and help; the options live in what it returns.
  RunCommand (*setup)(CLI::App& app);
};

RunCommand SetUpBench(CLI::App& app);
RunCommand SetUpChat(CLI::App& app);
RunCommand SetUpConvert(CLI::App& app);
RunCommand SetUpEmbed(CLI::App& app);
RunCommand SetUpGenerate(CLI::App& app);
RunCommand SetUpGreedy(CLI::App& app);
RunCommand SetUpInfo(CLI::App& app);
RunCommand SetUpLogits(CLI::App& app);
RunCommand SetUpPerplexity(CLI::App& app);
RunCommand SetUpQuantizeReport(CLI::App& app);
RunCommand SetUpSynth(CLI::App& app);
RunCommand SetUpTokenize(CLI::App& app);
RunCommand SetUpVerify(CLI::App& app);

}  // namespace glint
