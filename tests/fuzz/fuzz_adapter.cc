// An adapter: a .glint file of a prefix or a LoRA, whose checksum is made right first, or PEFT's or
// THUDM's files (folder_parts.h), converted in memory. Opened for the base that it names, and a
// sequence with it; then the base alone must be as if it had never been there.
#include <array>
#include <string>
#include <vector>

#include "lib/adapter.h"
#include "tests/fuzz/bases.h"
#include "tests/fuzz/folder_parts.h"
#include "tests/fuzz/mend.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {
namespace {

// A base in use: its session, and what that says of its prompt without adapters.
struct InUse {
  explicit InUse(const Model& model) : session(model, SmallSession()), prompt(PromptOf(model)) {
    plain = Run();
  }
  std::vector<float> Run() {
    Require(session.Start(prompt) == Status::kOk, "the base itself runs");
    return {session.logits().begin(), session.logits().end()};
  }
  Session session;
  std::vector<int32_t> prompt;
  std::vector<float> plain;
};

InUse& Use(Base base) {
  // Never destroyed: the models may be before it.
  static auto& all = *new std::array<std::unique_ptr<InUse>, kBases>;
  std::unique_ptr<InUse>& use = all[static_cast<size_t>(base)];
  if (!use) use = std::make_unique<InUse>(ModelOf(base));
  return *use;
}

void RunWith(const Adapter& adapter, InUse& use) {
  use.session.SetAdapters(std::vector<AdapterUse>{{&adapter, 1}});
  const Status status = use.session.Start(use.prompt);
  if (status == Status::kOk) use.session.Append(use.prompt.front());
  use.session.SetAdapters({});
  Require(use.Run() == use.plain, "an adapter that is gone changes no bit");
}

}  // namespace

void FuzzAdapter(Input input) {
  const Base base = BaseOf(Text(input));
  const Model& model = ModelOf(base);
  if (!Text(input).starts_with(kPartMark)) {
    std::string file(Text(input));
    MendGlintChecksum(&file);
    RunWith(*Adapter::FromMemory(model, file.data(), file.size(), "x.glint"), Use(base));
    return;
  }
  AdapterConvertOptions options;
  options.source = Folder() + "/adapter";
  WriteParts(Text(input), options.source);
  options.base = &model.file();
  options.write.threads = 1;
  const auto memory = ConvertAdapterToMemory(options);
  RunWith(*Adapter::FromMemory(model, memory->data(), memory->bytes(), "x", memory), Use(base));
}

}  // namespace glint::fuzz
