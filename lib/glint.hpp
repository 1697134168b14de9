// glint for C++17: a thin wrapper over glint.h, header-only. Owns objects, takes std::string_view
// and std::vector, and throws glint_cpp::Error where a C call fails. glint.h says what everything
// means; the rules for threads and lifetimes are the same.
//
//   glint_cpp::Model model("chatglm-6b.glint");
//   glint_cpp::Session session(model);
//   glint_cpp::Chat chat(session);
//   chat.Ask("What is \"cat\" in Chinese?", [](std::string_view piece, int32_t) {
//     std::cout << piece << std::flush;
//     return true;
//   });
#ifndef GLINT_HPP_
#define GLINT_HPP_

#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "glint.h"

namespace glint_cpp {

// What a call throws that did not end with GLINT_OK. what() is one line.
class Error : public std::runtime_error {
 public:
  Error(glint_status status, const std::string& message)
      : std::runtime_error(message.empty() ? glint_status_text(status) : message),
        status_(status) {}
  glint_status status() const noexcept { return status_; }

 private:
  glint_status status_;
};

inline void Check(glint_status status, const char* message = "") {
  if (status != GLINT_OK) throw Error(status, message);
}

// An object of the C interface, freed by kFree.
template <class T, void (*kFree)(T*)>
struct Free {
  void operator()(T* object) const noexcept { kFree(object); }
};
template <class T, void (*kFree)(T*)>
using Owned = std::unique_ptr<T, Free<T, kFree>>;

inline glint_capabilities Capabilities() {
  glint_capabilities result = glint_capabilities_init();
  Check(glint_get_capabilities(&result));
  return result;
}

// Calls fn(buffer, capacity, &n) as often as it takes to get everything.
template <class T, class Fn>
std::vector<T> ReadBuffer(const Fn& fn) {
  std::vector<T> all(64);
  size_t n = 0;
  while (fn(all.data(), all.size(), &n) == GLINT_ERROR_BUFFER) all.resize(n);
  all.resize(n);
  return all;
}

class Model {
 public:
  explicit Model(const std::string& path,
                 const glint_model_options& options = glint_model_options_init()) {
    Open([&](glint_model** model, char* error, size_t size) {
      return glint_model_open(path.c_str(), &options, model, error, size);
    });
  }
  // Takes no ownership of the descriptor, or of the memory (which must stay, see glint.h).
  static Model FromDescriptor(int descriptor, const char* name = nullptr,
                              const glint_model_options& options = glint_model_options_init()) {
    return Model([&](glint_model** model, char* error, size_t size) {
      return glint_model_open_descriptor(descriptor, name, &options, model, error, size);
    });
  }
  static Model FromMemory(const void* data, size_t bytes, const char* name = nullptr,
                          const glint_model_options& options = glint_model_options_init()) {
    return Model([&](glint_model** model, char* error, size_t size) {
      return glint_model_open_memory(data, bytes, name, &options, model, error, size);
    });
  }

  const glint_model* get() const noexcept { return model_.get(); }

  glint_model_info Info() const {
    glint_model_info info = glint_model_info_init();
    Check(glint_model_get_info(get(), &info));
    return info;
  }
  bool IsStop(int32_t id) const { return glint_model_is_stop(get(), id) != 0; }

  std::vector<int32_t> Tokenize(std::string_view text,
                                glint_tokenize_mode mode = GLINT_TOKENIZE_SPECIAL) const {
    return ReadBuffer<int32_t>([&](int32_t* ids, size_t capacity, size_t* n) {
      const glint_status status =
          glint_tokenize(get(), text.data(), text.size(), mode, ids, capacity, n);
      if (status != GLINT_ERROR_BUFFER) Check(status);
      return status;
    });
  }
  std::string Detokenize(const std::vector<int32_t>& ids) const {
    const std::vector<char> text = ReadBuffer<char>([&](char* buffer, size_t capacity, size_t* n) {
      const glint_status status =
          glint_detokenize(get(), ids.data(), ids.size(), buffer, capacity, n);
      if (status != GLINT_ERROR_BUFFER) Check(status);
      return status;
    });
    return {text.begin(), text.end()};
  }
  int32_t FindToken(const std::string& token) const {
    return glint_find_token(get(), token.c_str());
  }
  glint_memory Memory(const glint_session_options& options = glint_session_options_init()) const {
    glint_memory memory = glint_memory_init();
    char error[GLINT_ERROR_SIZE] = "";
    Check(glint_memory_estimate(get(), &options, &memory, error, sizeof error), error);
    return memory;
  }
  // The prompt for a reply to the last of these messages: {role, content}.
  std::vector<int32_t> ChatPrompt(const std::vector<std::pair<std::string, std::string>>& messages,
                                  const char* tools = nullptr) const {
    std::vector<glint_message> all;
    for (const auto& [role, content] : messages) {
      all.push_back(glint_message_init());
      all.back().role = role.c_str();
      all.back().content = content.c_str();
    }
    return ReadBuffer<int32_t>([&](int32_t* ids, size_t capacity, size_t* n) {
      char error[GLINT_ERROR_SIZE] = "";
      const glint_status status = glint_chat_prompt(get(), all.data(), all.size(), tools, ids,
                                                    capacity, n, error, sizeof error);
      if (status != GLINT_ERROR_BUFFER) Check(status, error);
      return status;
    });
  }

