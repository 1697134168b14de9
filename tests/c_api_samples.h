#pragma once
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "glint.hpp"
#include "tests/test_util.h"

// What the tests of the C interface share: the tiny model, questions, ways to generate.
namespace c_api_test {

using glint_cpp::Error;
using glint_cpp::GenerateOptions;
using glint_cpp::Model;
using glint_cpp::Session;
using Ids = std::vector<int32_t>;

constexpr char kQuestion[] = "How do ships float?";
constexpr char kAnswer[] = "I am a tiny model and do not know that.";
constexpr char kChinese[] = "狗的英文是什么？";

inline std::string TinyPath() {
  return glint::SourceDir() + "/examples/tiny/tiny.glint";
}

inline glint_session_options Options(size_t context = 128, size_t max_batch = 1,
                                     size_t threads = 2) {
  glint_session_options options = glint_session_options_init();
  options.context = context;
  options.max_batch = max_batch;
  options.threads = threads;
  return options;
}

inline GenerateOptions Greedy(size_t max_tokens = 40) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

// Draws that no stop ends soon: almost any token.
inline GenerateOptions Wild(size_t max_tokens) {
  GenerateOptions options;
  options.sampler.temperature = 50;
  options.sampler.top_k = 0;
  options.sampler.top_p = 1;
  options.sampler.seed = 11;
  options.max_tokens = max_tokens;
  return options;
}

inline Ids Prompt(const Model& model, const char* question = kQuestion) {
  return model.ChatPrompt({{"user", question}});
}

inline std::vector<float> Row(const Session& session) {
  const auto [logits, n] = session.Logits();
  return {logits, logits + n};
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

template <class Fn>
glint_status StatusOf(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() > 1);
    return error.status();
  }
  return GLINT_OK;
}

}  // namespace c_api_test
