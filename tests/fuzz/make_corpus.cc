// Writes the seeds of the corpus: make_corpus FOLDER. Small honest files of every kind; what
// fuzzing found and what it kept for coverage lies beside them in the repository and is not made
// here.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/session_file.h"
#include "tests/fuzz/bases.h"
#include "tests/fuzz/fuzz_samples.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/session_bytes.h"
#include "tests/fuzz/target.h"
#include "tests/gguf_blocks.h"
#include "tests/gguf_files.h"
#include "tests/glint_samples.h"
#include "tests/spm_samples.h"
#include "tests/test_util.h"

namespace glint::fuzz {
namespace {

using nlohmann::json;
using test::Bytes;
using test::DictPickle;
using test::Entry;
using test::Floats;
using test::GgufBool;
using test::GgufBytes;
using test::GgufEntry;
using test::GgufF32;
using test::GgufI32s;
using test::GgufPairOf;
using test::GgufParts;
using test::GgufText;
using test::GgufTexts;
using test::GgufU32;
using test::Global;
using test::kLayouts;
using test::Layout;
using test::Longs;
using test::OrderedDict;
using test::Rebuild;
using test::Safetensors;
using test::SampleOf;
using test::Storage;
using test::Str;
using test::Torch;
using test::TorchMembers;
using test::Tuple;
using test::U16;
using test::U32;
using test::U64;
using test::Zip;
using test::ZipMember;
using test::ZipOptions;
using namespace std::string_literals;
namespace fs = std::filesystem;

class Corpus {
 public:
  explicit Corpus(std::string folder) : folder_(std::move(folder)) {}

  void Add(const std::string& target, const std::string& name, const std::string& bytes) {
    const std::string path = folder_ + "/" + target;
    fs::create_directories(path);
    WriteFile(path + "/seed-" + name, bytes);
  }

