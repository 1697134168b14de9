// Tokenizers against the ids that the published ones give.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "formats/import/gguf.h"
#include "formats/import/imported_tokenizer.h"
#include "lib/error.h"
#include "tests/tokenizer_samples.h"

namespace glint {
namespace {

using Json = nlohmann::json;

std::unique_ptr<LoadedTokenizer> LoadFolder(const std::string& name, const std::string& rules) {
  auto model = ReadFolderTokenizer(TokenizerDir(name), {rules, 0});
  REQUIRE(model);
  return LoadTokenizer(std::move(*model), name);
}

TEST_CASE("folders: the vectors, exactly") {
  if (SkipWithoutReference("the tokenizers' vectors")) return;
  constexpr struct {
    const char* folder;
    const char* rules;
    const char* vectors;
  } kFolders[] = {{"gpt2", "gpt2", "vectors"},
                  {"qwen2", "", "vectors"},
                  {"llama2", "", "vectors"},
                  {"chatglm1", "", "vectors"},
                  {"chatglm2", "chatglm2", "vectors"},
                  {"chatglm3", "chatglm3", "vectors"},
                  {"bert-base-chinese", "bert", "vectors"},
                  {"bert-base-chinese", "bert-cased", "vectors_nolower"},
                  {"bert-base-uncased", "", "vectors"}};
  for (const auto& row : kFolders) {
    const auto loaded = LoadFolder(row.folder, row.rules);
    CheckVectors(*loaded->tokenizer, TokenizerDir(row.folder) + row.vectors + ".jsonl");
  }
}

TEST_CASE("BERT: pairs") {
  if (SkipWithoutReference("BERT's pairs")) return;
  const auto loaded = LoadFolder("bert-base-chinese", "bert");
  const Json pairs = Json::parse(ReadFile(TokenizerDir("bert-base-chinese") + "pairs.json"));
  CHECK(pairs.size() > 10);
  for (const Json& pair : pairs) {
    CAPTURE(pair.dump());
    Ids ids, types;
    CHECK(loaded->tokenizer->EncodePair(pair["a"].get<std::string>(), pair["b"].get<std::string>(),
                                        &ids, &types));
    CHECK(ids == pair["input_ids"].get<Ids>());
    CHECK(types == pair["token_type_ids"].get<Ids>());
  }
}

// Texts and ids of llama.cpp's vocabulary files.
void CheckGguf(const std::string& name) {
  const std::string path = TokenizerDir("gguf-vocab") + "ggml-vocab-" + name + ".gguf";
  const auto gguf = Gguf::Open(path);
  auto model = ReadGgufTokenizer(*gguf);
  REQUIRE(model);
  const auto loaded = LoadTokenizer(std::move(*model), path);
  const std::string kEnd = "\n__ggml_vocab_test__\n";
  const std::string texts = ReadFile(path + ".inp");
  std::ifstream lines(path + ".out");
  size_t at = 0, n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    const size_t end = std::min(texts.find(kEnd, at), texts.size());
    const std::string text = texts.substr(at, end - at);
    at = std::min(end + kEnd.size(), texts.size());
    Ids expected;
    std::istringstream in(line);
    for (int32_t id; in >> id;) expected.push_back(id);
    CAPTURE(name);
    CAPTURE(text);
    CHECK(loaded->tokenizer->EncodePlain(text) == expected);
  }
  CHECK(n > 40);
}

TEST_CASE("GGUF: llama.cpp's vocabularies") {
  if (SkipWithoutReference("llama.cpp's vocabularies")) return;
  for (const char* name : {"gpt-2", "llama-spm", "bert-bge"}) CheckGguf(name);
}

}  // namespace
}  // namespace glint
