/* hello MODEL TEXT: continues a text with a model, as `glint generate MODEL -p TEXT --temp 0` does. */
#include <glint.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int Print(void* user, const char* text, size_t text_size, int32_t id) {
  (void)user;
  (void)id;
  fwrite(text, 1, text_size, stdout);
  return fflush(stdout) != 0; /* nobody reads any more: end the reply */
}

/* The ids of a text with the special tokens that the model expects; null on failure. */
static int32_t* Tokenize(const glint_model* model, const char* text, size_t* n_ids) {
  const size_t size = strlen(text);
  int32_t* ids = NULL;
  if (glint_tokenize(model, text, size, GLINT_TOKENIZE_SPECIAL, NULL, 0, n_ids) != GLINT_OK) return NULL;
  ids = malloc(*n_ids * sizeof *ids + 1);
  if (ids && glint_tokenize(model, text, size, GLINT_TOKENIZE_SPECIAL, ids, *n_ids, n_ids) != GLINT_OK) {
    free(ids);
    ids = NULL;
  }
  return ids;
}

int main(int argc, char** argv) {
  glint_model* model = NULL;
  glint_session* session = NULL;
  int32_t* ids = NULL;
  size_t n_ids = 0;
  char error[GLINT_ERROR_SIZE] = "";
  int exit_status = 1;
  glint_sampler_options sampler = glint_sampler_options_init();
  glint_generate_options options = glint_generate_options_init();
  if (argc != 3) {
    fprintf(stderr, "usage: hello MODEL TEXT\n");
    return 2;
  }
  sampler.temperature = 0; /* always the likeliest token */
  options.sampler = &sampler;
  options.on_token = Print;
  if (glint_model_open(argv[1], NULL, &model, error, sizeof error) != GLINT_OK ||
      glint_session_create(model, NULL, &session, error, sizeof error) != GLINT_OK) {
    fprintf(stderr, "hello: %s\n", error);
  } else if (!(ids = Tokenize(model, argv[2], &n_ids))) {
    fprintf(stderr, "hello: the text cannot be tokenized\n");
  } else if (glint_generate(session, ids, n_ids, &options, NULL) != GLINT_OK) {
    fprintf(stderr, "hello: %s\n", glint_session_error(session));
  } else {
    printf("\n");
    exit_status = 0;
  }
  free(ids);
  glint_session_free(session);
  glint_model_free(model);
  return exit_status;
}
