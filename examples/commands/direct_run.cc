// GGUF files and checkpoints that run without a file of ours.
#include <nlohmann/json.hpp>

#include "examples/commands/console.h"
#include "examples/commands/import_side.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "examples/commands/written.h"
#include "formats/convert/convert.h"
#include "formats/convert/model_cache.h"
#include "formats/import/input_file.h"
#include "lib/error.h"

namespace glint {
namespace {

ConvertOptions ConvertOptionsFor(const DirectRun& run) {
  ConvertOptions convert;
  convert.source = run.path;
  convert.write.threads = run.threads;
  convert.warn = [](const std::string& text) { Note(text); };
  convert.has_type = !run.type.empty();
  if (!convert.has_type) return convert;
  const std::string fault = CheckConvertType(run.type);
  if (!fault.empty()) throw UsageError("--type: " + fault);
  ParseDType(run.type, &convert.type);
  return convert;
}

// "MODEL: converted to int4, int8 (3.4 GiB) in memory in 5.1 s"
std::string Converted(const DirectRun& run, const Model& model, const char* where, double seconds) {
  return OneLine(run.path) + ": converted to " + OneLine(MetadataText(model.file(), "recipe")) +
         " (" + HumanBytes(model.file().bytes()) + ")" + where + Format(" in %.1f s", seconds);
}

std::unique_ptr<Model> OpenInMemory(const DirectRun& run, ConvertOptions convert) {
  std::shared_ptr<const OutputMemory> memory;
  const double seconds =
      RunWithProgress("converting", [&](std::function<void(double)> progress) {
        convert.write.progress = std::move(progress);
        memory = ConvertToMemory(convert);
      });
  std::unique_ptr<Model> model =
      Model::FromMemory(memory->data(), memory->bytes(), run.path, memory);
  const std::string type = run.type.empty() ? "" : " --type " + run.type;
  Note(Converted(run, *model, " in memory", seconds) + "; `glint convert " + OneLine(run.path) + type +
       " -o MODEL.glint` or --cache makes the next start instant");
  return model;
}

// Null if there is no such file, or this version cannot read it.
std::unique_ptr<Model> OpenCached(const std::string& path) {
  if (!FileExists(path)) return nullptr;
  try {
    return Model::Open(path);
  } catch (const Error& error) {
    Note(std::string(error.what()) + "; it is made again");
    return nullptr;
  }
}

std::unique_ptr<Model> OpenThroughCache(const DirectRun& run, ConvertOptions convert) {
  const std::string folder = CacheFolder();
  const std::string variant = run.type.empty() ? "default" : run.type;
  RunWithProgress("looking into the cache", [&](std::function<void(double)> progress) {
    convert.write.output = CachePath(folder, run.path, variant, run.threads, progress);
  });
  convert.write.overwrite = true;
  if (std::unique_ptr<Model> model = OpenCached(convert.write.output)) return model;
  const double seconds =
      RunWithProgress("converting", [&](std::function<void(double)> progress) {
        convert.write.progress = std::move(progress);
        Convert(convert);
      });
  std::unique_ptr<Model> model = Model::Open(convert.write.output);
  Note(Converted(run, *model, "", seconds) + " and kept as " + OneLine(convert.write.output));
  return model;
}

}  // namespace

std::unique_ptr<Model> OpenDirectly(const DirectRun& run) {
  ConvertOptions convert = ConvertOptionsFor(run);
  return run.cache ? OpenThroughCache(run, std::move(convert))
                   : OpenInMemory(run, std::move(convert));
}

std::unique_ptr<Model> OpenOutline(const DirectRun& run) {
  const std::shared_ptr<const OutputMemory> memory = OutlineInMemory(ConvertOptionsFor(run));
  return Model::FromMemory(memory->data(), memory->bytes(), run.path, memory);
}

}  // namespace glint