 private:
  std::string folder_;
};

void AddGlint(Corpus* corpus) {
  const std::string path = Folder() + "/sample.glint";
  WriteSample(SampleModel(), path, true);
  corpus->Add("glint", "all-types", ReadFile(path));
  corpus->Add("glint", "llama-int4", ConvertedModel("llama", DType::kInt4));
  corpus->Add("glint", "gemma2-f16", ConvertedModel("gemma2", DType::kF16));
  corpus->Add("glint", "mixtral-int8", ConvertedModel("mixtral", DType::kInt8));
  corpus->Add("glint", "qwen2-moe-int4a", ConvertedModel("qwen2_moe", DType::kInt4a));
}

void AddGguf(Corpus* corpus) {
  GgufParts parts;
  parts.pairs = {GgufText("general.architecture", "llama"),
                 GgufU32("general.alignment", 32),
                 GgufF32("a.float", 0.5f),
                 GgufBool("a.bool", true),
                 GgufI32s("a.list", {1, -2, 3}),
                 GgufTexts("a.texts", {"x", "", "\u4f60"}),
                 GgufPairOf("a.u64", 10, U64(7)),
                 GgufPairOf("a.f64", 12, Bytes(0.5))};
  corpus->Add("gguf", "header", GgufBytes(parts));
  size_t offset = 0;
  for (const Layout& t : kLayouts) {
    parts.tensors.push_back(GgufEntry(t.name, {t.elements, 1}, t.id, offset));
    parts.data.resize((offset + t.bytes + 31) / 32 * 32);
    for (size_t i = 0; i < t.bytes; ++i) parts.data[offset + i] = static_cast<char>(i * 37);
    offset = parts.data.size();
  }
  corpus->Add("gguf", "all-types", GgufBytes(parts));
  parts.version = 2;
  corpus->Add("gguf", "version-2", GgufBytes(parts));
  GgufParts bpe;
  bpe.pairs = {GgufText("tokenizer.ggml.model", "gpt2"), GgufText("tokenizer.ggml.pre", "qwen2"),
               GgufI32s("tokenizer.ggml.token_type", std::vector<int32_t>(259, 1)),
               GgufTexts("tokenizer.ggml.merges", {"a b", "ab c"})};
  std::vector<std::string> tokens(259);
  const json file = ByteBpeJson();
  for (const auto& [text, id] : file["model"]["vocab"].items()) tokens[id.get<size_t>()] = text;
  tokens[258] = "<|x|>";
  bpe.pairs.push_back(GgufTexts("tokenizer.ggml.tokens", tokens));
  corpus->Add("gguf", "byte-bpe", GgufBytes(bpe));
  for (const char* name : {"llama", "qwen3", "gemma2", "phi3", "qwen2_moe", "chatglm"}) {
    corpus->Add("gguf_model", name, TinyGguf(TinyModel(name), "F16"));
  }
  corpus->Add("gguf_model", "llama-q8_0",
              TinyGguf(SampleOf("llama-gqa-tied", {{"hidden_size", 32},
                                                   {"intermediate_size", 32},
                                                   {"num_hidden_layers", 1},
                                                   {"num_attention_heads", 2},
                                                   {"num_key_value_heads", 1},
                                                   {"vocab_size", 264}}),
                       "Q8_0"));
  corpus->Add("gguf", "model", TinyGguf(TinyModel("llama"), "F16"));
}

void AddCheckpoints(Corpus* corpus) {
  const std::string f32 = Floats({1, 2, 3, 4});
  corpus->Add(
      "safetensors", "two",
      Safetensors("{\"__metadata__\":{\"format\":\"pt\"}," + Entry("a", "F32", "[2,2]", 0, 16) +
                      "," + Entry("b.c", "BF16", "[3]", 16, 22) + "}",
                  f32 + "abcdef"));
  corpus->Add(
      "safetensors", "kinds",
      Safetensors("{" + Entry("a", "I64", "[1]", 0, 8) + "," + Entry("b", "BOOL", "[2]", 8, 10) +
                      "," + Entry("c", "F16", "[0,5]", 10, 10) + "," +
                      Entry("d", "F64", "[]", 10, 18) + "}   ",
                  std::string(18, '\1')));
  const std::string pairs =
      Str("w") + Rebuild(Storage("FloatStorage", "0", 4), 0, Longs({2, 2}), Longs({2, 1})) +
      Str("b") + Rebuild(Storage("HalfStorage", "1", 3), 1, Longs({2}), Longs({1})) + Str("t") +
      Rebuild(Storage("FloatStorage", "0", 4), 0, Longs({4}), Longs({1}));
  const std::string pickle = DictPickle(pairs);
  corpus->Add("torch", "plain", Torch(pickle, {f32, "abcdef"}));
  ZipOptions zip64;
  zip64.zip64 = true;
  std::vector<ZipMember> members = TorchMembers(pickle, {f32, "abcdef"});
  for (ZipMember& member : members) member.zip64 = true;
  corpus->Add("torch", "zip64", Zip(members, zip64));
  for (ZipMember& member : members) member.zip64 = false, member.streamed = true;
  corpus->Add("torch", "streamed", Zip(members));
  corpus->Add("pickle", "dict", pickle);
  corpus->Add("pickle", "ordered",
              "\x80\x02"s + OrderedDict() + "q\1(" + pairs + "u}" + Str("_metadata") +
                  OrderedDict() + "sb.");
  corpus->Add(
      "pickle", "parameter",
      DictPickle(Str("p") + Global("torch._utils", "_rebuild_parameter") +
                 Tuple(Rebuild(Storage("BFloat16Storage", "0", 2), 0, Longs({2}), Longs({1})) +
                       "\x88" + OrderedDict()) +
                 "R"));
}

void AddTokenizers(Corpus* corpus) {
  for (const auto& [rules, name] : {std::pair(0, "plain"), {1, "llama"}, {2, "chatglm1"}}) {
    corpus->Add("sentencepiece", std::string("bpe-") + name,
                std::string(1, static_cast<char>(rules)) + SmallBpeModel());
  }
  corpus->Add("sentencepiece", "unigram", "\0"s + SmallUnigramModel());
  corpus->Add(
      "sentencepiece", "options",
      "\0"s + SmallBpe(Field(35, uint64_t{0}) + Field(41, uint64_t{1}) + Field(40, uint64_t{0})));
  corpus->Add("sentencepiece", "charsmap",  // an empty trie, and no text
              "\0"s + Piece("<unk>", 0, 2) + Piece("a", -1) +
                  Field(3, Field(2, U32(1024) + std::string(1024, '\0') + "x\0"s) +
                               Field(1, std::string_view("nmt_nfkc"))));
  corpus->Add("tokenizer_json", "byte-bpe", ByteBpeJson().dump());
  corpus->Add("tokenizer_json", "llama3", Llama3Json().dump());
  corpus->Add("tokenizer_json", "byte-fallback", SentenceBpeJson().dump());
  corpus->Add("tokenizer_json", "word-piece", WordPieceJson().dump());
  corpus->Add("tokenizer_json", "unigram", UnigramJson().dump());
  for (int which = 0; which < 5; ++which) {
    const std::string first(1, static_cast<char>(which));
    const std::string n = std::to_string(which);
    corpus->Add("text", "ascii-" + n, first + "Hello, world! 123  abc<|x|>\r\n\tit's");
    corpus->Add("text", "unicode-" + n,
                first + "\u4f60\u597d\uff0c\u00e9e\u0301 \U0001F600\u200d\u2581a");
    corpus->Add("text", "bytes-" + n, first + "\xFF\xC0\xAF\xED\xA0\x80\xE4\xBD ab\0c"s);
  }
}

void AddTemplates(Corpus* corpus) {
  const std::string path = SourceDir() + "/tests/data/jinja_vectors.json";
  const json vectors = json::parse(ReadFile(path));
  for (const json& chat : vectors["templates"]) {
    std::string name = chat["name"];
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '/' || c == ' '; }, '-');
    const std::string source = chat["template"];
    if (source.size() < 6000) corpus->Add("jinja", name, source);
  }
  // All expressions and statements, a few to a file.
  std::string text;
  size_t n = 0;
  for (const json& test : vectors["cases"]) {
    text += test["template"].get<std::string>() + "\n";
    if (text.size() < 600) continue;
    corpus->Add("jinja", "cases-" + std::to_string(n++), text);
    text.clear();
  }
  corpus->Add("jinja", "cases-last", text);
}

