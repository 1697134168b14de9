/* ask MODEL TEXT: a model's reply to a message, as `echo TEXT | glint chat MODEL --temp 0` gives it. */
#include <glint.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int Print(void* user, const char* text, size_t text_size, int32_t id) {
  (void)user;
  (void)id;
  fwrite(text, 1, text_size, stdout);
  return fflush(stdout) != 0; /* nobody reads any more: end the reply */
}

int main(int argc, char** argv) {
  glint_model* model = NULL;
  glint_session* session = NULL;
  glint_chat* chat = NULL;
  char error[GLINT_ERROR_SIZE] = "";
  int exit_status = 1;
  glint_sampler_options sampler = glint_sampler_options_init();
  glint_generate_options options = glint_generate_options_init();
  if (argc != 3) {
    fprintf(stderr, "usage: ask MODEL TEXT\n");
    return 2;
  }
  sampler.temperature = 0; /* always the likeliest token */
  options.sampler = &sampler;
  options.on_token = Print;
  if (glint_model_open(argv[1], NULL, &model, error, sizeof error) != GLINT_OK ||
      glint_session_create(model, NULL, &session, error, sizeof error) != GLINT_OK ||
      glint_chat_create(session, NULL, &chat, error, sizeof error) != GLINT_OK) {
    fprintf(stderr, "ask: %s\n", error);
  } else if (glint_chat_ask(chat, NULL, argv[2], strlen(argv[2]), &options, NULL) != GLINT_OK) {
    fprintf(stderr, "ask: %s\n", glint_session_error(session));
  } else {
    printf("\n");
    exit_status = 0;
  }
  glint_chat_free(chat);
  glint_session_free(session);
  glint_model_free(model);
  return exit_status;
}
