/* The C interface from C99: the header is all that this file sees. Every function with nulls and
 * wrong values, in the wrong order; structs of other sizes; and one pass through everything. The
 * rest is in c_api_session_test.cc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glint.h"

static int n_failed = 0;

static void Expect(int ok, const char* what, int line) {
  if (ok) return;
  printf("c_api_test.c:%d: not so: %s\n", line, what);
  ++n_failed;
}
#define CHECK(condition) Expect((condition) != 0, #condition, __LINE__)
#define ARGUMENT(call) Expect((call) == GLINT_ERROR_ARGUMENT, #call, __LINE__)

static char error[GLINT_ERROR_SIZE];

static void TestLibrary(void) {
  CHECK(strcmp(glint_version(), "0.1.0") == 0);
  CHECK(glint_version_number() == 1000);
  CHECK(glint_numerics() >= 1);
  CHECK(strcmp(glint_status_name(GLINT_ERROR_BUSY), "GLINT_ERROR_BUSY") == 0);
  CHECK(strcmp(glint_status_name(12345), "unknown") == 0);
  CHECK(glint_status_text(-1)[0] != 0);
  glint_free(NULL);
  glint_capabilities can = glint_capabilities_init();
  CHECK(glint_get_capabilities(&can) == GLINT_OK);
  CHECK(can.size == sizeof can && can.default_threads >= 1 && can.target[0] != 0);
  CHECK(strstr(can.targets, can.target) != NULL && strstr(can.targets, "reference") != NULL);
  CHECK(can.can_import == 0);
  ARGUMENT(glint_get_capabilities(NULL));
}

/* Results into smaller and larger structs than the library's. */
static void TestSizes(void) {
  struct {
    glint_capabilities known;
    char later[64];
  } larger;
  memset(&larger, 0x55, sizeof larger);
  larger.known.size = sizeof larger;
  CHECK(glint_get_capabilities(&larger.known) == GLINT_OK);
  CHECK(larger.later[0] == 0 && larger.later[63] == 0 && larger.known.size == sizeof larger);
  memset(&larger, 0x55, sizeof larger);
  larger.known.size = offsetof(glint_capabilities, target);
  CHECK(glint_get_capabilities(&larger.known) == GLINT_OK);
  CHECK(larger.known.numerics == glint_numerics() && larger.known.target[0] == 0x55);
  const size_t wrong[] = {0, 1, sizeof(size_t) - 1, sizeof larger.known + 1, 1 << 20, (size_t)-1};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    larger.known.size = wrong[i];
    ARGUMENT(glint_get_capabilities(&larger.known));
  }
}

static void TestOptionSizes(const glint_model* model) {
  struct {
    glint_session_options known;
    char later[16];
  } larger;
  memset(&larger, 0, sizeof larger);
  larger.known.size = sizeof larger;
  larger.known.context = 64;
  glint_session* session;
  CHECK(glint_session_create(model, &larger.known, &session, error, sizeof error) == GLINT_OK);
  glint_session_free(session);
  larger.later[15] = 1;
  ARGUMENT(glint_session_create(model, &larger.known, &session, error, sizeof error));
  CHECK(session == NULL && strstr(error, "does not know") != NULL);
  larger.known.size = offsetof(glint_session_options, threads); /* an older struct */
  larger.known.threads = 99999999;
  CHECK(glint_session_create(model, &larger.known, &session, error, sizeof error) == GLINT_OK);
  glint_session_info info = glint_session_info_init();
  CHECK(glint_session_get_info(session, &info) == GLINT_OK && info.context == 64);
  glint_session_free(session);
  larger.known.size = 3;
  ARGUMENT(glint_session_create(model, &larger.known, &session, NULL, 0));
}

