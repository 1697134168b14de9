/* glint in a C program: streams a bilingual conversation, cancels a reply in flight from another
 * thread, saves the session and restores it into a new one, which goes on identically.
 *
 *   cc -std=c99 embed.c -o embed $(pkg-config --cflags --libs glint) -pthread
 *   ./embed [MODEL.glint]        (default: examples/tiny/tiny.glint)
 *
 * Every call that can fail says so by its status; Check() shows what a program does with one. */
#define _POSIX_C_SOURCE 200809L
#include <glint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void Check(glint_status status, const char* what, const char* message) {
  if (status == GLINT_OK) return;
  fprintf(stderr, "embed: %s: %s (%s)\n", what,
          message && message[0] ? message : glint_status_text(status), glint_status_name(status));
  exit(1);
}

/* Prints a reply as it comes. Each piece is whole characters, in Chinese too. */
static int ShowPiece(void* user, const char* text, size_t size, int32_t id) {
  (void)user;
  (void)id;
  fwrite(text, 1, size, stdout);
  fflush(stdout);
  return 0;
}

static glint_generate_options Greedy(const glint_sampler_options* sampler, glint_token_fn on_token,
                                     void* user) {
  glint_generate_options options = glint_generate_options_init();
  options.sampler = sampler;
  options.on_token = on_token;
  options.user = user;
  return options;
}

/* 1. A conversation: one question in English, one in Chinese. */
static void Converse(glint_session* session, const glint_sampler_options* sampler) {
  /* The second: "Do you know where the capital of Argentina is?" */
  static const char* const kQuestions[] = {
      "What is \"cat\" in Chinese?",
      "\u4f60\u77e5\u9053\u963f\u6839\u5ef7\u7684\u9996\u90fd\u662f\u54ea\u91cc\u5417\uff1f"};
  const glint_generate_options options = Greedy(sampler, ShowPiece, NULL);
  char error[GLINT_ERROR_SIZE];
  glint_chat* chat;
  Check(glint_chat_create(session, NULL, &chat, error, sizeof error), "chat", error);
  for (size_t i = 0; i < 2; ++i) {
    printf("you>   %s\nglint> ", kQuestions[i]);
    glint_reply reply = glint_reply_init();
    Check(glint_chat_ask(chat, NULL, kQuestions[i], strlen(kQuestions[i]), &options, &reply), "ask",
          glint_session_error(session));
    printf("\n       (%zu tokens)\n", reply.n_ids);
  }
  glint_chat_free(chat);
}

/* 2. A reply that another thread ends. */
typedef struct Flight {
  glint_session* session;
  pthread_mutex_t mutex;
  pthread_cond_t begun;
  int n_tokens;
} Flight;

static int CountToken(void* user, const char* text, size_t size, int32_t id) {
  Flight* flight = user;
  ShowPiece(NULL, text, size, id);
  /* The tiny model would be done before anybody could cancel. */
  const struct timespec pause = {0, 10 * 1000 * 1000};
  nanosleep(&pause, NULL);
  pthread_mutex_lock(&flight->mutex);
  ++flight->n_tokens;
  pthread_cond_signal(&flight->begun);
  pthread_mutex_unlock(&flight->mutex);
  return 0;
}

/* Waits for the second token, then cancels. glint_session_cancel is the one call that may be made
 * while the session works, from any thread and from a signal handler. */
static void* CancelSoon(void* user) {
  Flight* flight = user;
  pthread_mutex_lock(&flight->mutex);
  while (flight->n_tokens < 2) pthread_cond_wait(&flight->begun, &flight->mutex);
  pthread_mutex_unlock(&flight->mutex);
  glint_session_cancel(flight->session);
  return NULL;
}

/* The prompt of a question, for glint_generate. The caller frees it. */
static int32_t* Prompt(const glint_model* model, const char* question, size_t* n) {
  char error[GLINT_ERROR_SIZE];
  glint_message message = glint_message_init();
  message.role = "user";
  message.content = question;
  Check(glint_chat_prompt(model, &message, 1, NULL, NULL, 0, n, error, sizeof error), "prompt",
        error);
  int32_t* ids = malloc(*n * sizeof *ids);
  if (!ids) exit(1);
  Check(glint_chat_prompt(model, &message, 1, NULL, ids, *n, n, error, sizeof error), "prompt",
        error);
  return ids;
}

static void CancelInFlight(const glint_model* model, glint_session* session,
                           const glint_sampler_options* sampler) {
  Flight flight = {session, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
  size_t n;
  int32_t* ids = Prompt(model, "What can you do for me?", &n);
  const glint_generate_options options = Greedy(sampler, CountToken, &flight);
  pthread_t thread;
  if (pthread_create(&thread, NULL, CancelSoon, &flight) != 0) exit(1);
  printf("glint> ");
  glint_reply reply = glint_reply_init();
  const glint_status status = glint_generate(session, ids, n, &options, &reply);
  pthread_join(thread, NULL);
  if (status != GLINT_CANCELLED) Check(status, "generate", glint_session_error(session));
  printf("\n       (%s after %zu tokens)\n", glint_status_text(status), reply.n_ids);
  glint_session_clear_cancel(session); /* the session is as good as before */
  free(ids);
}

/* 3. Save, restore, go on: the same tokens from both sessions. */
static void SaveAndRestore(const glint_model* model, glint_session* session,
                           const glint_session_options* session_options,
                           const glint_sampler_options* sampler) {
  char error[GLINT_ERROR_SIZE];
  size_t n, data_size;
  void* data;
  int32_t* ids = Prompt(model, "How do ships float?", &n);
  glint_generate_options options = Greedy(sampler, NULL, NULL);
  options.max_tokens = 5;
  glint_reply reply = glint_reply_init();
  Check(glint_generate(session, ids, n, &options, &reply), "generate",
        glint_session_error(session));
  printf("saved after: %s\n", reply.text);
  Check(glint_session_save(session, &data, &data_size), "save", glint_session_error(session));

  glint_session* other;
  Check(glint_session_create(model, session_options, &other, error, sizeof error), "session",
        error);
  Check(glint_session_restore(other, data, data_size), "restore", glint_session_error(other));
  glint_free(data);

  options.max_tokens = 0;
  glint_reply again = glint_reply_init();
  Check(glint_generate(session, NULL, 0, &options, &reply), "go on", glint_session_error(session));
  Check(glint_generate(other, NULL, 0, &options, &again), "go on", glint_session_error(other));
  const int same = reply.n_ids == again.n_ids &&
                   memcmp(reply.ids, again.ids, reply.n_ids * sizeof *reply.ids) == 0;
  printf("the first:   %s\nthe second:  %s\n%s\n", reply.text, again.text,
         same ? "identical" : "DIFFERENT");
  glint_session_free(other);
  free(ids);
  if (!same) exit(1);
}

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : "examples/tiny/tiny.glint";
  char error[GLINT_ERROR_SIZE];
  glint_model* model;
  Check(glint_model_open(path, NULL, &model, error, sizeof error), "open", error);

  glint_session_options session_options = glint_session_options_init();
  session_options.context = 512;
  glint_session* session;
  Check(glint_session_create(model, &session_options, &session, error, sizeof error), "session",
        error);

  glint_sampler_options sampler = glint_sampler_options_init();
  sampler.temperature = 0; /* always the likeliest token */

  Converse(session, &sampler);
  CancelInFlight(model, session, &sampler);
  SaveAndRestore(model, session, &session_options, &sampler);

  glint_session_free(session);
  glint_model_free(model);
  return 0;
}
