/* Prints what binary compatibility rests on: sizes and offsets of the public structs, and the
 * values of the enums. tests/abi/check.sh compares it with the committed list. A struct whose
 * members here do not fill it (where pointers have 8 bytes) is an error: a member is missing below,
 * or it has a hole, into which a later member could not be told from an older caller's garbage. */
#include <stdio.h>

#include "glint.h"

static int failed = 0;
static size_t filled;

static void Member(const char* name, size_t offset, size_t size) {
  printf("  %s %zu %zu\n", name, offset, size);
  filled += size;
}

static void End(const char* name, size_t size) {
  if (sizeof(void*) != 8 || filled == size) return;
  fprintf(stderr, "%s has %zu bytes, its members %zu\n", name, size, filled);
  failed = 1;
}

#define STRUCT(type) \
  filled = 0;        \
  printf("struct %s %zu\n", #type, sizeof(type))
#define M(type, name) Member(#name, offsetof(type, name), sizeof(((type*)0)->name))
#define END(type) End(#type, sizeof(type))
#define ENUM(type) printf("enum %s %zu\n", #type, sizeof(type))
#define V(value) printf("  %s %d\n", #value, (int)value)

static void Structs(void) {
  STRUCT(glint_capabilities);
  M(glint_capabilities, size);
  M(glint_capabilities, default_threads);
  M(glint_capabilities, numerics);
  M(glint_capabilities, can_import);
  M(glint_capabilities, can_open_descriptor);
  M(glint_capabilities, reserved);
  M(glint_capabilities, target);
  M(glint_capabilities, targets);
  M(glint_capabilities, cpu);
  M(glint_capabilities, cpu_features);
  END(glint_capabilities);
  STRUCT(glint_model_options);
  M(glint_model_options, size);
  M(glint_model_options, load);
  M(glint_model_options, verify);
  M(glint_model_options, progress);
  M(glint_model_options, progress_user);
  M(glint_model_options, log);
  M(glint_model_options, log_user);
  M(glint_model_options, release);
  M(glint_model_options, release_user);
  END(glint_model_options);
  STRUCT(glint_model_info);
  M(glint_model_info, size);
  M(glint_model_info, name);
  M(glint_model_info, metadata);
  M(glint_model_info, path);
  M(glint_model_info, hash);
  M(glint_model_info, file_bytes);
  M(glint_model_info, vocab_size);
  M(glint_model_info, n_logits);
  M(glint_model_info, hidden_size);
  M(glint_model_info, max_context);
  M(glint_model_info, causal);
  M(glint_model_info, has_tokenizer);
  M(glint_model_info, has_chat);
  M(glint_model_info, numerics);
  END(glint_model_info);
  STRUCT(glint_thread_pool);
  M(glint_thread_pool, size);
  M(glint_thread_pool, threads);
  M(glint_thread_pool, user);
  M(glint_thread_pool, run);
  END(glint_thread_pool);
}

static void SessionStructs(void) {
  STRUCT(glint_session_options);
  M(glint_session_options, size);
  M(glint_session_options, context);
  M(glint_session_options, threads);
  M(glint_session_options, chunk);
  M(glint_session_options, max_batch);
  M(glint_session_options, pool);
  M(glint_session_options, kv);
  M(glint_session_options, output);
  M(glint_session_options, adapters);
  M(glint_session_options, scales);
  M(glint_session_options, n_adapters);
  END(glint_session_options);
  STRUCT(glint_memory);
  M(glint_memory, size);
  M(glint_memory, longest_context);
  M(glint_memory, total);
  M(glint_memory, cache);
  M(glint_memory, activations);
  M(glint_memory, other);
  M(glint_memory, weights);
  M(glint_memory, free);
  END(glint_memory);
  STRUCT(glint_session_info);
  M(glint_session_info, size);
  M(glint_session_info, length);
  M(glint_session_info, kept);
  M(glint_session_info, context);
  M(glint_session_info, max_batch);
  M(glint_session_info, chunk);
  M(glint_session_info, threads);
  M(glint_session_info, cache_bytes);
  M(glint_session_info, kv);
  M(glint_session_info, output);
  END(glint_session_info);
}

static void GenerateStructs(void) {
  STRUCT(glint_sampler_options);
  M(glint_sampler_options, size);
  M(glint_sampler_options, seed);
  M(glint_sampler_options, temperature);
  M(glint_sampler_options, top_p);
  M(glint_sampler_options, repetition_penalty);
  M(glint_sampler_options, top_k);
  END(glint_sampler_options);
  STRUCT(glint_generate_options);
  M(glint_generate_options, size);
  M(glint_generate_options, sampler);
  M(glint_generate_options, max_tokens);
  M(glint_generate_options, on_token);
  M(glint_generate_options, user);
  M(glint_generate_options, lookup);
  M(glint_generate_options, policy);
  END(glint_generate_options);
  STRUCT(glint_reply);
  M(glint_reply, size);
  M(glint_reply, text);
  M(glint_reply, text_size);
  M(glint_reply, ids);
  M(glint_reply, n_ids);
  M(glint_reply, prompt_tokens);
  M(glint_reply, kept_tokens);
  M(glint_reply, forgotten_turns);
  M(glint_reply, prompt_seconds);
  M(glint_reply, reply_seconds);
  M(glint_reply, end);
  M(glint_reply, reserved);
  END(glint_reply);
  STRUCT(glint_message);
  M(glint_message, size);
  M(glint_message, role);
  M(glint_message, content);
  M(glint_message, metadata);
  END(glint_message);
  STRUCT(glint_chat_options);
  M(glint_chat_options, size);
  M(glint_chat_options, system);
  M(glint_chat_options, tools);
  M(glint_chat_options, policy);
  M(glint_chat_options, reserved);
  END(glint_chat_options);
}

static void Enums(void) {
  ENUM(glint_status);
  V(GLINT_OK);
  V(GLINT_CANCELLED);
  V(GLINT_CONTEXT_FULL);
  V(GLINT_NON_FINITE);
  V(GLINT_FILE_CHANGED);
  V(GLINT_ERROR_ARGUMENT);
  V(GLINT_ERROR_MEMORY);
  V(GLINT_ERROR_BUSY);
  V(GLINT_ERROR_BUFFER);
  V(GLINT_ERROR_FILE);
  V(GLINT_ERROR_UNSUPPORTED);
  V(GLINT_ERROR_INTERNAL);
  ENUM(glint_log_level);
  V(GLINT_LOG_INFO);
  V(GLINT_LOG_WARNING);
  V(GLINT_LOG_ERROR);
  ENUM(glint_load);
  V(GLINT_LOAD_MAP);
  V(GLINT_LOAD_COPY);
  ENUM(glint_tokenize_mode);
  V(GLINT_TOKENIZE_TEXT);
  V(GLINT_TOKENIZE_SPECIAL);
  V(GLINT_TOKENIZE_PLAIN);
  V(GLINT_TOKENIZE_MARKUP);
  ENUM(glint_kv);
  V(GLINT_KV_DEFAULT);
  V(GLINT_KV_F32);
  V(GLINT_KV_F16);
  V(GLINT_KV_INT8);
  ENUM(glint_output);
  V(GLINT_OUTPUT_LOGITS);
  V(GLINT_OUTPUT_HIDDEN);
  ENUM(glint_pooling);
  V(GLINT_POOLING_LAST);
  V(GLINT_POOLING_MEAN);
  ENUM(glint_end);
  V(GLINT_END_STOP);
  V(GLINT_END_LENGTH);
  V(GLINT_END_CONTEXT_FULL);
  V(GLINT_END_CALLBACK);
  V(GLINT_END_CANCELLED);
  V(GLINT_END_ERROR);
  ENUM(glint_context_policy);
  V(GLINT_CONTEXT_DROP);
  V(GLINT_CONTEXT_STOP);
  V(GLINT_CONTEXT_STRICT);
}

int main(void) {
  Structs();
  SessionStructs();
  GenerateStructs();
  Enums();
  return failed;
}
