// glint chat: a conversation at the terminal or through a pipe.
#include "examples/commands/adapters.h"
#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/interrupt.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

struct Options {
  ComputeOptions compute;
  SamplingOptions sampling;
  std::string system, tools_file, overflow = "drop";
  bool show_prompt = false, json = false, stats = false;
};

// "user> " and "glint> " in both languages; the Chinese words are what THUDM's cli_demo shows.
constexpr char kUserPrompt[] = "\u7528\u6237/you> ";
constexpr char kReplyPrompt[] = "glint> ";
constexpr char kHelp[] =
    "  clear   \u6e05\u7a7a\u5bf9\u8bdd\u5386\u53f2 / forget the conversation\n"
    "  stop    \u9000\u51fa\u7a0b\u5e8f / leave (also Ctrl-D)\n"
    "  help    \u663e\u793a\u672c\u5e2e\u52a9 / show this\n"
    "  /system TEXT       \u7cfb\u7edf\u63d0\u793a / set the system message (none: without text)\n"
    "  /observation TEXT  \u5de5\u5177\u7ed3\u679c / say what a tool answered (or /tool TEXT)\n"
    "  /prompt            \u663e\u793a\u63d0\u793a\u8bcd / show what the model sees, or no more\n"
    "  Ctrl-C  \u505c\u6b62\u5f53\u524d\u56de\u7b54 / stop the reply\n";

// A JSON list, with the order of keys that the file has: the model sees it.
nlohmann::ordered_json ReadTools(const std::string& path) {
  const std::string text = ReadTextFile(path);
  if (!ParseJson(text, path).is_array()) throw Error(path + ": expected a JSON list of tools");
  return nlohmann::ordered_json::parse(text);
}

// The text behind "/NAME ", or none if the line is no such command.
std::optional<std::string> CommandText(const std::string& line, const std::string& name) {
  if (line == "/" + name) return std::string();
  if (!line.starts_with("/" + name + " ")) return std::nullopt;
  return std::string(StripLeft(std::string_view(line).substr(name.size() + 2)));
}

class ChatLoop {
 public:
  ChatLoop(const Model& model, const Options& options, const OpenAdapters& adapters)
      : model_(model),
        options_(options),
        session_(model, SessionOptionsFor(model, options.compute, options.sampling)),
        chat_(session_),
        at_terminal_(StdinIsTerminal()),
        to_terminal_(StdoutIsTerminal()),
        show_prompt_(options.show_prompt) {
    session_.SetAdapters(adapters.uses);
    sampler_ = SamplerFor(options.sampling);
    chat_.SetSystem(options.system);
    if (!options.tools_file.empty()) chat_.SetTools(ReadTools(options.tools_file));
    chat_.SetOnPrompt([this](const ChatPrompt& prompt) { ShowPrompt(prompt); });
  }

  void Run() {
    if (!at_terminal_) return AnswerLines();
    const InterruptScope interrupts(&session_);
    Banner();
    std::string line;
    while (ReadLine(&line) && Obey(line)) {
    }
  }

 private:
  // From a pipe or a file: each line is a query, each reply one answer and a newline, nothing else.
  void AnswerLines() {
    std::string line;
    while (ReadInputLine(&line) == InputLine::kRead && Obey(line)) {
    }
    if (failed_) throw Error("some of the messages got no reply");
  }

  void Banner() const {
    Print("\u6b22\u8fce\u4f7f\u7528 glint \u00b7 Welcome to glint (" +
          OneLine(MetadataText(model_.file(), "name")) + ")\n");
    Print(
        "clear \u6e05\u7a7a\u5386\u53f2/forget  stop \u9000\u51fa/leave  "
        "help \u5e2e\u52a9/help\n");
    Flush();
  }

  // False at the end: Ctrl-D, or Ctrl-C twice with nothing said between.
  bool ReadLine(std::string* line) {
    for (;;) {
      Print(std::string("\n") + kUserPrompt);
      Flush();
      const InputLine read = ReadInputLine(line);
      if (read == InputLine::kRead) {
        InterruptScope::Reset();
        return true;
      }
      Print("\n");
      if (read != InputLine::kInterrupted || InterruptScope::Count() != 1) return false;
      Print("(\u518d\u6309\u4e00\u6b21 Ctrl-C \u9000\u51fa / Ctrl-C again leaves)\n");
    }
  }