void AddFolders(Corpus* corpus) {
  const std::string config = TinyModel("llama").config.dump(1);
  const std::string file = "=== config.json\n" + config;
  corpus->Add("hf_folder", "config", file);
  corpus->Add("hf_folder", "tokenizer-json",
              file + "\n=== tokenizer.json\n" + SentenceBpeJson().dump() +
                  "\n=== tokenizer_config.json\n" + R"({"chat_template": "{{ bos_token }}{% for m in
messages %}{{ m.content }}{% endfor %}", "bos_token": "<s>", "added_tokens_decoder": {}})" +
                  "\n=== generation_config.json\n{\"eos_token_id\": [2, 1]}");
  corpus->Add("hf_folder", "sharded",
              file + "\n=== model-00001-of-00001.safetensors\n" +
                  Safetensors("{" + Entry("lm_head.weight", "F32", "[1,4]", 0, 16) + "}",
                              Floats({1, 2, 3, 4})) +
                  "\n=== model.safetensors.index.json\n" +
                  R"({"metadata": {"total_size": 16}, "weight_map": {"lm_head.weight":
"model-00001-of-00001.safetensors"}})");
  corpus->Add("hf_folder", "vocab-txt", file + "\n=== vocab.txt\n[UNK]\n[CLS]\n[SEP]\na\n##b\n");
  for (const char* name :
       {"qwen3", "gemma2", "mixtral", "qwen2_moe", "phi3-longrope", "glm4", "chatglm", "granite"}) {
    corpus->Add("hf_folder", name, "=== config.json\n" + TinyModel(name).config.dump(1));
  }
}

