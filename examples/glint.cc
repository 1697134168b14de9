// The command line of glint. The commands are rows of one table; each has a file in commands/.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/file_fault.h"
#include "examples/commands/interrupt.h"
#include "examples/commands/options.h"
#include "lib/error.h"
#include "lib/version.h"

namespace glint {
namespace {

enum ExitStatus { kSuccess = 0, kReportedError = 1, kWrongUsage = 2 };  // 3: kFileFaultStatus

constexpr Command kCommands[] = {
    {"chat", "talk with a model", SetUpChat},
    {"embed", "texts as vectors", SetUpEmbed},
    {"generate", "continue a text", SetUpGenerate},
    {"convert", "make a .glint file of a published checkpoint", SetUpConvert},
    {"info", "show what is in a model file, or which kernels this machine runs", SetUpInfo},
    {"verify", "check every byte of a model file", SetUpVerify},
    {"tokenize", "text to token ids and back", SetUpTokenize},
    {"logits", "write what a model computes for each token of a prompt", SetUpLogits},
    {"greedy", "the likeliest continuation, as token ids", SetUpGreedy},
    {"perplexity", "how well a model foretells text, and how far it is from another", SetUpPerplexity},
    {"quantize-report", "what quantizing has done to each matrix", SetUpQuantizeReport},
    {"synth", "make a model of a published shape with random weights", SetUpSynth},
    {"bench", "measure speed, and the share of the machine that it reaches", SetUpBench},
};

void PrintHelp() {
  Print(std::string(kProgramName) +
        ": runs quantized language models on CPUs\n\n"
        "Usage: glint [COMMAND] [OPTIONS]\n\n"
        "Without a command: a chat with the built-in bilingual model.\n\n"
        "Commands:\n");
  std::vector<std::vector<std::string>> rows;
  for (const Command& command : kCommands)
    rows.push_back({"  " + std::string(command.name), command.help});
  PrintColumns(rows, {});
  Print(
      "\n'glint COMMAND --help' tells more. The environment variable GLINT_ISA forces an "
      "instruction\n"
      "set (glint info --cpu lists those that run here).\n");
}

int Fail(ExitStatus status, const std::string& message, const std::string& hint = "") {
  FlushOut();
  WriteError("glint: " + OneLine(message) + hint + "\n");
  return status;
}

// CLI11 and others may say things in several lines; we say them in one.
std::string Joined(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, "; ");
  return text;
}

// `args` without the command's name, last first, as CLI11 wants them.
int RunOne(const Command& command, std::vector<std::string> args) {
  CLI::App app(command.help, std::string("glint ") + command.name);
  app.set_help_flag("-h,--help", "show this");
  app.allow_windows_style_options(false);  // "/x" is a path there, too
  app.get_formatter()->column_width(34);
  const std::string hint = std::string("; try glint ") + command.name + " --help";
  const RunCommand run = command.setup(app);
  try {
    app.parse(args);
    run();
  } catch (const CLI::CallForHelp&) {
    Print(app.help());
  } catch (const CLI::ParseError& error) {
    return Fail(kWrongUsage, Joined(error.what()), hint);
  } catch (const UsageError& error) {
    return Fail(kWrongUsage, Joined(error.what()), hint);
  }
  Flush();
  return kSuccess;
}

int Dispatch(const std::vector<std::string>& args) {
  const std::string first = args.empty() ? "" : args[0];
  if (first == "--help" || first == "-h" || first == "help") {
    PrintHelp();
    Flush();
    return kSuccess;
  }
  if (first == "--version") {
    Print(std::string(kProgramName) + "\n");
    Flush();
    return kSuccess;
  }
  // Without a command, or with options alone, it is a chat.
  const bool chat = args.empty() || first.starts_with('-');
  const std::string name = chat ? "chat" : first;
  for (const Command& command : kCommands) {
    if (name == command.name) return RunOne(command, {args.rbegin(), args.rend() - (chat ? 0 : 1)});
  }
  return Fail(kWrongUsage, "unknown command " + Quoted(name), "; try glint --help");
}

// A destructor that needs memory where there is none ends the program: that of the JSON library does.
[[noreturn]] void Terminate() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    WriteError("glint: out of memory\n");
    std::_Exit(kReportedError);
  } catch (...) {
    // Not a fault of the machine.
  }
  std::abort();
}

}  // namespace
}  // namespace glint

int main(int argc, char** argv) {
  using namespace glint;
  SetUpProcess();
  InstallFileFaultHandler();
  std::set_terminate(Terminate);
  try {
    return Dispatch(ProgramArguments(argc, argv));
  } catch (const Interrupted&) {
    EndAsInterrupted();
  } catch (const std::bad_alloc&) {
    return Fail(kReportedError, "out of memory");
  } catch (const std::exception& error) {
    return Fail(kReportedError, Joined(Explain(error)));
  } catch (...) {
    return Fail(kReportedError, "unknown failure");
  }
}