static void TestOpening(const char* path) {
  glint_model* model = (glint_model*)&n_failed;
  ARGUMENT(glint_model_open(NULL, NULL, &model, error, sizeof error));
  CHECK(model == NULL && strcmp(error, "path is null") == 0);
  ARGUMENT(glint_model_open(path, NULL, NULL, error, sizeof error));
  ARGUMENT(glint_model_open(path, NULL, NULL, NULL, 0));
  CHECK(glint_model_open("no such file", NULL, &model, error, sizeof error) == GLINT_ERROR_FILE);
  CHECK(strstr(error, "no such file") != NULL);
  char little[8];
  CHECK(glint_model_open("no such file", NULL, &model, little, sizeof little) == GLINT_ERROR_FILE);
  CHECK(strlen(little) < sizeof little);
  glint_model_options options = glint_model_options_init();
  options.load = 2;
  ARGUMENT(glint_model_open(path, &options, &model, error, sizeof error));
  options.load = GLINT_LOAD_MAP;
  options.verify = -1;
  ARGUMENT(glint_model_open(path, &options, &model, error, sizeof error));
  ARGUMENT(glint_model_open_descriptor(-1, NULL, NULL, &model, error, sizeof error));
  CHECK(glint_model_open_descriptor(9999, "x", NULL, &model, error, sizeof error) != GLINT_OK);
  ARGUMENT(glint_model_open_memory(NULL, 10, NULL, NULL, &model, error, sizeof error));
  CHECK(glint_model_open_memory("rubbish", 7, NULL, NULL, &model, error, sizeof error) ==
        GLINT_ERROR_FILE);
  CHECK(strstr(error, "memory: ") == error);
  glint_model_free(NULL);
}

static void TestNullModel(const glint_model* model) {
  size_t n = 7;
  int32_t id = 0;
  char text[8];
  glint_session* session;
  glint_detokenizer* detokenizer;
  glint_adapter* adapter;
  glint_memory memory = glint_memory_init();
  glint_model_info info = glint_model_info_init();
  ARGUMENT(glint_model_get_info(NULL, &info));
  ARGUMENT(glint_model_get_info(model, NULL));
  CHECK(glint_model_is_stop(NULL, 0) == 0);
  ARGUMENT(glint_tokenize(NULL, "a", 1, 0, &id, 1, &n));
  CHECK(n == 0);
  ARGUMENT(glint_tokenize(model, NULL, 1, 0, &id, 1, &n));
  ARGUMENT(glint_tokenize(model, "a", 1, 4, &id, 1, &n));
  ARGUMENT(glint_tokenize(model, "a", 1, 0, NULL, 1, &n));
  ARGUMENT(glint_tokenize(model, "a", 1, 0, &id, 1, NULL));
  CHECK(glint_tokenize(model, NULL, 0, 0, NULL, 0, &n) == GLINT_OK);
  ARGUMENT(glint_detokenize(NULL, &id, 1, text, 8, &n));
  ARGUMENT(glint_detokenize(model, NULL, 1, text, 8, &n));
  ARGUMENT(glint_detokenize(model, &id, 1, text, 8, NULL));
  CHECK(glint_find_token(NULL, "a") == -1 && glint_find_token(model, NULL) == -1);
  ARGUMENT(glint_detokenizer_create(NULL, &detokenizer, error, sizeof error));
  ARGUMENT(glint_detokenizer_create(model, NULL, error, sizeof error));
  ARGUMENT(glint_detokenizer_add(NULL, 1, NULL, NULL));
  ARGUMENT(glint_detokenizer_finish(NULL, NULL, NULL));
  glint_detokenizer_free(NULL);
  ARGUMENT(glint_memory_estimate(NULL, NULL, &memory, error, sizeof error));
  ARGUMENT(glint_memory_estimate(model, NULL, NULL, error, sizeof error));
  ARGUMENT(glint_session_create(NULL, NULL, &session, error, sizeof error));
  ARGUMENT(glint_session_create(model, NULL, NULL, error, sizeof error));
  ARGUMENT(glint_adapter_open(NULL, "x", NULL, &adapter, error, sizeof error));
  ARGUMENT(glint_adapter_open(model, NULL, NULL, &adapter, error, sizeof error));
  ARGUMENT(glint_adapter_open(model, "x", NULL, NULL, error, sizeof error));
  CHECK(glint_adapter_open(model, "x", NULL, &adapter, error, sizeof error) == GLINT_ERROR_FILE);
  CHECK(adapter == NULL && strcmp(glint_adapter_kind(NULL), "") == 0);
  glint_adapter_free(NULL);
  ARGUMENT(glint_chat_prompt(NULL, NULL, 0, NULL, NULL, 0, &n, error, sizeof error));
  ARGUMENT(glint_chat_prompt(model, NULL, 0, NULL, NULL, 0, &n, error, sizeof error));
  ARGUMENT(glint_chat_prompt(model, NULL, 1, NULL, NULL, 0, &n, error, sizeof error));
}