  // What the model sees, before its reply. With --json it is part of the reply's line.
  void ShowPrompt(const ChatPrompt& prompt) {
    if (options_.json) prompt_ = prompt;
    if (!show_prompt_ || options_.json) return;
    Print((to_terminal_ ? ForTerminal(prompt.text) : prompt.text) + "\n");
    Flush();
  }

  // Commands that begin with a slash and take a text. False if the line is none.
  bool ObeySlash(const std::string& line) {
    if (const auto text = CommandText(line, "system")) {
      chat_.SetSystem(*text);
      if (at_terminal_) {
        Print(text->empty() ? "(no system message)\n" : "(system message set)\n");
      }
      return true;
    }
    for (const char* role : {"observation", "tool"}) {
      if (const auto text = CommandText(line, role)) {
        TryAsk(*text, role);
        return true;
      }
    }
    if (line != "/prompt") return false;
    show_prompt_ = !show_prompt_;
    return true;
  }

  void TryAsk(const std::string& query, const char* role) {
    try {
      Ask(query, role);
    } catch (const Error& error) {
      // A message that cannot be answered ends neither the chat nor the lines of a pipe.
      Flush();
      WriteError("glint: " + OneLine(Explain(error)) + "\n");
      failed_ = true;
    }
  }

  // Does what a line says. False if it says to leave.
  bool Obey(std::string line) {
    line = std::string(StripRight(StripLeft(line)));
    const std::string command = line.starts_with('/') ? line.substr(1) : line;
    if (line.empty()) return true;
    if (command == "stop" || line == "/exit" || line == "/quit") return false;
    if (command == "clear") {
      chat_.Clear();
      if (at_terminal_) Print("(\u5386\u53f2\u5df2\u6e05\u7a7a / history cleared)\n");
      return true;
    }
    if (line == "/help" || (at_terminal_ && line == "help")) {
      Print(kHelp);
      return true;
    }
    if (!ObeySlash(line)) TryAsk(line, "user");
    return true;
  }

  void Ask(const std::string& query, const char* role) {
    session_.ClearCancel();
    GenerateOptions generate;
    generate.sampler = sampler_;
    // Each turn draws other numbers, and the same conversation with the same seed is the same
    // again.
    sampler_.seed += 1;
    generate.max_tokens = options_.sampling.max_tokens;
    generate.lookup = options_.sampling.lookup;
    ParseContextPolicy(options_.overflow, &generate.policy);
    size_t forgotten = 0;
    bool begun = false;
    const auto begin = [&] {
      if (begun) return;
      begun = true;
      if (forgotten != 0) {
        Note("the context of " + std::to_string(session_.context()) +
             " tokens is full: forgot the " +
             (forgotten == 1 ? "oldest turn" : std::to_string(forgotten) + " oldest turns"));
      }
      if (at_terminal_ && !options_.json) Print(kReplyPrompt);
    };
    const Reply reply = chat_.Ask(
        query, generate,
        [&](std::string_view piece) {
          begin();
          if (options_.json) return;
          Print(to_terminal_ ? ForTerminal(piece) : std::string(piece));
          Flush();
        },
        &forgotten, role);
    begin();
    if (options_.json) {
      PrintReply(reply);
    } else {
      Print("\n");
    }
    Flush();
    if (options_.stats) Note(Statistics(reply));
    if (options_.json && reply.end != Reply::End::kError) return;
    if (reply.end == Reply::End::kCancelled) {
      Print("(\u5df2\u505c\u6b62 / stopped)\n");
    } else if (reply.end == Reply::End::kContextFull && reply.prompt_tokens > session_.context()) {
      Note("no reply: " + PromptTooLong(reply.prompt_tokens, session_.context()));
    } else if (reply.end == Reply::End::kContextFull) {
      Note("the reply ends here: the context of " + std::to_string(session_.context()) +
           " tokens is full (-c raises it)");
    } else if (reply.end == Reply::End::kError) {
      Expect(reply.status, model_);
    }
  }

