#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

// The catalogue of malformed files: each case is written to a folder of its own and read in a child
// process with limits (runner.cc). A refused file must be refused by one line that names it and
// holds the case's words; an accepted one must be accepted.
namespace glint::hostile {

// How a file is read.
enum class Stage {
  kGguf,        // the container
  kModel,       // converted in memory, opened, run for a few tokens
  kCheckpoint,  // safetensors, PyTorch
  kTokenizer,   // a tokenizer's file
  kSentencePiece,
};

struct Case {
  std::string name;
  Stage stage;
  std::string path;  // what is opened, of the files
  std::map<std::string, std::string> files;
  bool accept = false;
  std::string words{};  // in the message
};
using Cases = std::vector<Case>;

// Each appends a section of the catalogue.
void AddGgufCases(Cases* cases);
void AddGgufModelCases(Cases* cases);
void AddSafetensorsCases(Cases* cases);
void AddTorchCases(Cases* cases);
void AddTokenizerCases(Cases* cases);
void AddFolderCases(Cases* cases);

}  // namespace glint::hostile
