#include "lib/text/chat.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "lib/error.h"
#include "lib/text/jinja.h"
#include "lib/text/python_json.h"
#include "lib/text/tokenizer.h"

namespace glint {

using OrderedJson = nlohmann::ordered_json;
using Messages = std::span<const ChatMessage>;

// Writes a prompt piece by piece, for the model and for people.
class PromptWriter {
 public:
  PromptWriter(const ChatFormat& format, ChatPrompt* prompt) : format_(format), prompt_(prompt) {}

  // A special token of the format's row.
  void Special(size_t index);
  // Text of messages. None of it becomes a special token.
  void Text(std::string_view text) {
    Append(format_.tokenizer_->EncodePlain(text));
    prompt_->text += text;
  }
  // What the tokenizer puts around every text; `shown` names it.
  void Around(std::string_view shown) {
    Append(format_.tokenizer_->EncodeWithSpecial(""));
    prompt_->text += shown;
  }
  void Template(Messages messages, const OrderedJson* tools);
  [[noreturn]] void Fail(const std::string& why) const {
    throw Error(format_.where_ + ": chat format " + Quoted(format_.name()) + ": " + why);
  }

 private:
  void Append(const std::vector<int32_t>& ids) {
    prompt_->ids.insert(prompt_->ids.end(), ids.begin(), ids.end());
  }