  // "prompt 120 tokens, 96 of them kept, 24 read at 80.1/s; reply 12 tokens, 21.0/s"
  static std::string Statistics(const Reply& reply) {
    const size_t read = reply.prompt_tokens - reply.kept_tokens;
    return "prompt " + std::to_string(reply.prompt_tokens) + " tokens, " +
           std::to_string(reply.kept_tokens) + " of them kept, " + std::to_string(read) +
           Format(" read at %.1f/s; reply ", PerSecond(read, reply.prompt_seconds)) +
           std::to_string(reply.ids.size()) +
           Format(" tokens, %.1f/s", PerSecond(reply.ids.size(), reply.reply_seconds));
  }

  // --json: one object a line.
  void PrintReply(const Reply& reply) const {
    nlohmann::ordered_json json;
    if (show_prompt_) json = {{"prompt", prompt_.text}, {"prompt_ids", prompt_.ids}};
    json["text"] = reply.text;
    json["ids"] = reply.ids;
    json["end"] = Name(reply.end);
    json["prompt_tokens"] = reply.prompt_tokens;
    json["kept_tokens"] = reply.kept_tokens;
    json["prompt_tokens_per_s"] =
        PerSecond(reply.prompt_tokens - reply.kept_tokens, reply.prompt_seconds);
    json["reply_tokens_per_s"] = PerSecond(reply.ids.size(), reply.reply_seconds);
    json["messages"] = nlohmann::ordered_json::array();
    for (const ChatMessage& message : reply.messages) {
      json["messages"].push_back({{"role", message.role},
                                  {"metadata", message.metadata},
                                  {"content", message.content}});
    }
    PrintJson(json);
  }

  const Model& model_;
  const Options& options_;
  Session session_;
  Chat chat_;
  SamplerOptions sampler_;
  bool at_terminal_, to_terminal_, show_prompt_, failed_ = false;
  ChatPrompt prompt_;  // the last one, for --json
};

}  // namespace

RunCommand SetUpChat(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  AddModelOption(app, &options->compute, kBuiltinName);
  app.add_option("--system", options->system, "System message, where the model knows one");
  app.add_option("--tools", options->tools_file, "JSON list of the tools that the model may call")
      ->check(ExistingFile());
  app.add_option("--overflow", options->overflow,
                 "When the context is full: forget the oldest turns (drop, the default), give no\n"
                 "reply (stop), or an error that says so, also where -n tokens would not fit (error)")
      ->check(CLI::IsMember({"stop", "drop", "error"}).description(""))
      ->option_text("POLICY");
  app.add_flag("--show-prompt", options->show_prompt,
               "Print what the model sees, special tokens written out, before each reply");
  app.add_flag("--json", options->json,
               "One JSON object per reply: text, ids, messages, speeds; with --show-prompt also the prompt "
               "and its ids");
  app.add_flag("--stats", options->stats,
               "After each reply a note on stderr: tokens of the prompt, how many of them were kept "
               "from the turn before, speeds");
  AddSamplingOptions(app, &options->sampling);
  AddComputeOptions(app, &options->compute);
  AddAdapterOption(app, &options->compute);
  app.footer(
      "In the chat: clear forgets the conversation, stop or Ctrl-D leaves, Ctrl-C stops a reply;\n"
      "/system TEXT sets the system message, /observation TEXT or /tool TEXT says what a tool answered,\n"
      "/prompt shows what the model sees.\n"
      "Where standard input is no terminal, each line is a message and each reply is printed with "
      "a\n"
      "newline, nothing else.\n\n"
      "Examples:\n"
      "  glint chat chatglm-6b.glint\n"
      "  echo 'What is \"cat\" in Chinese?' | glint chat --temp 0");
  return [options] {
    const std::unique_ptr<Model> model = OpenModel(options->compute);
    const OpenAdapters adapters = OpenAdaptersOf(*model, options->compute);
    ChatLoop chat(*model, *options, adapters);
    NoteDefaultContext(*model, options->compute);
    chat.Run();
  };
}

}  // namespace glint
