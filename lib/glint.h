/* glint: runs quantized transformer models on CPUs. The C interface, and the only header that a
 * program needs. C99; C++ programs may prefer glint.hpp, which wraps it. docs/EMBEDDING.md has the
 * guide, examples/embed_in_c a program.
 *
 *   glint_model* model;
 *   char error[GLINT_ERROR_SIZE];
 *   if (glint_model_open("chatglm-6b.glint", NULL, &model, error, sizeof error) != GLINT_OK) ...
 *
 * Rules that hold for every function:
 *
 * Status. A call that can fail returns a glint_status. GLINT_OK is 0. Null pointers, numbers out of
 * range and calls in the wrong order are GLINT_ERROR_ARGUMENT, never a crash; memory that runs out
 * is GLINT_ERROR_MEMORY. After a failure the objects are as before the call, unless the function
 * says otherwise, and what it would have written through its pointers is null or 0. No function
 * prints, exits, aborts or throws.
 *
 * Messages. One line of UTF-8: which file, which tensor or field, what was expected, what was
 * found. Opening and creating write it to error[0 .. error_size), cut between characters and always
 * ended by a 0 (error may be null and error_size 0). Calls on a session leave it in the session:
 * glint_session_error(). Other calls have but their status: glint_status_text().
 *
 * Structs. Those whose first member is `size` are made by their _init function, which fills in
 * sizeof and the defaults. An older and smaller struct is good for ever: what it lacks has the
 * default. A newer and larger one is good if the members that this library does not know are 0;
 * else it is GLINT_ERROR_ARGUMENT. Of a result as much is written as its size holds, and members
 * unknown to this library become 0. Options may be null: all defaults.
 *
 * Strings. UTF-8, also paths on every system. A `const char*` alone ends with a 0; one with a size
 * beside it need not. Bytes that are no UTF-8 are read as U+FFFD. Returned strings are never null
 * unless the function says so, and belong to the object that they came from.
 *
 * Buffers. Of a caller's (buffer, capacity, *n), *n gets the whole number of elements; those that
 * fit are written. If not all fit the result is GLINT_ERROR_BUFFER. With a null buffer and a
 * capacity of 0 the call only counts, and returns GLINT_OK.
 *
 * Units. Sizes are bytes and counts are elements. A token's id is an int32_t from 0 on.
 *
 * Threads. A model never changes: any number of threads may use it, and its functions, at once. A
 * session, chat, sampler or detokenizer is for one thread at a time; which thread may change. A
 * call into a session (or a chat of it) that another thread is using returns GLINT_ERROR_BUSY and
 * touches nothing. glint_session_cancel and glint_session_clear_cancel alone may be called at any
 * time, by any thread; the former by a signal handler, too.
 *
 * Lifetime. An object keeps alive what it was made from: models, sessions and adapters may be freed
 * in any order. Freeing null does nothing.
 *
 * Callbacks. Are called on the thread that made the call, unless they say otherwise. They must not
 * throw, longjmp, or call into the session that is running (glint_session_cancel excepted).
 *
 * State. The library has no global state that changes, installs no signal handler, opens no network
 * connection, and says nothing unless a log callback is given. Two copies of it in one process do
 * not know of each other. The caller's floating-point mode is saved, set to IEEE's default while
 * something is computed, and restored.
 */
#ifndef GLINT_H_
#define GLINT_H_

#include <stddef.h>
#include <stdint.h>

/* GLINT_SHARED: may be defined on Windows where the DLL is linked, never where the static library is.
 * GLINT_BUILDING: the library's own build. */
#if defined(_WIN32) && defined(GLINT_BUILDING)
#define GLINT_API __declspec(dllexport)
#elif defined(_WIN32) && defined(GLINT_SHARED)
#define GLINT_API __declspec(dllimport)
#elif defined(__GNUC__)
#define GLINT_API __attribute__((visibility("default")))
#else
#define GLINT_API
#endif

#ifdef __cplusplus
#define GLINT_ZERO_ \
  {}
