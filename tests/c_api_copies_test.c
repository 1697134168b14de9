/* Copies of the library in one process: the static one in this program, and two of the shared one
 * under names of their own (arguments). Each works, throws and catches inside, and none knows of
 * the others. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glint.h"

typedef struct Api {
  const char* (*version)(void);
  glint_status (*open)(const char*, const glint_model_options*, glint_model**, char*, size_t);
  void (*free_model)(glint_model*);
  glint_status (*create)(const glint_model*, const glint_session_options*, glint_session**, char*,
                         size_t);
  void (*free_session)(glint_session*);
  glint_status (*tokenize)(const glint_model*, const char*, size_t, int, int32_t*, size_t, size_t*);
  glint_status (*generate)(glint_session*, const int32_t*, size_t, const glint_generate_options*,
                           glint_reply*);
} Api;

static void* Find(void* library, const char* name) {
  void* found = dlsym(library, name);
  if (found) return found;
  printf("%s is not there: %s\n", name, dlerror());
  exit(1);
}

static Api Load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    printf("%s\n", dlerror());
    exit(1);
  }
  Api api;
  *(void**)&api.version = Find(library, "glint_version");
  *(void**)&api.open = Find(library, "glint_model_open");
  *(void**)&api.free_model = Find(library, "glint_model_free");
  *(void**)&api.create = Find(library, "glint_session_create");
  *(void**)&api.free_session = Find(library, "glint_session_free");
  *(void**)&api.tokenize = Find(library, "glint_tokenize");
  *(void**)&api.generate = Find(library, "glint_generate");
  return api;
}

/* Generates with one copy; 0 where something went wrong. */
static size_t Run(const Api* api, const char* path, int32_t* out) {
  char error[GLINT_ERROR_SIZE];
  glint_model* model;
  if (api->open("no such file", NULL, &model, error, sizeof error) != GLINT_ERROR_FILE) return 0;
  if (api->open(path, NULL, &model, error, sizeof error) != GLINT_OK) return 0;
  glint_session_options options = glint_session_options_init();
  options.context = 64;
  glint_session* session;
  if (api->create(model, &options, &session, error, sizeof error) != GLINT_OK) return 0;
  int32_t ids[64];
  size_t n, n_out = 0;
  if (api->tokenize(model, "cat", 3, GLINT_TOKENIZE_SPECIAL, ids, 64, &n) != GLINT_OK) return 0;
  glint_generate_options generate = glint_generate_options_init();
  generate.max_tokens = 10;
  glint_reply reply = glint_reply_init();
  const int32_t wrong = -1;
  if (api->generate(session, &wrong, 1, &generate, &reply) != GLINT_ERROR_ARGUMENT) return 0;
  if (api->generate(session, ids, n, &generate, &reply) != GLINT_OK) return 0;
  for (; n_out < reply.n_ids; ++n_out) out[n_out] = reply.ids[n_out];
  api->free_model(model);
  api->free_session(session);
  return n_out;
}

int main(int argc, char** argv) {
  const Api own = {glint_version,      glint_model_open, glint_model_free, glint_session_create,
                   glint_session_free, glint_tokenize,   glint_generate};
  char path[4096];
  const char* folder = getenv("GLINT_SOURCE_DIR");
  snprintf(path, sizeof path, "%s/examples/tiny/tiny.glint", folder ? folder : ".");
  int32_t first[10], ids[10];
  const size_t n = Run(&own, path, first);
  if (n == 0) return 1;
  for (int i = 1; i < argc; ++i) {
    const Api api = Load(argv[i]);
    if (api.version == own.version) {
      printf("%s: its functions are those of the program\n", argv[i]);
      return 1;
    }
    if (Run(&api, path, ids) != n || memcmp(ids, first, n * sizeof *ids) != 0) {
      printf("%s: another reply\n", argv[i]);
      return 1;
    }
  }
  printf("%d copies agree\n", argc);
  return 0;
}
