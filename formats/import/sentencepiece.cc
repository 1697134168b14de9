#include "formats/import/sentencepiece.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <unordered_set>

#include "formats/import/input_file.h"
#include "formats/import/proto_reader.h"
#include "lib/error.h"
#include "lib/text/piece_index.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 28;
constexpr size_t kMaxPieces = size_t{1} << 24;

// Field numbers of sentencepiece_model.proto: what we read of each message.
enum ModelField : uint64_t { kPieces = 1, kTrainerSpec, kNormalizerSpec, kDenormalizerSpec = 5 };
enum PieceField : uint64_t { kPieceText = 1, kPieceScore, kPieceType };
constexpr uint64_t kCharsmap = 2, kUnkSurface = 44;

constexpr const char* kModelTypes[] = {"none", "unigram", "bpe", "word", "char"};
constexpr int32_t kUnigram = 1, kBpe = 2;

// The settings that matter after training, with the format's defaults.
struct Specs {
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
  bool byte_fallback = false, treat_whitespace_as_suffix = false;
  int32_t model_type = kUnigram;
  int32_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;
  std::string unk_surface;
  bool has_unk_surface = false;
};

struct BoolField {
  uint64_t field;
  bool Specs::*member;
};
constexpr BoolField kNormalizerBools[] = {{3, &Specs::add_dummy_prefix},
                                          {4, &Specs::remove_extra_whitespaces},
                                          {5, &Specs::escape_whitespaces}};
constexpr BoolField kTrainerBools[] = {{24, &Specs::treat_whitespace_as_suffix},
                                       {35, &Specs::byte_fallback}};
constexpr struct {
  uint64_t field;
  int32_t Specs::*member;
  const char* name;
} kTrainerNumbers[] = {{3, &Specs::model_type, "model_type"},
                       {40, &Specs::unk_id, "unk_id"},
                       {41, &Specs::bos_id, "bos_id"},
                       {42, &Specs::eos_id, "eos_id"},
                       {43, &Specs::pad_id, "pad_id"}};

void AppendPiece(std::string_view text, float score, PieceType type, ImportedTokenizer* model) {
  model->AppendPiece(text, type);
  model->scores.push_back(score);
}

void ReadPiece(ProtoReader in, ImportedTokenizer* model) {
  std::span<const uint8_t> text;
  float score = 0.0f;
  int32_t type = static_cast<int32_t>(PieceType::kNormal);
  while (in.Next()) {
    if (in.field() == kPieceText) text = in.Bytes();
    if (in.field() == kPieceScore) score = in.Float();
    if (in.field() == kPieceType) type = in.Int32();
  }
  if (text.empty() || text.size() > kMaxPieceBytes) {
    in.Fail("expected a piece of 1 to " + std::to_string(kMaxPieceBytes) + " bytes, found " +
            std::to_string(text.size()));
  }
  const std::string_view view(reinterpret_cast<const char*>(text.data()), text.size());
  if (!IsUtf8(view)) in.Fail("expected a piece in UTF-8, found " + Quoted(view));
  if (!std::isfinite(score)) in.Fail("piece " + Quoted(view) + ": expected a finite score");
  if (type < 1 || type > static_cast<int32_t>(PieceType::kByte)) {
    in.Fail("piece " + Quoted(view) + ": expected a type from 1 to 6, found " +
            std::to_string(type));
  }
  if (model->size() >= kMaxPieces) {
    in.Fail("expected at most " + std::to_string(kMaxPieces) + " pieces");
  }
  AppendPiece(view, score, static_cast<PieceType>(type), model);
}

template <size_t n>
void ReadBools(const ProtoReader& in, const BoolField (&rows)[n], Specs* specs) {
  for (const BoolField& row : rows) {
    if (in.field() == row.field) specs->*row.member = in.Bool();
  }
}

void ReadTrainerSpec(ProtoReader in, Specs* specs) {
  while (in.Next()) {
    ReadBools(in, kTrainerBools, specs);
    for (const auto& row : kTrainerNumbers) {
      if (in.field() == row.field) specs->*row.member = in.Int32();
    }
    if (in.field() == kUnkSurface) {
      specs->unk_surface = in.String();
      specs->has_unk_surface = true;
    }
  }
}

void ReadNormalizerSpec(ProtoReader in, Specs* specs, ImportedTokenizer* model) {
  while (in.Next()) {
    ReadBools(in, kNormalizerBools, specs);
    if (in.field() != kCharsmap) continue;
    const std::span<const uint8_t> bytes = in.Bytes();
    model->charsmap.assign(bytes.begin(), bytes.end());
    // Left out, a map has no rules; written, it must be whole.
    if (bytes.size() > 0 && bytes.size() <= 4) in.Fail("expected more than 4 bytes of charsmap");
  }
}