extern "C" {
#else
#define GLINT_ZERO_ \
  { 0 }
#endif

/* ---- Version and status --------------------------------------------------------------------- */

/* Of this header; a program may be linked with a later library. */
#define GLINT_VERSION_MAJOR 0
#define GLINT_VERSION_MINOR 1
#define GLINT_VERSION_PATCH 0

/* Of the library: "0.1.0". */
GLINT_API const char* glint_version(void);
/* Of the library: major * 1000000 + minor * 1000 + patch. */
GLINT_API int glint_version_number(void);
/* The order of every float operation. The same model, ids and options give the same bits on every
 * machine, with any number of threads, as long as this number is the same. */
GLINT_API int glint_numerics(void);

typedef enum glint_status {
  GLINT_OK = 0,
  /* How a computation can end. The session stays usable. */
  GLINT_CANCELLED = 1,    /* glint_session_cancel, or a progress callback that said so */
  GLINT_CONTEXT_FULL = 2, /* the tokens do not fit into the context; nothing was computed */
  GLINT_NON_FINITE = 3,   /* the logits hold inf or nan: the weights may be damaged */
  GLINT_FILE_CHANGED = 4, /* the mapped file was changed while it was in use */
  /* Failures. */
  GLINT_ERROR_ARGUMENT = 16, /* a null, a wrong value or size, a call in the wrong order */
  GLINT_ERROR_MEMORY = 17,   /* not enough memory; for a session also: it could not be filled */
  GLINT_ERROR_BUSY = 18,     /* another thread is using the session */
  GLINT_ERROR_BUFFER = 19,   /* the caller's buffer is too small */
  GLINT_ERROR_FILE = 20,     /* cannot be read or written, damaged, or not of this model */
  GLINT_ERROR_UNSUPPORTED =
      21,                   /* the model, build or machine cannot do it: the message says which */
  GLINT_ERROR_INTERNAL = 22 /* a bug in the library */
} glint_status;

/* "GLINT_OK", ...; "unknown" for other numbers. Static. */
GLINT_API const char* glint_status_name(int status);
/* One line for a user: "the context is full", ... Static. */
GLINT_API const char* glint_status_text(int status);

/* Bytes that are enough for most messages. Any size is allowed. */
#define GLINT_ERROR_SIZE 512

/* Frees what the library allocated for the caller: glint_session_save. Null is allowed. */
GLINT_API void glint_free(void* data);

/* ---- Callbacks ------------------------------------------------------------------------------ */

/* How far a load is, 0 to 1. A result other than 0 ends it with GLINT_CANCELLED. Called by the
 * thread that opens, at most some hundred times. */
typedef int (*glint_progress_fn)(void* user, double done);

typedef enum glint_log_level {
  GLINT_LOG_INFO = 0,    /* what was opened, chosen, reserved */
  GLINT_LOG_WARNING = 1, /* it goes on, but somebody may want to know */
  GLINT_LOG_ERROR = 2    /* what the call that fails will say */
} glint_log_level;

/* One line without a newline: what a support person would ask for. Called while a model is opened,
 * a session of it created, by whichever thread does so (perhaps by several at once); never while a
 * session computes. */
typedef void (*glint_log_fn)(void* user, int level, const char* line);

/* A token of a reply, and the text that has become certain with it: whole characters, in all the
 * reply's text, often empty. `text` does not end with a 0 and is gone after the call. The last call
 * of a reply may have the id -1: text that was held back. A result other than 0 ends the reply
 * after this token. */
typedef int (*glint_token_fn)(void* user, const char* text, size_t text_size, int32_t id);

/* ---- What this build and machine can do ------------------------------------------------------ */

typedef struct glint_capabilities {
  size_t size;
  size_t default_threads;  /* that a session takes: physical performance cores within the affinity
                              mask and the cgroup's quota */
  int numerics;            /* glint_numerics() */
  int can_import;          /* 1: opens GGUF files and checkpoints, too. 0: .glint files only, as all
                              versions so far: `glint convert` makes them */
  int can_open_descriptor; /* 1 where glint_model_open_descriptor works */
  int reserved;            /* 0 */
  char target[32];         /* the kernels in use, "avx512vnni"; empty if the environment variable
                              GLINT_ISA names one that the build or the CPU lacks */
  char targets[128];       /* those built, best first, separated by spaces */
  char cpu[128];           /* the processor's name */
  char cpu_features[128];  /* of it what kernels use, separated by spaces */
} glint_capabilities;

static inline glint_capabilities glint_capabilities_init(void) {
  glint_capabilities result = GLINT_ZERO_;
  result.size = sizeof result;
  return result;
}

GLINT_API glint_status glint_get_capabilities(glint_capabilities* capabilities);

/* ---- Models --------------------------------------------------------------------------------- */

/* An open model: weights, graph, tokenizer, prompt rules. Never changes. */
typedef struct glint_model glint_model;

typedef enum glint_load {
  GLINT_LOAD_MAP = 0, /* the file's pages, shared between processes; ready in milliseconds */
  GLINT_LOAD_COPY =
      1 /* private memory: immune to changes of the file (or of the caller's memory) */
} glint_load;

typedef struct glint_model_options {
  size_t size;
  int load;   /* a glint_load */
  int verify; /* 1: reads all tensors and compares their checksums before anything is used */
  glint_progress_fn progress; /* null: none */
  void* progress_user;
  glint_log_fn log; /* null: none */
  void* log_user;
  /* glint_model_open_memory only: called once when the memory is no longer needed, by the thread
   * that frees the last user of the model; also if opening fails. Null: nobody is told. */
  void (*release)(void* user);
  void* release_user;
} glint_model_options;

static inline glint_model_options glint_model_options_init(void) {
  glint_model_options options = GLINT_ZERO_;
  options.size = sizeof options;
  return options;
}

/* Opens a .glint file and checks its whole structure. *model is to be freed with glint_model_free;
 * null after a failure: GLINT_ERROR_FILE (the message says what is wrong with it), GLINT_CANCELLED,
 * GLINT_ERROR_MEMORY, GLINT_ERROR_ARGUMENT. */
GLINT_API glint_status glint_model_open(const char* path, const glint_model_options* options,
                                        glint_model** model, char* error, size_t error_size);

/* The same from an open file (a document of another app on Android, an inherited descriptor). The
 * descriptor stays the caller's, who may close it after the call. `name` stands for the path in
 * messages; null: "descriptor N". GLINT_ERROR_UNSUPPORTED on Windows: open by path there. */
GLINT_API glint_status glint_model_open_descriptor(int descriptor, const char* name,
                                                   const glint_model_options* options,
                                                   glint_model** model, char* error,
                                                   size_t error_size);

/* The same from memory, which must stay as it is until the model and all that was made from it are
 * freed; with GLINT_LOAD_COPY, only until the call returns. Best aligned to 64 bytes: otherwise it
 * is copied. `name` stands for the path in messages; null: "memory". */
GLINT_API glint_status glint_model_open_memory(const void* data, size_t data_size, const char* name,
                                               const glint_model_options* options,
                                               glint_model** model, char* error, size_t error_size);

/* Ends the caller's use. What was made from the model keeps it alive. */
GLINT_API void glint_model_free(glint_model* model);

typedef struct glint_model_info {
  size_t size;
  const char* name;     /* as the file says, else its path. The model's, as the next two */
  const char* metadata; /* JSON object: name, source, license, recipe, ... */
  const char* path;     /* or the name that opening was given */
  uint64_t hash;        /* XXH3 of the file but for the tensors' bytes, of which it has hashes */
  uint64_t file_bytes;
  size_t vocab_size;  /* ids are below it */
  size_t n_logits;    /* floats of a row of logits */
  size_t hidden_size; /* floats of a row of hidden states */
  size_t max_context; /* tokens that the model was trained on */
  int causal;         /* 1: no token sees a later one, so that sequences are extended cheaply */
  int has_tokenizer;
  int has_chat; /* it knows how to chat: glint_chat_create */
  int numerics; /* that made it, if the file says so; else 0 */
} glint_model_info;

static inline glint_model_info glint_model_info_init(void) {
  glint_model_info result = GLINT_ZERO_;
  result.size = sizeof result;
  return result;
}

GLINT_API glint_status glint_model_get_info(const glint_model* model, glint_model_info* info);

/* 1 if the id ends a reply, else 0 (also for a null model). */
GLINT_API int glint_model_is_stop(const glint_model* model, int32_t id);

/* ---- Text ----------------------------------------------------------------------------------- */

/* The tokenizer's tables are in the model file. Where that is mapped and somebody changed it, these
 * calls return GLINT_FILE_CHANGED instead of reading it (glint_find_token: -1). */

typedef enum glint_tokenize_mode {
  GLINT_TOKENIZE_TEXT = 0, /* as the published tokenizer reads a text */
  GLINT_TOKENIZE_SPECIAL =
      1,                    /* and the ids that it puts around one: what a model expects as input */
  GLINT_TOKENIZE_PLAIN = 2, /* no special token is found in the text: for text from strangers */
  GLINT_TOKENIZE_MARKUP = 3 /* every special token is: for the markup of chat templates */
} glint_tokenize_mode;

/* Text to ids (capacity). `mode` is a glint_tokenize_mode. GLINT_ERROR_UNSUPPORTED: no tokenizer.
 */
GLINT_API glint_status glint_tokenize(const glint_model* model, const char* text, size_t text_size,
                                      int mode, int32_t* ids, size_t capacity, size_t* n_ids);

/* Ids to text (capacity bytes, without a 0 at the end). Ids outside the vocabulary are skipped.
 * GLINT_ERROR_UNSUPPORTED: no tokenizer. */
GLINT_API glint_status glint_detokenize(const glint_model* model, const int32_t* ids, size_t n_ids,
                                        char* text, size_t capacity, size_t* text_size);

/* The id of the token that is written exactly so, special or not; -1 if there is none, for a null,
 * and for a model without a tokenizer or out of memory. */
GLINT_API int32_t glint_find_token(const glint_model* model, const char* token);

/* Ids to text one by one, never half a character. */
typedef struct glint_detokenizer glint_detokenizer;

GLINT_API glint_status glint_detokenizer_create(const glint_model* model,
                                                glint_detokenizer** detokenizer, char* error,
                                                size_t error_size);
GLINT_API void glint_detokenizer_free(glint_detokenizer* detokenizer);
/* Adds an id. *text gets what is now certain, whole characters, often nothing; it stays until the
 * next call and ends with a 0 that *text_size does not count. text_size may be null. */
GLINT_API glint_status glint_detokenizer_add(glint_detokenizer* detokenizer, int32_t id,
                                             const char** text, size_t* text_size);
/* What was held back; an incomplete character becomes U+FFFD. The next add begins a new text. */
GLINT_API glint_status glint_detokenizer_finish(glint_detokenizer* detokenizer, const char** text,
                                                size_t* text_size);

/* ---- Sessions ------------------------------------------------------------------------------- */

/* One sequence of tokens over a model: cache, positions, buffers. */
typedef struct glint_session glint_session;

/* The caller's threads in place of the library's. */
typedef struct glint_thread_pool {
  size_t size;
  size_t threads; /* that may work at once, the caller of run among them; 1 to 1024 */
  void* user;
  /* Calls task(context, i, worker) once for each i < n_tasks, on any threads, and returns when all
   * are done. No two calls that overlap may have the same worker, a number below `threads`. May be
   * called by several sessions at once if they share the pool. Must not fail. */
  void (*run)(void* user, size_t n_tasks, void (*task)(void* context, size_t i, size_t worker),
              void* context);
} glint_thread_pool;

static inline glint_thread_pool glint_thread_pool_init(void) {
  glint_thread_pool pool = GLINT_ZERO_;
  pool.size = sizeof pool;
  return pool;
}

typedef enum glint_kv {
  GLINT_KV_DEFAULT = 0, /* f32 for a model of f32, else f16 */
  GLINT_KV_F32 = 1,
  GLINT_KV_F16 = 2,
  GLINT_KV_INT8 = 3
} glint_kv;

typedef enum glint_output {
  GLINT_OUTPUT_LOGITS = 0,
  GLINT_OUTPUT_HIDDEN = 1 /* the final hidden states: glint_embed. Such a session draws no tokens */
} glint_output;

typedef struct glint_session_options {
  size_t size;
  size_t context;   /* tokens; 0: what the model was trained on */
  size_t threads;   /* 0: glint_capabilities.default_threads. Changes no bit */
  size_t chunk;     /* tokens of a prompt that pass a layer together; 0: 256. Changes no bit */
  size_t max_batch; /* tokens that append takes at once; 0: 1. More than 1 allows look-up */
  const glint_thread_pool* pool; /* null: threads of the library's own. What it points to is copied;
                                    the pool itself must outlive the session */
  int kv;                        /* type of the cache: a glint_kv */
  int output;                    /* a glint_output */
  /* As glint_session_set_adapters takes them; n_adapters 0: none. */
  const struct glint_adapter* const* adapters;
  const float* scales; /* null: 1 each */
  size_t n_adapters;
} glint_session_options;

static inline glint_session_options glint_session_options_init(void) {
  glint_session_options options = GLINT_ZERO_;
  options.size = sizeof options;
  return options;
}

/* What a session takes, in bytes, told without taking any. */
typedef struct glint_memory {
  size_t size;
  size_t longest_context; /* that would fit into what is free, at most the options'; 0: none */
  uint64_t total; /* of the next three, once the context is full; before, less is resident */
  uint64_t cache;       /* with a prefix's entries */
  uint64_t activations; /* with what a LoRA adds */
  uint64_t other;       /* rotary tables, positions, a row of logits */
  uint64_t weights; /* of the model and the adapters: shared if mapped, else private; not in
                       `total`. However many sessions use them, they are there once */
  uint64_t free;    /* that the process can still take now; UINT64_MAX: unknown */
} glint_memory;

static inline glint_memory glint_memory_init(void) {
  glint_memory result = GLINT_ZERO_;
  result.size = sizeof result;
  return result;
}

/* Fails as glint_session_create does, but never for too little memory being free or a model file that
 * has changed. An adapter given twice counts once. */
GLINT_API glint_status glint_memory_estimate(const glint_model* model,
                                             const glint_session_options* options,
                                             glint_memory* memory, char* error, size_t error_size);

/* Checks and allocates everything: computing allocates nothing later. GLINT_ERROR_MEMORY if the
 * machine has not the memory that a full context takes; the message has figures and ways out.
 * GLINT_ERROR_UNSUPPORTED for what the model, build or machine cannot do. GLINT_FILE_CHANGED: the
 * model's mapped file is no longer what was opened. */
GLINT_API glint_status glint_session_create(const glint_model* model,
                                            const glint_session_options* options,
                                            glint_session** session, char* error,
                                            size_t error_size);
/* Must not be called while another thread is inside a call on the session. */
GLINT_API void glint_session_free(glint_session* session);

/* What the last call on the session said, by the thread that made it; "" if it succeeded or
 * returned GLINT_ERROR_BUSY, which leaves the message. Stays until the next call. */
GLINT_API const char* glint_session_error(const glint_session* session);

typedef struct glint_session_info {
  size_t size;
  size_t length;  /* tokens of the sequence; 0: there is none */
  size_t kept;    /* tokens of the last prompt that did not have to be computed again */
  size_t context; /* as created, as the rest */
  size_t max_batch;
  size_t chunk;
  size_t threads;
  uint64_t cache_bytes; /* when full */
  int kv;               /* a glint_kv */
  int output;           /* a glint_output */
} glint_session_info;

static inline glint_session_info glint_session_info_init(void) {
  glint_session_info result = GLINT_ZERO_;
  result.size = sizeof result;
  return result;
}

GLINT_API glint_status glint_session_get_info(glint_session* session, glint_session_info* info);

/* Ends what the session computes within some 50 ms, and every later computation at once, until
 * glint_session_clear_cancel. At any time from any thread, and from a signal handler. */
GLINT_API void glint_session_cancel(glint_session* session);
/* Forgets earlier cancels. At any time from any thread, too. */
GLINT_API void glint_session_clear_cancel(glint_session* session);

/* Begins a new sequence with these ids (n_ids of them, at least 1). What the cache still holds of
 * its beginning is kept where the model is causal. After any status but GLINT_OK there is no
 * sequence, except that GLINT_ERROR_ARGUMENT (an id outside the vocabulary, an input that the model
 * cannot start with) and GLINT_CONTEXT_FULL leave the old one. */
GLINT_API glint_status glint_session_start(glint_session* session, const int32_t* ids,
                                           size_t n_ids);

/* Appends n_ids tokens, 1 to max_batch, in one run: as if one by one, but the weights are read
 * once. On any status but GLINT_OK none is taken. */
GLINT_API glint_status glint_session_append(glint_session* session, const int32_t* ids,
                                            size_t n_ids);

/* Drops the last tokens, so that `length` remain, at least those of the prompt. Logits are then
 * those of the new last token if the last append took it, else none until the next one. */
GLINT_API glint_status glint_session_truncate(glint_session* session, size_t length);

/* The session's ids (capacity), in order. */
GLINT_API glint_status glint_session_ids(glint_session* session, int32_t* ids, size_t capacity,
                                         size_t* n_ids);

/* Logits (*n_logits floats) after the last token. The session's, until the next call that computes.
 * With GLINT_OUTPUT_HIDDEN they are its hidden state. GLINT_ERROR_ARGUMENT if there are none. */
GLINT_API glint_status glint_session_logits(glint_session* session, const float** logits,
                                            size_t* n_logits);
/* Those after token `row` of the last append, if that was the last call that computed. */
GLINT_API glint_status glint_session_batch_logits(glint_session* session, size_t row,
                                                  const float** logits, size_t* n_logits);

typedef enum glint_pooling {
  GLINT_POOLING_LAST = 0, /* the last token's hidden state */
  GLINT_POOLING_MEAN = 1  /* the mean of all */
} glint_pooling;

/* The embedding of a text: starts a sequence and pools its hidden states. `values` has room for
 * `capacity` floats, of which hidden_size are written; null and 0 count. `pooling` is a
 * glint_pooling; normalize 1: to a Euclidean length of 1, 0: as it is. Needs a session with
 * GLINT_OUTPUT_HIDDEN. */
GLINT_API glint_status glint_embed(glint_session* session, const int32_t* ids, size_t n_ids,
                                   int pooling, int normalize, float* values, size_t capacity,
                                   size_t* n_values);

/* The session as bytes: ids, cache, model hash, numerics, checksum. *data is to be freed with
 * glint_free. If the last reply has a token that the model has not yet seen, it is computed first,
 * which a cancel prevents. */
GLINT_API glint_status glint_session_save(glint_session* session, void** data, size_t* data_size);
/* Takes the place of the session's sequence. Model, adapters, numerics, types of cache and output
 * must be the same, and the context long enough: else, and for damaged bytes, GLINT_ERROR_FILE, and
 * the session has no sequence. Threads and chunk may differ. */
GLINT_API glint_status glint_session_restore(glint_session* session, const void* data,
                                             size_t data_size);
/* The same to and from a file. It appears complete or not at all. overwrite 1: in place of one that
 * is there; 0: which stays, GLINT_ERROR_FILE. */
GLINT_API glint_status glint_session_save_file(glint_session* session, const char* path,
                                               int overwrite);
GLINT_API glint_status glint_session_restore_file(glint_session* session, const char* path);

/* ---- Samplers ------------------------------------------------------------------------------- */

typedef struct glint_sampler_options {
  size_t size;
  uint64_t seed;            /* 0. Equal seeds, options and logits draw equal tokens everywhere */
  float temperature;        /* 0.95; 0: the likeliest token */
  float top_p;              /* 0.7, (0, 1]: the smallest set of tokens with this probability */
  float repetition_penalty; /* 1; more makes tokens that occurred less likely */
  uint32_t top_k;           /* 50; 0: all */
} glint_sampler_options;

static inline glint_sampler_options glint_sampler_options_init(void) {
  glint_sampler_options options = GLINT_ZERO_;
  options.size = sizeof options;
  options.temperature = 0.95f;
  options.top_p = 0.7f;
  options.repetition_penalty = 1.0f;
  options.top_k = 50;
  return options;
}

/* Draws tokens from logits, for callers with a loop of their own. */
typedef struct glint_sampler glint_sampler;

/* For rows of n_logits floats. */
GLINT_API glint_status glint_sampler_create(const glint_sampler_options* options, size_t n_logits,
                                            glint_sampler** sampler, char* error,
                                            size_t error_size);
GLINT_API void glint_sampler_free(glint_sampler* sampler);
/* Begins the random numbers anew. */
GLINT_API glint_status glint_sampler_set_seed(glint_sampler* sampler, uint64_t seed);
/* Draws from logits (n_logits, as created). `history`: ids so far, for the repetition penalty; may
 * be null with n_history 0. GLINT_NON_FINITE, *id -1: a logit is inf or nan. */
GLINT_API glint_status glint_sampler_sample(glint_sampler* sampler, const float* logits,
                                            size_t n_logits, const int32_t* history,
                                            size_t n_history, int32_t* id);

/* ---- Generating ----------------------------------------------------------------------------- */

/* What becomes of what the context does not hold. Never is anything shifted within the cache. */
typedef enum glint_context_policy {
  GLINT_CONTEXT_DROP = 0, /* a chat forgets its oldest whole turns, never the system message, and
                             the rest is read anew. A prompt or message that alone does not fit:
                             GLINT_CONTEXT_FULL */
  GLINT_CONTEXT_STOP = 1, /* nothing is forgotten: GLINT_CONTEXT_FULL */
  GLINT_CONTEXT_STRICT = 2 /* the same, also if the prompt (for glint_generate without ids: the
                              sequence) leaves no room for max_tokens */
} glint_context_policy;

typedef struct glint_generate_options {
  size_t size;
  const glint_sampler_options* sampler; /* null: its defaults */
  size_t max_tokens;                    /* of the reply; 0: what the context holds */
  glint_token_fn on_token;              /* null: none */
  void* user;                           /* for on_token */
  int lookup;   /* 1: guesses tokens from the text so far and verifies them in batches; the session
                   needs a max_batch of at least 2, better 8. Changes the speed alone */
  int policy;   /* a glint_context_policy. Of a chat 0: it has its own, glint_chat_options.policy */
} glint_generate_options;

static inline glint_generate_options glint_generate_options_init(void) {
  glint_generate_options options = GLINT_ZERO_;
  options.size = sizeof options;
  return options;
}

typedef enum glint_end {
  GLINT_END_STOP = 0,         /* the model was done */
  GLINT_END_LENGTH = 1,       /* max_tokens */
  GLINT_END_CONTEXT_FULL = 2, /* the context is full */
  GLINT_END_CALLBACK = 3,     /* on_token said so */
  GLINT_END_CANCELLED = 4,    /* with GLINT_CANCELLED */
  GLINT_END_ERROR = 5         /* with the status that says why */
} glint_end;

/* A reply. Its pointers are the session's, until the next call that computes. */
typedef struct glint_reply {
  size_t size;
  const char* text;   /* the same as on_token got; ends with a 0 */
  size_t text_size;   /* bytes */
  const int32_t* ids; /* without the one that stopped it */
  size_t n_ids;
  size_t prompt_tokens;
  size_t kept_tokens;     /* of the prompt: computed before */
  size_t forgotten_turns; /* glint_chat_ask: of the history, as the context was full */
  double prompt_seconds;
  double reply_seconds;
  int end;      /* a glint_end */
  int reserved; /* 0 */
} glint_reply;

static inline glint_reply glint_reply_init(void) {
  glint_reply result = GLINT_ZERO_;
  result.size = sizeof result;
  return result;
}

/* Starts a sequence with a prompt and generates until a stop id, a limit or a cancel. With no ids
 * (null, 0) it goes on where the session is: after a restore, an append, or a reply that was cut
 * short, of which it then gives the rest (GLINT_ERROR_ARGUMENT if there is no sequence). Each call
 * draws with the sampler's seed anew. `reply` may be null; it is filled as far as the reply got,
 * also with another status. GLINT_CONTEXT_FULL: the prompt does not fit, or not as the policy wants
 * it; nothing was computed. A reply that meets the end of the context is GLINT_OK. */
GLINT_API glint_status glint_generate(glint_session* session, const int32_t* ids, size_t n_ids,
                                      const glint_generate_options* options, glint_reply* reply);

/* ---- Chat ----------------------------------------------------------------------------------- */

typedef struct glint_message {
  size_t size;
  const char* role;     /* "system", "user", "assistant", "observation" or "tool" (its answer) */
  const char* content;  /* null: empty */
  const char* metadata; /* of an assistant that calls a tool: its name. null: none */
} glint_message;

static inline glint_message glint_message_init(void) {
  glint_message message = GLINT_ZERO_;
  message.size = sizeof message;
  return message;
}

/* The ids (capacity) with which the model, as it was taught to chat, replies to the last of these
 * messages (each of the first one's size). `tools`: JSON list of the tools that it may call, in the
 * form that its documentation has; null: none. GLINT_ERROR_UNSUPPORTED: the model has no chat
 * format. GLINT_ERROR_ARGUMENT: roles or tools that it does not know, no messages; the message says
 * what. */
GLINT_API glint_status glint_chat_prompt(const glint_model* model, const glint_message* messages,
                                         size_t n_messages, const char* tools, int32_t* ids,
                                         size_t capacity, size_t* n_ids, char* error,
                                         size_t error_size);

/* A conversation in a session: its history, and the prompts that the model's format makes of it.
 * Calls leave their message in the session. */
typedef struct glint_chat glint_chat;

typedef struct glint_chat_options {
  size_t size;
  const char* system; /* message; null: none */
  const char* tools;  /* JSON list, as in glint_chat_prompt; null: none */
  int policy;         /* a glint_context_policy */
  int reserved;       /* 0 */
} glint_chat_options;

static inline glint_chat_options glint_chat_options_init(void) {
  glint_chat_options options = GLINT_ZERO_;
  options.size = sizeof options;
  return options;
}

/* GLINT_ERROR_UNSUPPORTED: the model has no chat format. The session is for the chat alone from
 * then on; other calls on it are allowed, but cost the next prompt what it could have kept. */
GLINT_API glint_status glint_chat_create(glint_session* session, const glint_chat_options* options,
                                         glint_chat** chat, char* error, size_t error_size);
GLINT_API void glint_chat_free(glint_chat* chat);

/* Says `text` (text_size bytes) and lets the model reply. role: null or "user", or "observation" or
 * "tool" for what a tool answered. Message and reply join the history (a cancelled reply as far as
 * it got; not one that failed or is empty). reply->text is what is shown, after the format's rules.
 * GLINT_CONTEXT_FULL: the message alone does not fit, or the chat's policy says so. */
GLINT_API glint_status glint_chat_ask(glint_chat* chat, const char* role, const char* text,
                                      size_t text_size, const glint_generate_options* options,
                                      glint_reply* reply);

/* From the next message on; null: none. */
GLINT_API glint_status glint_chat_set_system(glint_chat* chat, const char* text);
GLINT_API glint_status glint_chat_set_tools(glint_chat* chat, const char* tools);
/* Replaces the history (n_messages of the first one's size; 0 clears it). System messages are
 * refused: glint_chat_set_system. */
GLINT_API glint_status glint_chat_set_history(glint_chat* chat, const glint_message* messages,
                                              size_t n_messages);
/* Messages of the history; 0 for a null. */
GLINT_API size_t glint_chat_history_size(const glint_chat* chat);
/* Message `index` of it. Its strings are the chat's, until the next call on it. */
GLINT_API glint_status glint_chat_get_message(glint_chat* chat, size_t index,
                                              glint_message* message);

/* ---- Adapters ------------------------------------------------------------------------------- */

/* A P-Tuning v2 prefix or a LoRA, converted to a .glint file. Never changes. */
typedef struct glint_adapter glint_adapter;

/* GLINT_ERROR_FILE for one that is damaged or made for another model, GLINT_FILE_CHANGED if the model's
 * file has changed. Of the options only load counts. */
GLINT_API glint_status glint_adapter_open(const glint_model* model, const char* path,
                                          const glint_model_options* options,
                                          glint_adapter** adapter, char* error, size_t error_size);
GLINT_API void glint_adapter_free(glint_adapter* adapter);
/* "prefix" or "lora"; "" for a null. */
GLINT_API const char* glint_adapter_kind(const glint_adapter* adapter);

/* From now on the session uses these adapters of its model, each with its scale (scales null: 1
 * each; of a prefix it must be 1, or 0: as if it were not there), in place of those that it had. 0
 * adapters: the model as it is. Ends the sequence and may allocate; what a session with adapters
 * takes is told by glint_memory_estimate. On any status but GLINT_OK nothing has changed;
 * GLINT_FILE_CHANGED: the file of the model or of an adapter is not what it was. */
GLINT_API glint_status glint_session_set_adapters(glint_session* session,
                                                  const glint_adapter* const* adapters,
                                                  const float* scales, size_t n_adapters);

#ifdef __cplusplus
}
#endif

#endif /* GLINT_H_ */
