// A .glint file: header, graph, tensors, tokenizer tables, prompt; then a short run of it. The
// checksum of the head is made right first (byte flips would not pass it), unless the file's last
// byte is odd.
#include <string>

#include "lib/error.h"
#include "lib/model.h"
#include "tests/fuzz/mend.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {
void FuzzGlint(Input input) {
  std::string file(Text(input));
  MendGlintChecksum(&file);
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
