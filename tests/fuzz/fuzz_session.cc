// A saved session, restored: a byte of options (session_bytes.h), then the image, whose hashes of
// the model and its adapter and whose checksum are made right first. What was accepted must come
// out again as it went in, and the sequence goes on from it.
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/checksum.h"
#include "lib/error.h"
#include "lib/session_file.h"
#include "tests/fuzz/bases.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/session_bytes.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {
namespace {

Base BaseOfOptions(uint8_t options) {
  return static_cast<Base>((options >> 2 & 3) % kBases);
}

Session& SessionFor(uint8_t options) {
  // Never destroyed: the models may be before it.
  static auto& sessions = *new std::map<uint8_t, std::unique_ptr<Session>>;
  std::unique_ptr<Session>& session =
      sessions[static_cast<uint8_t>(options & ~(kSequenceBefore | kAsItIs))];
  if (session) return *session;
  const Base base = BaseOfOptions(options);
  SessionOptions wanted = SmallSession();
  wanted.kv = static_cast<KvType>((options & 3) % kKvTypes);
  if (options & kHiddenStates) wanted.output = SessionOutput::kHidden;
  session = std::make_unique<Session>(ModelOf(base), wanted);
  if (options & kWithAdapter) session->SetAdapters(std::vector<AdapterUse>{{&AdapterOf(base), 1}});
  return *session;
}

void Mend(const Session& session, std::string* image) {
  if (image->size() < kImageHeadBytes + kImageChecksumBytes) return;
  SetImageNumber(image, kModelHashAt, session.model().file().Hash());
  if (!session.adapters().empty() &&
      image->size() >= kImageHeadBytes + kAdapterRowBytes + kImageChecksumBytes) {
    SetImageNumber(image, kImageHeadBytes, session.adapters()[0].adapter->file().Hash());
  }
  const size_t end = image->size() - kImageChecksumBytes;
  SetImageNumber(image, end, ChecksumOf(image->data(), end));
}

// What is not finite is a status.
void RequireFinite(std::span<const float> row) {
  for (const float value : row) Require(std::isfinite(value), "outputs are finite");
}

// Tokens after the restored ones, some taken back, and a prompt that begins like them.
void GoOn(Session& session) {
  const size_t length = session.length();
  std::vector<int32_t> ids(session.ids().begin(), session.ids().end());
  if (session.Append(ids.front()) == Status::kOk) RequireFinite(session.logits());
  if (session.AppendBatch(std::vector<int32_t>{1, ids.back()}) == Status::kOk) {
    RequireFinite(session.BatchLogits(1));
    session.Truncate(session.length() - 1);
  }
  try {
    session.Truncate(std::max(session.prompt_length(), length - 1));
    session.Append(2);
  } catch (const Error&) {  // windows: what they would see is not there
  }
  ids.push_back(1);
  if (session.Start(ids) == Status::kOk) RequireFinite(session.logits());
}

}  // namespace

void FuzzSession(Input input) {
  Parts parts(input);
  const uint8_t options = parts.Byte();
  Session& session = SessionFor(options);
  session.Forget();
  const std::vector<int32_t> prompt = PromptOf(session.model());
  if (options & kSequenceBefore) Require(session.Start(prompt) == Status::kOk, "the base runs");
  std::string image(Text(parts.Rest()));
  if (!(options & kAsItIs)) Mend(session, &image);
  const std::vector<uint8_t> bytes(image.begin(), image.end());
  try {
    RestoreSession(session, bytes, "image");
  } catch (const Error&) {
    Require(session.length() == 0 && session.logits().empty(), "no sequence after an error");
    throw;
  }
  Require(SaveSession(session) == bytes, "what was restored is saved again as it was");
  GoOn(session);
}

}  // namespace glint::fuzz