 private:
  template <class Fn,
            class = std::enable_if_t<std::is_invocable_v<Fn, glint_model**, char*, size_t>>>
  explicit Model(const Fn& open) {
    Open(open);
  }
  template <class Fn>
  void Open(const Fn& open) {
    glint_model* model = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    const glint_status status = open(&model, error, sizeof error);
    model_.reset(model);
    Check(status, error);
  }

  Owned<glint_model, glint_model_free> model_;
};

// Ids to text one by one, never half a character.
class Detokenizer {
 public:
  explicit Detokenizer(const Model& model) {
    glint_detokenizer* made = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    const glint_status status = glint_detokenizer_create(model.get(), &made, error, sizeof error);
    detokenizer_.reset(made);
    Check(status, error);
  }
  // Views stay until the next call.
  std::string_view Add(int32_t id) {
    const char* text = "";
    size_t size = 0;
    Check(glint_detokenizer_add(detokenizer_.get(), id, &text, &size));
    return {text, size};
  }
  std::string_view Finish() {
    const char* text = "";
    size_t size = 0;
    Check(glint_detokenizer_finish(detokenizer_.get(), &text, &size));
    return {text, size};
  }

 private:
  Owned<glint_detokenizer, glint_detokenizer_free> detokenizer_;
};

class Sampler {
 public:
  Sampler(size_t n_logits, const glint_sampler_options& options = glint_sampler_options_init()) {
    glint_sampler* made = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    const glint_status status =
        glint_sampler_create(&options, n_logits, &made, error, sizeof error);
    sampler_.reset(made);
    Check(status, error);
  }
  void SetSeed(uint64_t seed) { Check(glint_sampler_set_seed(sampler_.get(), seed)); }
  int32_t Sample(const float* logits, size_t n_logits, const std::vector<int32_t>& history = {}) {
    int32_t id = -1;
    Check(glint_sampler_sample(sampler_.get(), logits, n_logits, history.data(), history.size(),
                               &id));
    return id;
  }

 private:
  Owned<glint_sampler, glint_sampler_free> sampler_;
};

// A prefix or a LoRA.
class Adapter {
 public:
  Adapter(const Model& model, const std::string& path,
          const glint_model_options& options = glint_model_options_init()) {
    glint_adapter* made = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    const glint_status status =
        glint_adapter_open(model.get(), path.c_str(), &options, &made, error, sizeof error);
    adapter_.reset(made);
    Check(status, error);
  }
  const glint_adapter* get() const noexcept { return adapter_.get(); }
  std::string Kind() const { return glint_adapter_kind(get()); }

