// LoRA as PEFT saves it (huggingface/peft, tuners/lora): of each changed module lora_A (r, in) and
// lora_B (out, r); the module's weight gains scale * lora_B . lora_A. Where a matrix of ours is
// made of rows of several of the checkpoint's, or of a part of one's rows, the change is that of
// these rows.
#include <algorithm>
#include <cmath>
#include <map>

#include "formats/convert/adapter_jobs.h"
#include "formats/convert/base_names.h"
#include "formats/convert/peft_config.h"
#include "formats/import/hf_folder.h"
#include "formats/import/input_file.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

struct Pair {
  const SourceTensor *a = nullptr, *b = nullptr;
};

// Takes the beginning or the end off a name, if it has it.
bool TakeBeginning(std::string* name, std::string_view beginning) {
  if (!name->starts_with(beginning)) return false;
  name->erase(0, beginning.size());
  return true;
}
bool TakeEnding(std::string* name, std::string_view ending) {
  if (!name->ends_with(ending)) return false;
  name->resize(name->size() - ending.size());
  return true;
}

// By the names of the base's modules.
std::map<std::string, Pair> PairsOf(const Checkpoint& checkpoint) {
  std::map<std::string, Pair> pairs;
  for (const SourceTensor& tensor : checkpoint.tensors()) {
    std::string module = tensor.name;
    TakeBeginning(&module, "base_model.model.");
    const bool is_a = TakeEnding(&module, ".lora_A.weight");
    if (!is_a && !TakeEnding(&module, ".lora_B.weight")) {
      throw Error(
          checkpoint.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
          " is not supported: expected names that end with .lora_A.weight or .lora_B.weight");
    }
    (is_a ? pairs[module].a : pairs[module].b) = &tensor;
  }
  for (const auto& [module, pair] : pairs) {
    if (pair.a && pair.b) continue;
    throw Error(checkpoint.path() + ": module " + Quoted(module) + " has no lora_" +
                (pair.a ? "B" : "A"));
  }
  if (pairs.empty()) throw Error(checkpoint.path() + ": there are no tensors");
  return pairs;
}

void ExpectShape(const Checkpoint& checkpoint, const SourceTensor& tensor, uint64_t rows,
                 uint64_t cols) {
  const std::vector<uint64_t> shape = {rows, cols};
  if (tensor.shape == shape) return;
  throw Error(checkpoint.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
              ": expected shape " + ShapeText(shape) + ", found " + ShapeText(tensor.shape));
}

// Rows [first, ...) of a tensor, with `zeros` rows of zeros before them.
ReadRows RowsFrom(const std::shared_ptr<const Checkpoint>& checkpoint, const SourceTensor& tensor,
                  uint64_t first, uint64_t zeros) {
  return [checkpoint, &tensor, first, zeros](uint64_t row, uint64_t n, float* out) {
    const uint64_t cols = tensor.shape[1];
    const uint64_t blank = row >= zeros ? 0 : std::min(n, zeros - row);
    std::fill(out, out + blank * cols, 0.0f);
    const uint64_t from = first + row + blank - zeros;
    if (n != blank)
      checkpoint->ReadF32(tensor, from * cols, (n - blank) * cols, out + blank * cols);
  };
}

class LoraWriter {
 public:
  explicit LoraWriter(const AdapterConvertOptions& options)
      : options_(options),
        config_(ReadJsonFile(JoinPath(options.source, kPeftConfig)),
                JoinPath(options.source, kPeftConfig)),
        checkpoint_(OpenWeights(options.source)) {}

  AdapterJobs Take() {
    made_.header = AdapterHeader("lora", options_.source, *options_.base->header().config);
    const auto matrices = MatricesOf(*options_.base);
    for (const auto& [module, pair] : PairsOf(*checkpoint_)) {
      const auto found = matrices.find(module);
      if (found == matrices.end()) {
        throw Error(checkpoint_->FileName(*pair.a) + ": tensor " + Quoted(pair.a->name) + ": " +
                    options_.base->path() + " has no matrix " + Quoted(module));
      }
      Add(module, pair, found->second);
    }
    // In the order in which the parts of a matrix lie.
    std::stable_sort(targets_.begin(), targets_.end(), [](const Json& x, const Json& y) {
      return x["weight"] != y["weight"] ? x["weight"] < y["weight"]
                                        : x["first_row"] < y["first_row"];
    });
    (*made_.header.config)["targets"] = targets_;
    made_.owner = checkpoint_;
    return std::move(made_);
  }

 private:
  static std::shared_ptr<const Checkpoint> OpenWeights(const std::string& folder) {
    for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"}) {
      const std::string path = JoinPath(folder, name);
      if (FileExists(path)) return Checkpoint::Open(path);
    }
    throw Error(folder + ": has neither adapter_model.safetensors nor adapter_model.bin");
  }

  void Add(const std::string& module, const Pair& pair, const std::vector<MatrixPart>& parts) {
    const uint64_t rank = config_.Rank(module);
    ExpectShape(*checkpoint_, *pair.a, rank, parts[0].cols);
    ExpectShape(*checkpoint_, *pair.b, parts[0].source_rows, rank);
    const std::string a = module + ".lora_A";
    AddMatrix(a, *pair.a, 0, rank, 0);
    for (size_t i = 0; i < parts.size(); ++i) {
      const MatrixPart& part = parts[i];
      const uint64_t zeros = part.first_row % kTileRows;
      const std::string b = module + ".lora_B" + (parts.size() == 1 ? "" : "." + std::to_string(i));
      AddMatrix(b, *pair.b, part.source_row, part.rows, zeros);
      targets_.push_back({{"weight", part.weight},
                          {"first_row", part.first_row - zeros},
                          {"scale", config_.Scale(module)},
                          {"a", a},
                          {"b", b}});
    }
  }

  void AddMatrix(const std::string& name, const SourceTensor& tensor, uint64_t first, uint64_t rows,
                 uint64_t zeros) {
    const DType type = AdapterType(*checkpoint_, tensor, options_.type);
    TensorJob job{{name, type, BlockOffset::kNone, {zeros + rows, tensor.shape[1]}, ""}};
    job.fill = FillFromRows(RowsFrom(checkpoint_, tensor, first, zeros), {},
                            checkpoint_->FileName(tensor) + ": tensor " + Quoted(tensor.name));
    made_.jobs.push_back(std::move(job));
  }

  const AdapterConvertOptions& options_;
  const PeftConfig config_;
  const std::shared_ptr<const Checkpoint> checkpoint_;
  AdapterJobs made_;
  std::vector<Json> targets_;
};

}  // namespace

AdapterJobs LoraJobs(const AdapterConvertOptions& options) {
  if (!options.base) {
    throw Error(options.source +
                ": a LoRA needs the model that it is for (--base MODEL), which says what "
                "its tensors are called");
  }
  return LoraWriter(options).Take();
}

}  // namespace glint
