// ask MODEL TEXT: a model's reply to a message, as `echo TEXT | glint chat MODEL --temp 0` gives it.
#include <cstdio>
#include <glint.hpp>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: ask MODEL TEXT\n", stderr);
    return 2;
  }
  try {
    const glint_cpp::Model model(argv[1]);
    glint_cpp::Session session(model);
    glint_cpp::Chat chat(session);
    glint_cpp::GenerateOptions options;
    options.sampler.temperature = 0;  // always the likeliest token
    const auto print = [](std::string_view text, int32_t) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      return std::fflush(stdout) == 0;  // nobody reads any more: end the reply
    };
    chat.Ask(argv[2], print, options);
    std::printf("\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ask: %s\n", error.what());
    return 1;
  }
  return 0;
}