void ReadDenormalizerSpec(ProtoReader in) {
  while (in.Next()) {
    if (in.field() == kCharsmap && !in.Bytes().empty()) {
      in.Fail("denormalization rules are not supported");
    }
  }
}

Specs ReadModel(ProtoReader in, const std::string& where, ImportedTokenizer* model) {
  Specs specs;
  while (in.Next()) {
    if (in.field() == kPieces) {
      const std::string place = where + ": piece " + std::to_string(model->size());
      ReadPiece(ProtoReader(in.Bytes(), place, in.bytes_base()), model);
    } else if (in.field() == kTrainerSpec) {
      ReadTrainerSpec(ProtoReader(in.Bytes(), where + ": trainer_spec", in.bytes_base()), &specs);
    } else if (in.field() == kNormalizerSpec) {
      ReadNormalizerSpec(ProtoReader(in.Bytes(), where + ": normalizer_spec", in.bytes_base()),
                         &specs, model);
    } else if (in.field() == kDenormalizerSpec) {
      ReadDenormalizerSpec(ProtoReader(in.Bytes(), where + ": denormalizer_spec", in.bytes_base()));
    }
  }
  return specs;
}

void CheckSpecs(const Specs& specs, const ImportedTokenizer& model, const std::string& where) {
  if (model.size() == 0) throw Error(where + ": expected a sentencepiece model, found no pieces");
  if (specs.model_type != kUnigram && specs.model_type != kBpe) {
    const bool named = specs.model_type > 0 && specs.model_type < int32_t{std::size(kModelTypes)};
    throw Error(where + ": model_type: expected unigram or bpe, found " +
                (named ? kModelTypes[specs.model_type] : std::to_string(specs.model_type)) +
                ", which is not supported yet");
  }
  for (const auto& row : kTrainerNumbers) {
    if (row.member == &Specs::model_type) continue;
    const int64_t id = specs.*row.member;
    const int64_t low = row.member == &Specs::unk_id ? 0 : -1;
    // A default that the file does not state may lie outside a very small vocabulary.
    const bool is_default = id == Specs().*row.member;
    if (id < low || (!is_default && id >= static_cast<int64_t>(model.size()))) {
      throw Error(where + ": trainer_spec: " + row.name + ": expected an id below " +
                  std::to_string(model.size()) + ", found " + std::to_string(id));
    }
  }
}

// Pieces found in text and those that are not are two name spaces, as in sentencepiece.
void CheckPieces(const Specs& specs, const ImportedTokenizer& model, const std::string& where) {
  const TokenizerTables tables = model.Tables();
  std::unordered_set<std::string_view> seen[2];
  for (auto& names : seen) names.reserve(model.size());
  for (size_t id = 0; id < model.size(); ++id) {
    const auto type = static_cast<PieceType>(model.types[id]);
    const bool in_text =
        type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kUnused;
    const std::string_view piece = PieceOf(tables, id);
    if (!seen[in_text ? 1 : 0].insert(piece).second) {
      throw Error(where + ": piece " + std::to_string(id) + ": " + Quoted(piece) +
                  " is there twice");
    }
    if (type == PieceType::kByte && !specs.byte_fallback) {
      throw Error(where + ": piece " + std::to_string(id) + ": byte piece " + Quoted(piece) +
                  " without byte_fallback");
    }
  }
}

bool HasPiece(const ImportedTokenizer& model, std::string_view piece) {
  const TokenizerTables tables = model.Tables();
  for (size_t id = 0; id < model.size(); ++id) {
    if (PieceOf(tables, id) == piece) return true;
  }
  return false;
}

// The pieces that THUDM's first tokenization_chatglm.py appends to its ice_text.model when it loads
// it; the later file contains them, at the same places.
void CompleteChatGlmPieces(Specs* specs, ImportedTokenizer* model) {
  if (HasPiece(*model, "[gMASK]")) return;
  for (const char* special :
       {"[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>"}) {
    AppendPiece(special, 0.0f, PieceType::kControl, model);
  }
  AppendPiece("<|tab|>", 0.0f, PieceType::kUserDefined, model);
  for (int spaces = 2; spaces <= 80; ++spaces) {
    AppendPiece("<|blank_" + std::to_string(spaces) + "|>", 0.0f, PieceType::kUserDefined, model);
  }
  if (specs->byte_fallback) return;
  specs->byte_fallback = true;
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::array<char, 8> text;
    std::snprintf(text.data(), text.size(), "<0x%02X>", byte);
    AppendPiece(text.data(), 0.0f, PieceType::kByte, model);
  }
}