 private:
  Owned<glint_adapter, glint_adapter_free> adapter_;
};

// A piece of a reply (glint_token_fn). False ends the reply. It may throw: the reply ends, and the
// call that generates throws the same.
using OnToken = std::function<bool(std::string_view text, int32_t id)>;

struct Reply {
  std::string text;
  std::vector<int32_t> ids;
  glint_end end = GLINT_END_STOP;
  glint_status status = GLINT_OK;  // GLINT_CANCELLED is not thrown
  size_t prompt_tokens = 0, kept_tokens = 0, forgotten_turns = 0;
  double prompt_seconds = 0, reply_seconds = 0;
};

struct GenerateOptions {
  glint_sampler_options sampler = glint_sampler_options_init();
  size_t max_tokens = 0;
  bool lookup = false;
  glint_context_policy policy = GLINT_CONTEXT_DROP;  // a Chat has its own: glint_chat_options
};

namespace internal {

struct Callback {
  const OnToken& on_token;
  std::exception_ptr thrown = nullptr;
};

inline int CallOnToken(void* user, const char* text, size_t size, int32_t id) {
  Callback& callback = *static_cast<Callback*>(user);
  try {
    return callback.on_token(std::string_view(text, size), id) ? 0 : 1;
  } catch (...) {
    callback.thrown = std::current_exception();
    return 1;
  }
}

// Calls fn(options, reply) of the C interface.
template <class Fn>
Reply Generate(glint_session* session, const GenerateOptions& given, const OnToken& on_token,
               const Fn& fn) {
  Callback callback{on_token};
  glint_generate_options options = glint_generate_options_init();
  options.sampler = &given.sampler;
  options.max_tokens = given.max_tokens;
  options.lookup = given.lookup ? 1 : 0;
  options.policy = given.policy;
  if (on_token) {
    options.on_token = CallOnToken;
    options.user = &callback;
  }
  glint_reply made = glint_reply_init();
  const glint_status status = fn(&options, &made);
  if (callback.thrown) std::rethrow_exception(callback.thrown);
  if (status != GLINT_OK && status != GLINT_CANCELLED) {
    throw Error(status, status == GLINT_ERROR_BUSY ? "" : glint_session_error(session));
  }
  Reply reply;
  if (made.text) reply.text.assign(made.text, made.text_size);
  if (made.n_ids != 0) reply.ids.assign(made.ids, made.ids + made.n_ids);
  reply.end = static_cast<glint_end>(made.end);
  reply.status = status;
  reply.prompt_tokens = made.prompt_tokens;
  reply.kept_tokens = made.kept_tokens;
  reply.forgotten_turns = made.forgotten_turns;
  reply.prompt_seconds = made.prompt_seconds;
  reply.reply_seconds = made.reply_seconds;
  return reply;
}

}  // namespace internal

class Session {
 public:
  explicit Session(const Model& model,
                   const glint_session_options& options = glint_session_options_init()) {
    glint_session* made = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    const glint_status status =
        glint_session_create(model.get(), &options, &made, error, sizeof error);
    session_.reset(made);
    Check(status, error);
  }
  glint_session* get() const noexcept { return session_.get(); }

  glint_session_info Info() const {
    glint_session_info info = glint_session_info_init();
    CheckCall(glint_session_get_info(get(), &info));
    return info;
  }
  // From any thread or a signal handler.
  void Cancel() noexcept { glint_session_cancel(get()); }
  void ClearCancel() noexcept { glint_session_clear_cancel(get()); }

  // These throw for every status but GLINT_OK, also GLINT_CANCELLED.
  void Start(const std::vector<int32_t>& ids) {
    CheckCall(glint_session_start(get(), ids.data(), ids.size()));
  }
  void Append(const std::vector<int32_t>& ids) {
    CheckCall(glint_session_append(get(), ids.data(), ids.size()));
  }
  void Append(int32_t id) { CheckCall(glint_session_append(get(), &id, 1)); }
  void Truncate(size_t length) { CheckCall(glint_session_truncate(get(), length)); }

  std::vector<int32_t> Ids() const {
    return ReadBuffer<int32_t>([&](int32_t* ids, size_t capacity, size_t* n) {
      const glint_status status = glint_session_ids(get(), ids, capacity, n);
      if (status != GLINT_ERROR_BUFFER) CheckCall(status);
      return status;
    });
  }
  // {pointer, count}, until the next call that computes.
  std::pair<const float*, size_t> Logits() const {
    std::pair<const float*, size_t> row(nullptr, 0);
    CheckCall(glint_session_logits(get(), &row.first, &row.second));
    return row;
  }
  std::pair<const float*, size_t> BatchLogits(size_t i) const {
    std::pair<const float*, size_t> row(nullptr, 0);
    CheckCall(glint_session_batch_logits(get(), i, &row.first, &row.second));
    return row;
  }
  std::vector<float> Embed(const std::vector<int32_t>& ids,
                           glint_pooling pooling = GLINT_POOLING_LAST, bool normalize = true) {
    size_t n = 0;
    CheckCall(glint_embed(get(), ids.data(), ids.size(), pooling, normalize, nullptr, 0, &n));
    std::vector<float> values(n);
    CheckCall(glint_embed(get(), ids.data(), ids.size(), pooling, normalize, values.data(), n, &n));
    return values;
  }