static void TestNullSession(void) {
  size_t n = 7;
  int32_t id = 0;
  float value;
  const float* logits;
  void* data;
  glint_chat* chat;
  glint_sampler* sampler;
  glint_session_info info = glint_session_info_init();
  CHECK(glint_session_error(NULL)[0] == 0);
  ARGUMENT(glint_session_get_info(NULL, &info));
  ARGUMENT(glint_session_start(NULL, &id, 1));
  ARGUMENT(glint_session_append(NULL, &id, 1));
  ARGUMENT(glint_session_truncate(NULL, 1));
  ARGUMENT(glint_session_ids(NULL, &id, 1, &n));
  ARGUMENT(glint_session_logits(NULL, &logits, &n));
  ARGUMENT(glint_session_batch_logits(NULL, 0, &logits, &n));
  ARGUMENT(glint_embed(NULL, &id, 1, 0, 0, &value, 1, &n));
  ARGUMENT(glint_session_save(NULL, &data, &n));
  ARGUMENT(glint_session_restore(NULL, "", 0));
  ARGUMENT(glint_session_save_file(NULL, "x", 1));
  ARGUMENT(glint_session_restore_file(NULL, "x"));
  ARGUMENT(glint_session_set_adapters(NULL, NULL, NULL, 0));
  ARGUMENT(glint_generate(NULL, &id, 1, NULL, NULL));
  glint_session_cancel(NULL);
  glint_session_clear_cancel(NULL);
  glint_session_free(NULL);
  ARGUMENT(glint_chat_create(NULL, NULL, &chat, error, sizeof error));
  CHECK(chat == NULL && error[0] != 0);
  ARGUMENT(glint_chat_ask(NULL, NULL, "a", 1, NULL, NULL));
  ARGUMENT(glint_chat_set_system(NULL, "a"));
  ARGUMENT(glint_chat_set_tools(NULL, "[]"));
  ARGUMENT(glint_chat_set_history(NULL, NULL, 0));
  ARGUMENT(glint_chat_get_message(NULL, 0, NULL));
  CHECK(glint_chat_history_size(NULL) == 0);
  glint_chat_free(NULL);
  ARGUMENT(glint_sampler_create(NULL, 0, &sampler, error, sizeof error));
  ARGUMENT(glint_sampler_create(NULL, (size_t)-1, &sampler, error, sizeof error));
  ARGUMENT(glint_sampler_create(NULL, 10, NULL, error, sizeof error));
  ARGUMENT(glint_sampler_set_seed(NULL, 1));
  ARGUMENT(glint_sampler_sample(NULL, &value, 1, NULL, 0, &id));
  glint_sampler_free(NULL);
}

