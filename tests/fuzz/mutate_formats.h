#pragma once
#include <string>

#include "tests/fuzz/mutate.h"

// Changes of whole files. False: it is none, or libFuzzer's own change shall have its turn; then
// the file is as it was.
namespace glint::fuzz {

// A .glint file: one value of the header's JSON, or bytes of the tensors; length, padding and
// checksum right.
bool MutateGlint(std::string* file, Random& random);
// A safetensors file: its JSON header, the length before it right.
bool MutateSafetensors(std::string* file, Random& random);
// An input that is a folder (folder_parts.h): one of its files.
bool MutateFolder(std::string* input, Random& random);
// An adapter: a .glint file or a folder.
bool MutateAdapter(std::string* input, Random& random);
// A saved session (session_bytes.h): options, numbers of its head, ids, or so many tokens more or
// less, the size right.
bool MutateSession(std::string* input, Random& random);

}  // namespace glint::fuzz
