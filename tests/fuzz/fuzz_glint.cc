// A .glint file: header, graph, tensors, tokenizer tables, prompt; then a short run of it. The
// checksum of the head is made right first (byte flips would not pass it), unless the file's last
// byte is odd.
#include <cstring>
#include <string>

#include "formats/checksum.h"
#include "formats/prefix.h"
#include "lib/error.h"
#include "lib/model.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {
namespace {

void MendChecksum(std::string* file) {
  uint64_t header = 0;
  if (file->size() < kPrefixBytes) return;
  std::memcpy(&header, file->data() + 16, sizeof header);
  if (header > file->size() - kPrefixBytes) return;
  const uint64_t head = RoundUp(kPrefixBytes + header, kDataAlignment);
  if (head > file->size()) return;
  std::memset(file->data() + kChecksumAt, 0, sizeof(uint64_t));
  const uint64_t checksum = ChecksumOf(file->data(), head);
  std::memcpy(file->data() + kChecksumAt, &checksum, sizeof checksum);
}

}  // namespace

void FuzzGlint(Input input) {
  std::string file(Text(input));
  if (!file.empty() && file.back() % 2 == 0) MendChecksum(&file);
  {
    const auto glint = GlintFile::FromMemory(file.data(), file.size(), "x.glint");
    for (const Tensor& tensor : glint->tensors()) {
      Require(tensor.bytes <= file.size(), "a tensor is within the file");
    }
    try {
      glint->Verify();
    } catch (const Error&) {  // a wrong checksum; all the same the model must open safely
    }
  }
  RunModel(*Model::FromMemory(file.data(), file.size(), "x.glint"));
}

}  // namespace glint::fuzz
