// Of a build without the import side (-Dimport=disabled).
#include "examples/commands/command.h"
#include "examples/commands/import_side.h"
#include "examples/commands/options.h"
#include "lib/error.h"

namespace glint {
namespace {

[[noreturn]] void Refuse(const std::string& what) {
  throw Error(what + ": this build has no importers (it was made with -Dimport=disabled)");
}

}  // namespace

void PrintCheckpoint(const std::string& path, bool) {
  Refuse(path);
}
void PrintGguf(const std::string& path, bool) {
  Refuse(path);
}
std::shared_ptr<const Tokenizer> ImportTokenizer(const std::string& path, const std::string&) {
  Refuse(path);
}
std::unique_ptr<Model> OpenDirectly(const DirectRun& run) {
  Refuse(run.path);
}
std::unique_ptr<Model> OpenOutline(const DirectRun& run) {
  Refuse(run.path);
}
std::unique_ptr<Adapter> ImportAdapter(const Model&, const std::string& path, size_t) {
  Refuse(path);
}
BaseModel ImportBase(const std::string& path) {
  Refuse(path);
}
void SynthesizeModel(const SynthRequest& request) {
  Refuse(request.shape);
}

RunCommand SetUpConvert(CLI::App& app) {
  app.allow_extras();
  return [] { Refuse("convert"); };
}

RunCommand SetUpSynth(CLI::App& app) {
  app.allow_extras();
  return [] { Refuse("synth"); };
}

}  // namespace glint