// The special tokens of THUDM's tokenization_chatglm.py, which have the ids behind the file's.
void AddChatGlm2Pieces(bool roles, ImportedTokenizer* model) {
  if (HasPiece(*model, "[gMASK]")) return;
  for (const char* special : {"[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"}) {
    AppendPiece(special, 0.0f, PieceType::kControl, model);
  }
  if (!roles) return;
  for (const char* role : {"<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"}) {
    AppendPiece(role, 0.0f, PieceType::kControl, model);
  }
}

// The special ids by the names that ChatGLM's rules know; an importer may replace them by
// config.json's.
void AddChatGlmIds(int32_t id_offset, ImportedTokenizer* model) {
  constexpr std::pair<std::string_view, const char*> kIds[] = {
      {"[MASK]", "mask_id"}, {"[gMASK]", "gmask_id"}, {"<sop>", "sop_id"}, {"<eop>", "eop_id"},
      {"<pad>", "pad_id"},   {"sop", "sop_id"},       {"eop", "eop_id"}};
  const TokenizerTables tables = model->Tables();
  for (size_t id = 0; id < model->size(); ++id) {
    for (const auto& [piece, name] : kIds) {
      const bool in_text = static_cast<PieceType>(model->types[id]) == PieceType::kNormal;
      if (!in_text && PieceOf(tables, id) == piece) {
        model->options[name] = static_cast<int64_t>(id) + id_offset;
      }
    }
  }
}

// 1 to 3; 0 for other rules.
int ChatGlmGeneration(std::string_view rules) {
  constexpr std::pair<std::string_view, int> kNames[] = {
      {"chatglm1", 1}, {"chatglm2", 2}, {"chatglm3", 3}};
  for (const auto& [name, generation] : kNames) {
    if (name == rules) return generation;
  }
  return 0;
}

void AddBosId(const Specs& specs, int32_t id_offset, const std::string& where,
              ImportedTokenizer* model) {
  if (specs.bos_id < 0) throw Error(where + ": rules llama: expected a bos_id, found none");
  model->options["bos_id"] = int64_t{specs.bos_id} + id_offset;
}

}  // namespace

ImportedTokenizer ParseSentencePiece(std::span<const uint8_t> bytes, const ImportRules& rules,
                                     const std::string& where) {
  ImportedTokenizer model;
  Specs specs = ReadModel(ProtoReader(bytes, where), where, &model);
  CheckSpecs(specs, model, where);
  const int chatglm = ChatGlmGeneration(rules.rules);
  if (chatglm == 1) CompleteChatGlmPieces(&specs, &model);
  if (chatglm > 1) AddChatGlm2Pieces(chatglm == 3, &model);
  CheckPieces(specs, model, where);
  model.options = {{"algorithm", kModelTypes[specs.model_type]},
                   {"rules", rules.rules},
                   {"add_dummy_prefix", specs.add_dummy_prefix},
                   {"remove_extra_whitespaces", specs.remove_extra_whitespaces},
                   {"escape_whitespaces", specs.escape_whitespaces},
                   {"byte_fallback", specs.byte_fallback}};
  if (specs.treat_whitespace_as_suffix) model.options["treat_whitespace_as_suffix"] = true;
  if (specs.has_unk_surface) model.options["unk_surface"] = specs.unk_surface;
  if (rules.id_offset != 0) model.options["id_offset"] = rules.id_offset;
  for (size_t id = 0; id < model.size(); ++id) {
    if (static_cast<PieceType>(model.types[id]) != PieceType::kUnknown) continue;
    model.options["unk_id"] = static_cast<int64_t>(id) + rules.id_offset;
  }
  if (rules.rules == "llama") AddBosId(specs, rules.id_offset, where, &model);
  if (chatglm != 0) AddChatGlmIds(rules.id_offset, &model);
  model.index = BuildPieceIndex(model.Tables());
  // A model that no tokenizer accepts is refused here, not when its .glint file is opened.
  Tokenizer::Create(model.options, model.Tables(), where);
  return model;
}

ImportedTokenizer ReadSentencePiece(const std::string& path, const ImportRules& rules) {
  const InputFile file(path);
  const std::string kind = DescribeKind(file);
  if (!kind.empty()) throw Error(path + ": expected a sentencepiece model, found " + kind);
  const std::vector<uint8_t> bytes = ReadWholeFile(file, kMaxFileBytes);
  return ParseSentencePiece(bytes, rules, path);
}

std::unique_ptr<LoadedTokenizer> LoadSentencePiece(const std::string& path,
                                                   const ImportRules& rules) {
  return LoadTokenizer(ReadSentencePiece(path, rules), path);
}

}  // namespace glint
