#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "formats/import/imported_tokenizer.h"
#include "tests/model_samples.h"

// Small honest files that targets and the corpus begin with.
namespace glint::fuzz {

nlohmann::json ByteBpeJson();      // tokenizer.json with every byte, merges and an added token
nlohmann::json Llama3Json();       // splits by a pattern, template, ignore_merges
nlohmann::json SentenceBpeJson();  // byte fallback, Replace and Fuse
nlohmann::json WordPieceJson();
nlohmann::json UnigramJson();
std::string SmallBpeModel();      // sentencepiece
std::string SmallUnigramModel();  // with every byte
std::unique_ptr<LoadedTokenizer> LoadTokenizerJson(const nlohmann::json& file);

// A sample (tests/model_samples.h) of one layer and few numbers; 20 KB of GGUF in F16.
test::SampleModel TinyModel(const std::string& name);
// model.safetensors of a sample, in F16.
std::string TinySafetensors(const test::SampleModel& sample);
// A GGUF file of a sample, tokenizer included.
std::string TinyGguf(const test::SampleModel& sample, const std::string& type);

}  // namespace glint::fuzz
