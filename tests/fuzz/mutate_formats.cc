#include "tests/fuzz/mutate_formats.h"

#include <cstring>
#include <vector>

#include "formats/prefix.h"

namespace glint::fuzz {

bool MutateGlint(std::string* file, Random& random) {
  uint64_t header = 0;
  if (file->size() >= kPrefixBytes) std::memcpy(&header, file->data() + 16, 8);
  if (random() % 6 == 0 || header == 0 || header > kMaxHeaderBytes ||
      RoundUp(kPrefixBytes + header, kDataAlignment) > file->size()) {
    return false;
  }
  std::string tensors = file->substr(RoundUp(kPrefixBytes + header, kDataAlignment));
  std::string text = file->substr(kPrefixBytes, header);
  if (random() % 5 == 0 && !tensors.empty()) {
    // Tokenizer tables are tensors; their size stays.
    const size_t at = Below(random, tensors.size());
    const std::string changed = MutateText(tensors.substr(at, 64), 0);
    tensors.replace(at, changed.size(), changed);
  } else {
    text = MutateJson(text, random);
  }
  *file = HeadBytes(text) + tensors;
  return true;
}

bool MutateSafetensors(std::string* file, Random& random) {
  uint64_t header = 0;
  if (file->size() >= 8) std::memcpy(&header, file->data(), 8);
  if (random() % 4 == 0 || file->size() < 8 || header > file->size() - 8) return false;
  const std::string text = MutateJson(file->substr(8, header), random);
  const uint64_t length = text.size();
  std::string begin(8, '\0');
  std::memcpy(begin.data(), &length, 8);
  *file = begin + text + file->substr(8 + header);
  return true;
}

bool MutateFolder(std::string* input, Random& random) {
  if (random() % 8 == 0) return false;
  std::vector<size_t> begins;  // of the parts' first lines
  for (size_t at = input->find("=== "); at != input->npos; at = input->find("\n=== ", at + 1)) {
    begins.push_back(at == 0 || (*input)[at] == '=' ? at : at + 1);
  }
  if (begins.empty()) return false;
  const size_t which = Below(random, begins.size());
  const size_t body = std::min(input->find('\n', begins[which]), input->size() - 1) + 1;
  const size_t end = which + 1 < begins.size() ? begins[which + 1] - 1 : input->size();
  if (end <= body) return false;
  std::string part = input->substr(body, end - body);
  const bool is_safetensors = input->substr(0, body).ends_with(".safetensors\n");
  if (!is_safetensors || !MutateSafetensors(&part, random)) part = MutateJson(part, random);
  *input = input->substr(0, body) + part + input->substr(end);
  return true;
}

bool MutateAdapter(std::string* input, Random& random) {
  return input->starts_with("=== ") ? MutateFolder(input, random) : MutateGlint(input, random);
}

}  // namespace glint::fuzz