/* Wrong values and a wrong order of calls on a good session: each says so, and it stays usable. */
static void TestWrongCalls(const glint_model* model) {
  glint_session_options options = glint_session_options_init();
  options.context = 64;
  options.kv = 4;
  glint_session* session;
  ARGUMENT(glint_session_create(model, &options, &session, error, sizeof error));
  options.kv = 0;
  glint_thread_pool pool = glint_thread_pool_init();
  options.pool = &pool;
  ARGUMENT(glint_session_create(model, &options, &session, error, sizeof error));
  options.pool = NULL;
  CHECK(glint_session_create(model, &options, &session, error, sizeof error) == GLINT_OK);
  size_t n;
  void* data;
  const float* logits;
  int32_t ids[3] = {-1, 1 << 30, 0};
  ARGUMENT(glint_session_logits(session, &logits, &n));
  ARGUMENT(glint_session_batch_logits(session, 0, &logits, &n));
  ARGUMENT(glint_session_append(session, ids, 1));
  ARGUMENT(glint_session_truncate(session, 0));
  ARGUMENT(glint_session_save(session, &data, &n));
  ARGUMENT(glint_generate(session, NULL, 0, NULL, NULL));
  CHECK(strstr(glint_session_error(session), "no sequence") != NULL);
  ARGUMENT(glint_session_start(session, NULL, 0));
  ARGUMENT(glint_session_start(session, NULL, 5));
  ARGUMENT(glint_session_start(session, ids, 1));
  ARGUMENT(glint_session_start(session, ids + 1, 1));
  CHECK(strstr(glint_session_error(session), "outside the vocabulary") != NULL);
  ARGUMENT(glint_session_get_info(session, NULL));
  ARGUMENT(glint_session_logits(session, NULL, NULL));
  ARGUMENT(glint_session_ids(session, NULL, 0, NULL));
  ARGUMENT(glint_session_save(session, NULL, NULL));
  ARGUMENT(glint_session_restore(session, NULL, 10));
  ARGUMENT(glint_session_restore_file(session, NULL));
  ARGUMENT(glint_session_save_file(session, NULL, 0));
  ARGUMENT(glint_session_set_adapters(session, NULL, NULL, 1));
  ARGUMENT(glint_embed(session, ids, 1, 0, 0, NULL, 0, &n)); /* its outputs are logits */
  CHECK(glint_session_restore(session, "rubbish", 7) == GLINT_ERROR_FILE);
  CHECK(glint_session_restore_file(session, "no such file") == GLINT_ERROR_FILE);
  glint_generate_options generate = glint_generate_options_init();
  generate.lookup = 1; /* needs a max_batch of 2 */
  ARGUMENT(glint_generate(session, ids + 2, 1, &generate, NULL));
  glint_sampler_options sampler = glint_sampler_options_init();
  generate = glint_generate_options_init();
  generate.sampler = &sampler;
  sampler.top_p = 0;
  ARGUMENT(glint_generate(session, ids + 2, 1, &generate, NULL));
  glint_session_free(session);
}

/* The life of an app: the model is freed first, which its sessions do not mind. */
static void TestAll(const char* path) {
  glint_model* model;
  CHECK(glint_model_open(path, NULL, &model, error, sizeof error) == GLINT_OK && error[0] == 0);
  TestNullModel(model);
  TestNullSession();
  TestWrongCalls(model);
  TestOptionSizes(model);
  glint_session_options options = glint_session_options_init();
  options.context = 256;
  glint_session* session;
  CHECK(glint_session_create(model, &options, &session, error, sizeof error) == GLINT_OK);
  glint_chat* chat;
  CHECK(glint_chat_create(session, NULL, &chat, error, sizeof error) == GLINT_OK);
  glint_model_free(model);
  glint_session_free(session);
  glint_sampler_options sampler = glint_sampler_options_init();
  sampler.temperature = 0;
  glint_generate_options generate = glint_generate_options_init();
  generate.sampler = &sampler;
  glint_reply reply = glint_reply_init();
  const char question[] = "What is \"cat\" in Chinese?";
  CHECK(glint_chat_ask(chat, NULL, question, strlen(question), &generate, &reply) == GLINT_OK);
  CHECK(strcmp(reply.text, "\xe7\x8c\xab") == 0 && reply.end == GLINT_END_STOP);
  CHECK(glint_chat_history_size(chat) == 2);
  glint_chat_free(chat);
}

int main(void) {
  const char* folder = getenv("GLINT_SOURCE_DIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/examples/tiny/tiny.glint", folder ? folder : ".");
  TestLibrary();
  TestSizes();
  TestOpening(path);
  TestAll(path);
  if (n_failed == 0) printf("all is well\n");
  return n_failed != 0;
}
