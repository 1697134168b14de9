// ask MODEL TEXT: a model's reply to a message, as `echo TEXT | glint chat MODEL --temp 0` gives it.
#include <glint.h>

#include <cstdio>
#include <cstring>
#include <memory>

namespace {

int Print(void*, const char* text, size_t text_size, int32_t) {
  std::fwrite(text, 1, text_size, stdout);
  return std::fflush(stdout) != 0;  // nobody reads any more: end the reply
}

template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* object) const { kFree(object); }
};
using Model = std::unique_ptr<glint_model, Freed<glint_model_free>>;
using Session = std::unique_ptr<glint_session, Freed<glint_session_free>>;
using Chat = std::unique_ptr<glint_chat, Freed<glint_chat_free>>;

int Fail(const char* message) {
  std::fprintf(stderr, "ask: %s\n", message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: ask MODEL TEXT\n", stderr);
    return 2;
  }
  char error[GLINT_ERROR_SIZE] = "";
  glint_model* opened = nullptr;
  if (glint_model_open(argv[1], nullptr, &opened, error, sizeof error) != GLINT_OK) return Fail(error);
  const Model model(opened);
  glint_session* created = nullptr;
  if (glint_session_create(model.get(), nullptr, &created, error, sizeof error) != GLINT_OK) {
    return Fail(error);
  }
  const Session session(created);
  glint_chat* begun = nullptr;
  if (glint_chat_create(session.get(), nullptr, &begun, error, sizeof error) != GLINT_OK) {
    return Fail(error);
  }
  const Chat chat(begun);
  glint_sampler_options sampler = glint_sampler_options_init();
  sampler.temperature = 0;  // always the likeliest token
  glint_generate_options options = glint_generate_options_init();
  options.sampler = &sampler;
  options.on_token = Print;
  if (glint_chat_ask(chat.get(), nullptr, argv[2], std::strlen(argv[2]), &options, nullptr) != GLINT_OK) {
    return Fail(glint_session_error(session.get()));
  }
  std::printf("\n");
  return 0;
}