void AddAdapters(Corpus* corpus) {
  corpus->Add("adapter", "prefix-f16", ConvertedAdapter(PrefixFolder(false), DType::kF16));
  corpus->Add("adapter", "lora-f32", ConvertedAdapter(PeftFolder(Base::kLlama), DType::kF32));
  corpus->Add("adapter", "lora-bf16", ConvertedAdapter(PeftFolder(Base::kGemma2), DType::kBF16));
  corpus->Add("adapter", "thudm", PrefixFolder(false));
  corpus->Add("adapter", "thudm-projection", PrefixFolder(true));
  corpus->Add("adapter", "peft", PeftFolder(Base::kLlama));
}

// A sequence of each base by each type of cache; some have an adapter, hidden states, no outputs.
void AddSessions(Corpus* corpus) {
  for (uint8_t base = 0; base < kBases; ++base) {
    for (uint8_t kv = 0; kv < kKvTypes; ++kv) {
      const Model& model = ModelOf(static_cast<Base>(base));
      const bool with_adapter = kv == 0, hidden = (kv + base) % kKvTypes == 2;
      SessionOptions wanted = SmallSession();
      wanted.kv = static_cast<KvType>(kv);
      if (hidden) wanted.output = SessionOutput::kHidden;
      Session session(model, wanted);
      if (with_adapter) {
        session.SetAdapters(std::vector<AdapterUse>{{&AdapterOf(static_cast<Base>(base)), 1}});
      }
      const std::vector<int32_t> prompt = PromptOf(model);
      session.Start(prompt);
      for (int32_t id = 1; id < (base == 2 ? 8 : 3); ++id) session.Append(id);
      if (kv == 1) session.Truncate(session.length() - 1);
      const auto options = static_cast<uint8_t>(kv | base << 2 | (with_adapter ? kWithAdapter : 0) |
                                                (hidden ? kHiddenStates : 0));
      const std::vector<uint8_t> image = SaveSession(session);
      corpus->Add("session", "base" + std::to_string(base) + "-kv" + std::to_string(kv),
                  std::string(1, static_cast<char>(options)) +
                      std::string(image.begin(), image.end()));
    }
  }
}

void AddRest(Corpus* corpus) {
  for (size_t i = 0; i < std::size(kLayouts); ++i) {
    const Layout& t = kLayouts[i];
    std::string bytes(1, static_cast<char>(i));
    for (size_t k = 0; k < 2 * t.bytes; ++k) bytes += static_cast<char>(k * 73 + i);
    corpus->Add("dequant", t.name, bytes);
  }
  corpus->Add(
      "json", "kinds",
      R"({"a": [1, -2, 0.5, 1e300, true, false, null, "\u4f60\n\ud83d\ude00"], "b": {"": {}}})");
  const auto npy = [](const std::string& head, const std::string& data) {
    return "\x93NUMPY\1\0"s + U16(head.size()) + head + data;
  };
  corpus->Add("npy", "i4",
              npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }   \n",
                  U32(1) + U32(2) + U32(3) + U32(4)));
  corpus->Add(
      "npy", "i8",
      npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }\n", U64(1) + U64(999)));
}

}  // namespace
}  // namespace glint::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus FOLDER\n");
    return 2;
  }
  glint::fuzz::Corpus corpus(argv[1]);
  glint::fuzz::AddGlint(&corpus);
  glint::fuzz::AddGguf(&corpus);
  glint::fuzz::AddCheckpoints(&corpus);
  glint::fuzz::AddTokenizers(&corpus);
  glint::fuzz::AddTemplates(&corpus);
  glint::fuzz::AddFolders(&corpus);
  glint::fuzz::AddAdapters(&corpus);
  glint::fuzz::AddSessions(&corpus);
  glint::fuzz::AddRest(&corpus);
  return 0;
}