  const ChatFormat& format_;
  ChatPrompt* prompt_;
};

struct ChatFormatRow {
  const char* name;
  void (*build)(PromptWriter* writer, Messages messages, const OrderedJson* tools);
  ReplyRules reply;
  std::vector<std::string_view> specials;  // token texts
  int part;  // index of the one that begins another message of a reply; -1: none
  bool has_template;
};

namespace {

bool IsObservation(std::string_view role) {
  return role == "observation" || role == "tool";
}

// The formats of ChatGLM-6B and ChatGLM2 know questions and answers alone.
void CheckTurns(const PromptWriter& writer, Messages messages, const OrderedJson* tools) {
  if (tools) writer.Fail("it has no tools");
  if (!messages.empty() && messages[0].role == "system") writer.Fail("it has no system message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string_view expected = i % 2 == 0 ? "user" : "assistant";
    if (messages[i].role == expected) continue;
    writer.Fail("expected messages of user and assistant in turn, found one of " +
                Quoted(messages[i].role));
  }
  if (messages.size() % 2 == 0) writer.Fail("expected a last message of the user");
}

// ChatGLM-6B's chat() in THUDM's modeling_chatglm.py: the first query goes bare, rounds count from
// 0. The tokenizer ends the text with [gMASK] and <sop>.
void BuildChatGlm(PromptWriter* writer, Messages messages, const OrderedJson* tools) {
  CheckTurns(*writer, messages, tools);
  std::string text;
  for (size_t i = 0; i < messages.size(); i += 2) {
    if (messages.size() == 1) {
      text = messages[i].content;
      break;
    }
    text += "[Round " + std::to_string(i / 2) + "]\n\u95ee\uff1a";
    (text += messages[i].content) += "\n\u7b54\uff1a";
    if (i + 1 < messages.size()) (text += messages[i + 1].content) += '\n';
  }
  writer->Text(text);
  writer->Around("[gMASK]<sop>");
}

// ChatGLM2's build_prompt: rounds count from 1, the first one is written too.
void BuildChatGlm2(PromptWriter* writer, Messages messages, const OrderedJson* tools) {
  CheckTurns(*writer, messages, tools);
  std::string text;
  for (size_t i = 0; i < messages.size(); i += 2) {
    text += "[Round " + std::to_string(i / 2 + 1) + "]\n\n\u95ee\uff1a";
    (text += messages[i].content) += "\n\n\u7b54\uff1a";
    if (i + 1 < messages.size()) (text += messages[i + 1].content) += "\n\n";
  }
  writer->Special(0);
  writer->Special(1);
  writer->Text(text);
}

// The order of ChatGLM3's and GLM-4's role tokens in their rows.
enum RoleToken : size_t { kSystem, kUser, kAssistant, kObservation, kGMask, kSop };

RoleToken TokenOfRole(const PromptWriter& writer, std::string_view role) {
  if (role == "system") return kSystem;
  if (role == "user") return kUser;
  if (role == "assistant") return kAssistant;
  if (IsObservation(role)) return kObservation;
  writer.Fail("expected a role of system, user, assistant, observation, found " + Quoted(role));
}

// build_single_message of both. Line and content are texts of their own, each with the tokenizer's
// space in front where it adds one.
void WriteMessage(PromptWriter* writer, size_t role, std::string_view metadata,
                  std::string_view content) {
  writer->Special(role);
  writer->Text(std::string(metadata) + "\n");
  writer->Text(content);
}

// ChatGLM3's build_chat_input. The tools follow the system message, which is then what THUDM's own
// examples say unless there is another.
void BuildChatGlm3(PromptWriter* writer, Messages messages, const OrderedJson* tools) {
  writer->Special(kGMask);
  writer->Special(kSop);
  const auto with_tools = [&](std::string text) {
    return tools ? text + "\n" + PythonJson(*tools, 4) : text;
  };
  if (tools && (messages.empty() || messages[0].role != "system")) {
    WriteMessage(writer, kSystem, "",
                 with_tools("Answer the following questions as best as you can. You have access to "
                            "the following tools:"));
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    const RoleToken role = TokenOfRole(*writer, message.role);
    const bool system = role == kSystem && i == 0;
    WriteMessage(writer, role, message.metadata,
                 system ? with_tools(message.content) : message.content);
  }
  writer->Special(kAssistant);
}

// What GLM-4 is told about its tools, by apply_chat_template of its tokenization_chatglm.py. That
// has texts for three tools of Zhipu's own service too; they are refused here.
std::string Glm4Tools(const PromptWriter& writer, const OrderedJson& tools) {
  std::string text =
      "\u4f60\u662f\u4e00\u4e2a\u540d\u4e3a GLM-4 \u7684\u4eba\u5de5\u667a\u80fd\u52a9\u624b\u3002"
      "\u4f60\u662f\u57fa\u4e8e\u667a\u8c31AI\u8bad\u7ec3\u7684\u8bed\u8a00\u6a21\u578b GLM-4 "
      "\u6a21\u578b\u5f00\u53d1\u7684\uff0c\u4f60\u7684\u4efb\u52a1\u662f\u9488\u5bf9\u7528\u6237"
      "\u7684\u95ee\u9898\u548c\u8981\u6c42\u63d0\u4f9b\u9002\u5f53\u7684\u7b54\u590d\u548c\u652f"
      "\u6301\u3002\n\n# \u53ef\u7528\u5de5\u5177";
  for (const OrderedJson& tool : tools) {
    const bool is_function = tool.is_object() && tool.contains("function") &&
                             tool.value("type", OrderedJson()) == "function" &&
                             tool["function"].is_object() && tool["function"].contains("name") &&
                             tool["function"]["name"].is_string();
    if (!is_function) {
      writer.Fail("expected tools {\"type\": \"function\", \"function\": {\"name\": ...}}, found " +
                  Quoted(PythonJson(tool, -1)));
    }
    const OrderedJson& function = tool["function"];
    text += "\n\n## " + function["name"].get<std::string>() + "\n\n" + PythonJson(function, 4);
    text +=
        "\n\u5728\u8c03\u7528\u4e0a\u8ff0\u51fd\u6570\u65f6\uff0c\u8bf7\u4f7f\u7528 Json "
        "\u683c\u5f0f\u8868\u793a\u8c03\u7528\u7684\u53c2\u6570\u3002";
  }
  return text;
}

// GLM-4's apply_chat_template: tools are a system message of their own, empty messages are left
// out.
void BuildGlm4(PromptWriter* writer, Messages messages, const OrderedJson* tools) {
  writer->Special(kGMask);
  writer->Special(kSop);
  if (tools) WriteMessage(writer, kSystem, "", Glm4Tools(*writer, *tools));
  for (const ChatMessage& message : messages) {
    const RoleToken role = TokenOfRole(*writer, message.role);
    if (!message.content.empty()) WriteMessage(writer, role, message.metadata, message.content);
  }
  writer->Special(kAssistant);
}

void BuildFromTemplate(PromptWriter* writer, Messages messages, const OrderedJson* tools) {
  writer->Template(messages, tools);
}

// What the models were taught to say for the time of their training.
constexpr std::string_view kTime = "[[\u8bad\u7ec3\u65f6\u95f4]]";
constexpr std::string_view kYear = "2023\u5e74";

const std::vector<ChatFormatRow>& Rows() {
  static const std::vector<ChatFormatRow> kRows = {
      {"chatglm-6b", BuildChatGlm, {true, kTime, kYear, true, false, false}, {}, -1, false},
      {"chatglm2",
       BuildChatGlm2,
       {true, kTime, kYear, false, false, false},
       {"[gMASK]", "sop"},
       -1,
       false},
      {"chatglm3",
       BuildChatGlm3,
       {true, kTime, kYear, false, true, true},
       {"<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "[gMASK]", "sop"},
       kAssistant,
       false},
      {"glm4",
       BuildGlm4,
       {true, kTime, kYear, false, true, true},
       {"<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "[gMASK]", "<sop>"},
       kAssistant,
       false},
      {"jinja", BuildFromTemplate, {false, "", "", false, false, false}, {}, -1, true},
  };
  return kRows;
}

// A template's variables, as transformers names them.
constexpr const char* kTokenNames[] = {"bos_token", "eos_token", "unk_token", "pad_token"};

// Unlike formats/json.h: that one is no part of lib/text.
std::string StringOf(const nlohmann::json& prompt, const char* key, const std::string& where) {
  const auto found = prompt.find(key);
  if (found != prompt.end() && found->is_string()) return found->get<std::string>();
  throw Error(where + ": expected a string " + Quoted(key) + ", found " +
              (found == prompt.end() ? "none" : found->type_name()));
}

const ChatFormatRow& FindRow(const std::string& name, const std::string& where) {
  std::string known;
  for (const ChatFormatRow& row : Rows()) {
    if (name == row.name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(where + ": expected a known chat format (" + known + "), found " + Quoted(name));
}

}  // namespace

void PromptWriter::Special(size_t index) {
  prompt_->ids.push_back(format_.special_ids_[index]);
  prompt_->text += format_.row_->specials[index];
}

void PromptWriter::Template(Messages messages, const OrderedJson* tools) {
  OrderedJson variables = {{"messages", OrderedJson::array()},
                           {"tools", tools ? *tools : OrderedJson()},
                           {"documents", nullptr},
                           {"add_generation_prompt", true}};
  for (const auto& [name, token] : format_.tokens_) variables[name] = token;
  for (const ChatMessage& message : messages) {
    OrderedJson item = {{"role", message.role}};
    if (!message.metadata.empty()) item["metadata"] = message.metadata;
    item["content"] = message.content;
    variables["messages"].push_back(std::move(item));
  }
  const std::string text = format_.template_->Render(variables);
  Append(format_.tokenizer_->EncodeParsed(text));
  prompt_->text += text;
}

ChatFormat::ChatFormat(const ChatFormatRow& row, const Tokenizer& tokenizer,
                       const std::string& where)
    : row_(&row), tokenizer_(&tokenizer), where_(where) {
  for (const std::string_view token : row.specials) {
    special_ids_.push_back(tokenizer.FindToken(token));
    if (special_ids_.back() >= 0) continue;
    throw Error(where + ": chat format " + Quoted(row.name) + " needs a token " + Quoted(token) +
                ", which the tokenizer lacks");
  }
  if (row.part >= 0) part_id_ = special_ids_[static_cast<size_t>(row.part)];
}

ChatFormat::~ChatFormat() = default;

void ChatFormat::CheckName(const std::string& name, const std::string& where) {
  FindRow(name, where);
}

void ChatFormat::ReadTemplate(const nlohmann::json& prompt) {
  template_ = std::make_unique<JinjaTemplate>(StringOf(prompt, "template", where_),
                                              where_ + ": 'template'");
  for (const char* name : kTokenNames) {
    if (prompt.contains(name)) tokens_.emplace_back(name, StringOf(prompt, name, where_));
  }
}

std::unique_ptr<ChatFormat> ChatFormat::Create(const nlohmann::json& prompt,
                                               const Tokenizer& tokenizer,
                                               const std::string& where) {
  const ChatFormatRow& row = FindRow(StringOf(prompt, "format", where), where);
  std::unique_ptr<ChatFormat> format(new ChatFormat(row, tokenizer, where));
  if (row.has_template) {
    format->ReadTemplate(prompt);
    return format;
  }
  const auto refuse = [&](const char* key) {
    if (!prompt.contains(key)) return;
    throw Error(where + ": chat format " + Quoted(row.name) + " has no " + Quoted(key));
  };
  refuse("template");
  for (const char* name : kTokenNames) refuse(name);
  return format;
}

const char* ChatFormat::name() const {
  return row_->name;
}

const ReplyRules& ChatFormat::reply() const {
  return row_->reply;
}

ChatPrompt ChatFormat::Build(std::span<const ChatMessage> messages,
                             const nlohmann::ordered_json* tools) const {
  ChatPrompt prompt;
  PromptWriter writer(*this, &prompt);
  if (tools && !tools->is_array()) writer.Fail("expected a list of tools");
  row_->build(&writer, messages, tools);
  return prompt;
}

}  // namespace glint