  // Starts with a prompt; with no ids, goes on where the session is.
  Reply Generate(const std::vector<int32_t>& ids, const OnToken& on_token = {},
                 const GenerateOptions& options = {}) {
    return internal::Generate(get(), options, on_token,
                              [&](const glint_generate_options* all, glint_reply* reply) {
                                return glint_generate(get(), ids.data(), ids.size(), all, reply);
                              });
  }

  std::vector<unsigned char> Save() {
    void* data = nullptr;
    size_t size = 0;
    CheckCall(glint_session_save(get(), &data, &size));
    const std::unique_ptr<void, void (*)(void*)> owner(data, glint_free);
    const unsigned char* bytes = static_cast<const unsigned char*>(data);
    return std::vector<unsigned char>(bytes, bytes + size);
  }
  void Restore(const std::vector<unsigned char>& data) {
    CheckCall(glint_session_restore(get(), data.data(), data.size()));
  }
  void SaveFile(const std::string& path, bool overwrite = false) {
    CheckCall(glint_session_save_file(get(), path.c_str(), overwrite));
  }
  void RestoreFile(const std::string& path) {
    CheckCall(glint_session_restore_file(get(), path.c_str()));
  }

  // {adapter, scale} each. Ends the sequence.
  void SetAdapters(const std::vector<std::pair<const Adapter*, float>>& uses) {
    std::vector<const glint_adapter*> adapters;
    std::vector<float> scales;
    for (const auto& [adapter, scale] : uses) {
      adapters.push_back(adapter ? adapter->get() : nullptr);
      scales.push_back(scale);
    }
    CheckCall(glint_session_set_adapters(get(), adapters.data(), scales.data(), uses.size()));
  }

 private:
  void CheckCall(glint_status status) const {
    Check(status, status == GLINT_ERROR_BUSY ? "" : glint_session_error(get()));
  }

  Owned<glint_session, glint_session_free> session_;
};

struct Message {
  std::string role, content, metadata;
};

class Chat {
 public:
  explicit Chat(Session& session, const glint_chat_options& options = glint_chat_options_init())
      : session_(session.get()) {
    glint_chat* made = nullptr;
    char error[GLINT_ERROR_SIZE] = "";
    const glint_status status = glint_chat_create(session_, &options, &made, error, sizeof error);
    chat_.reset(made);
    Check(status, error);
  }

  Reply Ask(std::string_view text, const OnToken& on_token = {},
            const GenerateOptions& options = {}, const char* role = nullptr) {
    return internal::Generate(
        session_, options, on_token, [&](const glint_generate_options* all, glint_reply* reply) {
          return glint_chat_ask(chat_.get(), role, text.data(), text.size(), all, reply);
        });
  }
  void SetSystem(const std::string& text) {
    CheckCall(glint_chat_set_system(chat_.get(), text.c_str()));
  }
  void SetTools(const std::string& json) {
    CheckCall(glint_chat_set_tools(chat_.get(), json.empty() ? nullptr : json.c_str()));
  }
  void SetHistory(const std::vector<Message>& history) {
    std::vector<glint_message> all;
    for (const Message& message : history) {
      all.push_back(glint_message_init());
      all.back().role = message.role.c_str();
      all.back().content = message.content.c_str();
      if (!message.metadata.empty()) all.back().metadata = message.metadata.c_str();
    }
    CheckCall(glint_chat_set_history(chat_.get(), all.data(), all.size()));
  }
  std::vector<Message> History() const {
    std::vector<Message> history(glint_chat_history_size(chat_.get()));
    for (size_t i = 0; i < history.size(); ++i) {
      glint_message message = glint_message_init();
      CheckCall(glint_chat_get_message(chat_.get(), i, &message));
      history[i] = {message.role, message.content, message.metadata ? message.metadata : ""};
    }
    return history;
  }

 private:
  void CheckCall(glint_status status) const {
    Check(status, status == GLINT_ERROR_BUSY ? "" : glint_session_error(session_));
  }

  // The chat keeps the C object alive, and so this pointer.
  glint_session* session_;
  Owned<glint_chat, glint_chat_free> chat_;
};

}  // namespace glint_cpp

#endif  // GLINT_HPP_
