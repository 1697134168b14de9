// The C interface: chat formats and conversations.
#include "formats/json.h"
#include "lib/c_api/c_api.h"
#include "lib/text/chat.h"

using namespace glint;
using namespace glint::c_api;

struct glint_chat {
  explicit glint_chat(glint_session* of) : use(of), session(of), chat(*of->session) {}
  Ref<glint_session> use;
  glint_session* session;
  Chat chat;
  ContextPolicy policy = ContextPolicy::kDropOldest;
  size_t n_messages = 0;  // of the history: may be asked for while a reply is made
};

namespace glint::c_api {

const ChatFormat& ChatFormatOf(const glint_model& model) {
  TokenizerOf(model);
  if (const ChatFormat* format = model.model->chat()) return *format;
  throw StatusError(GLINT_ERROR_UNSUPPORTED,
                    model.model->file().path() +
                        ": the model has no chat format: nothing says how it was taught to chat");
}

std::vector<ChatMessage> MessagesFrom(const glint_message* messages, size_t n) {
  std::vector<ChatMessage> all;
  if (n == 0) return all;
  CheckNotNull(messages, "messages");
  size_t stride;
  std::memcpy(&stride, messages, sizeof stride);
  const char* at = reinterpret_cast<const char*>(messages);
  for (size_t i = 0; i < n; ++i, at += stride) {
    size_t size;
    std::memcpy(&size, at, sizeof size);
    if (size != stride) ThrowArgument("messages of different sizes");
    const glint_message message = ReadStruct(reinterpret_cast<const glint_message*>(at),
                                             glint_message_init(), "glint_message");
    CheckNotNull(message.role, "role");
    all.push_back({message.role, message.content ? message.content : "",
                   message.metadata ? message.metadata : ""});
  }
  return all;
}

namespace {

// A list of tools, or null.
nlohmann::ordered_json ToolsFrom(const char* tools) {
  if (!tools) return nullptr;
  ParseJson(tools,
            "tools");  // checks it, but does not keep the order of keys, which the model sees
  nlohmann::ordered_json list = nlohmann::ordered_json::parse(tools);
  if (!list.is_array()) {
    ThrowArgument(std::string("tools: expected a JSON list, found ") + list.type_name());
  }
  return list;
}

// Whatever a call came to: glint_chat_history_size may be asked at any time.
struct CountMessages {
  glint_chat* chat;
  ~CountMessages() { chat->n_messages = chat->chat.history().size(); }
};

// Calls fn(chat) with the session to itself.
template <class Fn>
glint_status WithChat(glint_chat* chat, const Fn& fn) {
  if (!chat) return GLINT_ERROR_ARGUMENT;
  return WithSession(chat->session, GLINT_ERROR_ARGUMENT, [&](glint_session&) {
    const CountMessages count{chat};
    return fn(chat->chat);
  });
}

}  // namespace
}  // namespace glint::c_api

glint_status glint_chat_prompt(const glint_model* model, const glint_message* messages,
                               size_t n_messages, const char* tools, int32_t* ids, size_t capacity,
                               size_t* n_ids, char* error, size_t error_size) {
  if (n_ids) *n_ids = 0;
  return Guard(GLINT_ERROR_ARGUMENT, {error, error_size}, [&] {
    CheckNotNull(model, "model");
    CheckNotNull(n_ids, "n_ids");
    const std::vector<ChatMessage> all = MessagesFrom(messages, n_messages);
    if (all.empty()) ThrowArgument("a prompt needs at least 1 message");
    const nlohmann::ordered_json list = ToolsFrom(tools);
    const ChatFormat& format = ChatFormatOf(*model);
    CheckUnchanged(model->model->file());
    const ChatPrompt prompt = format.Build(all, tools ? &list : nullptr);
    return WriteBuffer(std::span<const int32_t>(prompt.ids), ids, capacity, n_ids);
  });
}

glint_status glint_chat_create(glint_session* session, const glint_chat_options* options,
                               glint_chat** chat, char* error, size_t error_size) {
  if (chat) *chat = nullptr;
  const glint_status status = WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    CheckNotNull(chat, "chat");
    const glint_chat_options all =
        ReadStruct(options, glint_chat_options_init(), "glint_chat_options");
    const ContextPolicy policy = PolicyFrom(all.policy);
    CheckEnum(all.reserved, 1, "reserved");
    ChatFormatOf(*s.model.get());
    auto made = std::make_unique<glint_chat>(&s);
    if (all.system) made->chat.SetSystem(all.system);
    made->policy = policy;
    made->chat.SetTools(ToolsFrom(all.tools));
    *chat = made.release();
    return GLINT_OK;
  });
  const MessageBuffer message{error, error_size};
  message.Set(status == GLINT_OK           ? ""
              : status == GLINT_ERROR_BUSY ? glint_status_text(status)
              : session                    ? session->message
                                           : "session is null");
  return status;
}

void glint_chat_free(glint_chat* chat) {
  delete chat;
}

glint_status glint_chat_ask(glint_chat* chat, const char* role, const char* text, size_t text_size,
                            const glint_generate_options* options, glint_reply* reply) {
  return WithChat(chat, [&](Chat& c) {
    if (reply) WriteStruct(glint_reply_init(), reply, "glint_reply");
    GenerateOptions all = GenerateOptionsFrom(options);
    if (all.policy != PolicyFrom(GLINT_CONTEXT_DROP)) {
      ThrowArgument("policy: a chat has its own, that of glint_chat_options");
    }
    all.policy = chat->policy;
    const std::string_view query = TextArgument(text, text_size, "text");
    const auto make = [&](int32_t, size_t* forgotten) {
      return c.Ask(query, all, nullptr, forgotten, role ? role : "user");
    };
    return Answer(*chat->session, make, reply);
  });
}

glint_status glint_chat_set_system(glint_chat* chat, const char* text) {
  return WithChat(chat, [&](Chat& c) {
    c.SetSystem(text ? text : "");
    return GLINT_OK;
  });
}

glint_status glint_chat_set_tools(glint_chat* chat, const char* tools) {
  return WithChat(chat, [&](Chat& c) {
    c.SetTools(ToolsFrom(tools));
    return GLINT_OK;
  });
}

glint_status glint_chat_set_history(glint_chat* chat, const glint_message* messages,
                                    size_t n_messages) {
  return WithChat(chat, [&](Chat& c) {
    std::vector<ChatMessage> all = MessagesFrom(messages, n_messages);
    for (const ChatMessage& message : all) {
      if (message.role == "system") {
        ThrowArgument("a history has no system message; glint_chat_set_system sets it");
      }
    }
    c.SetHistory(std::move(all));
    return GLINT_OK;
  });
}

size_t glint_chat_history_size(const glint_chat* chat) {
  return chat ? chat->n_messages : 0;
}

glint_status glint_chat_get_message(glint_chat* chat, size_t index, glint_message* message) {
  return WithChat(chat, [&](Chat& c) {
    if (index >= c.history().size()) {
      ThrowArgument("message " + std::to_string(index) + " of a history of " +
                    std::to_string(c.history().size()));
    }
    const ChatMessage& found = c.history()[index];
    glint_message result = glint_message_init();
    result.role = found.role.c_str();
    result.content = found.content.c_str();
    result.metadata = found.metadata.empty() ? nullptr : found.metadata.c_str();
    WriteStruct(result, message, "glint_message");
    return GLINT_OK;
  });
}
