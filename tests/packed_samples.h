#pragma once
#include <filesystem>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "quant/f16.h"
#include "tests/llama_samples.h"

// Small LLaMA checkpoints as AutoGPTQ and AutoAWQ write them, from random codes. Made element by
// element from the formats' rules (packed_format.h names their sources), not from the reader's code.
namespace glint::test {

struct PackedOptions {
  std::string method = "gptq";
  bool v2 = false;             // gptq: true zeros stored
  int group_size = 32;         // -1: all inputs
  bool symmetric = false;
  bool act_order = false;      // gptq
  bool shared_order = false;   // gate and up have the same
  bool pack_head = false;
  bool as_bin = false;
  std::string plain = "none";  // layers with this in their name stay floats
  // Lies: replaces the text of config.json's quantization_config, or the data of tensors by name.
  std::string config{};
  std::function<void(const std::string& name, std::string* type, std::string* shape,
                     std::string* data)> edit{};
};

// A folder, and the weights that its layers stand for: by the checkpoint's name, (rows, inputs).
struct PackedFolder {
  std::string path;
  std::map<std::string, std::vector<float>> weights;
};

class PackedWriter {
 public:
  PackedWriter(const LlamaShape& shape, const PackedOptions& options)
      : shape_(shape), o_(options) {}

  PackedFolder Write() {
    ForLlamaTensors(shape_, [&](const std::string& name, size_t rows, size_t cols) {
      const bool packed = (name.find("_proj.weight") != std::string::npos &&
                           name.find(o_.plain) == std::string::npos) ||
                          (o_.pack_head && name == "lm_head.weight");
      packed ? AddPacked(name, rows, cols) : AddFloats(name, rows, cols);
    });
    folder_.path = TempDir() + "/packed";
    std::filesystem::create_directory(folder_.path);
    WriteFile(folder_.path + "/config.json", LlamaConfig(shape_, Config()));
    if (o_.as_bin) {
      WriteFile(folder_.path + "/pytorch_model.bin", Torch(DictPickle(pickle_), storages_));
    } else {
      WriteFile(folder_.path + "/model.safetensors", Safetensors(header_ + "}", data_));
    }
    return folder_;
  }

 private:
  std::string Config() const {
    if (!o_.config.empty()) return o_.config;
    std::string text = ", \"quantization_config\": {\"quant_method\": \"" + o_.method +
                       "\", \"bits\": 4, \"group_size\": " + std::to_string(o_.group_size);
    if (o_.v2) text += ", \"checkpoint_format\": \"gptq_v2\"";
    if (o_.method == "awq") text += ", \"version\": \"GEMM\", \"zero_point\": true";
    return text + "}";
  }

  void Add(const std::string& name, std::string type, std::vector<size_t> sizes,
           std::string data) {
    std::string shape;
    for (const size_t n : sizes) shape += (shape.empty() ? "[" : ",") + std::to_string(n);
    shape += "]";
    if (o_.edit) o_.edit(name, &type, &shape, &data);
    if (type.empty()) return;
    header_ += (header_.empty() ? "{" : ",") +
               Entry(name, type, shape, data_.size(), data_.size() + data.size());
    data_ += data;
    if (!o_.as_bin) return;
    const std::map<std::string, std::string> kStorages = {
        {"I32", "IntStorage"}, {"F16", "HalfStorage"}, {"F32", "FloatStorage"}};
    const auto n = [&](size_t i) { return static_cast<int64_t>(sizes[i]); };
    const int64_t elements = sizes.size() == 1 ? n(0) : n(0) * n(1);
    pickle_ += Str(name) + Rebuild(Storage(kStorages.at(type), std::to_string(storages_.size()),
                                           elements), 0,
                                   sizes.size() == 1 ? Longs({n(0)}) : Longs({n(0), n(1)}),
                                   sizes.size() == 1 ? Longs({1}) : Longs({n(1), 1}));
    storages_.push_back(data);
  }

  void AddFloats(const std::string& name, size_t rows, size_t cols) {
    const bool norm = name.find("norm.weight") != std::string::npos;
    const std::vector<float> values = SomeFloats(++seed_, rows * std::max<size_t>(cols, 1),
                                                 norm ? 0.25f : 0.3f, norm ? 1.0f : 0);
    Add(name, "F32", cols == 0 ? std::vector<size_t>{rows} : std::vector<size_t>{rows, cols},
        Floats(values));
    folder_.weights[name] = values;
  }

  // The group of each input. Layers with one input have one order, gate and up but if asked for.
  std::vector<int> Groups(const std::string& name, size_t cols, size_t group) {
    std::vector<size_t> order(cols);
    std::iota(order.begin(), order.end(), size_t{0});
    std::string key = name;
    for (const char* word : {"q_proj", "k_proj", "v_proj"}) {
      if (name.find(word) != std::string::npos) key = name.substr(0, name.find(word));
    }
    if (o_.shared_order && name.find("up_proj") != std::string::npos) {
      key = name.substr(0, name.find("up_proj")) + "gate_proj.weight";
    }
    std::mt19937 random(Crc32(key));
    for (size_t i = cols; o_.act_order && i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    std::vector<int> groups(cols);
    for (size_t i = 0; i < cols; ++i) groups[order[i]] = static_cast<int>(i / group);
    return groups;
  }

  void AddPacked(const std::string& name, size_t rows, size_t cols) {
    const std::string layer = name.substr(0, name.size() - 7);
    const size_t group = o_.group_size < 0 ? cols : static_cast<size_t>(o_.group_size);
    const size_t n_groups = (cols + group - 1) / group;
    const std::vector<int> group_of = Groups(name, cols, group);
    const bool awq = o_.method == "awq";
    const int stored_less = awq || o_.v2 ? 0 : 1;
    std::vector<uint32_t> words((rows + 7) * (cols + 7) / 8), zero_words(n_groups * (rows + 7) / 8);
    std::vector<float> scales(n_groups * rows), values(rows * cols);
    std::vector<int> zeros(n_groups * rows);
    std::string scale_bytes, index;
    // Where in its word of eight outputs an output is.
    constexpr uint32_t kAwqPlace[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    const auto place = [&](size_t r) {
      return 4 * (awq ? kAwqPlace[r % 8] : static_cast<uint32_t>(r % 8));
    };
    for (size_t g = 0; g < n_groups; ++g) {
      for (size_t r = 0; r < rows; ++r) {
        const uint16_t half = F32ToF16(0.01f + 0.00003f * static_cast<float>(random_() % 1000));
        scale_bytes += U16(half);
        scales[g * rows + r] = F16ToF32(half);
        const int zero = o_.symmetric ? 8 : stored_less + static_cast<int>(random_() % 16);
        zeros[g * rows + r] = zero;
        zero_words[(g * rows + r) / 8] |= static_cast<uint32_t>(zero - stored_less) << place(r);
      }
    }
    for (size_t c = 0; c < cols; ++c) {
      const auto g = static_cast<size_t>(group_of[c]);
      index += U32(g);
      for (size_t r = 0; r < rows; ++r) {
        const uint32_t code = random_() % 16;
        if (awq) {
          words[(c * rows + r) / 8] |= code << place(r);
        } else {
          words[c / 8 * rows + r] |= code << 4 * (c % 8);
        }
        values[r * cols + c] =
            scales[g * rows + r] * static_cast<float>(static_cast<int>(code) - zeros[g * rows + r]);
      }
    }
    words.resize(awq ? cols * (rows / 8) : cols / 8 * rows);
    zero_words.resize(n_groups * (rows / 8));
    folder_.weights[name] = values;
    const auto bytes = [](const std::vector<uint32_t>& all) {
      return std::string(reinterpret_cast<const char*>(all.data()), 4 * all.size());
    };
    Add(layer + ".qweight", "I32", awq ? std::vector{cols, rows / 8} : std::vector{cols / 8, rows},
        bytes(words));
    Add(layer + ".qzeros", "I32", {n_groups, rows / 8}, bytes(zero_words));
    Add(layer + ".scales", "F16", {n_groups, rows}, scale_bytes);
    if (!awq) Add(layer + ".g_idx", "I32", {cols}, index);
    // Some tools add one where the model has none.
    if (!awq && !shape_.bias) Add(layer + ".bias", "F16", {rows}, std::string(2 * rows, '\0'));
  }

  LlamaShape shape_;
  PackedOptions o_;
  PackedFolder folder_;
  std::string header_, data_, pickle_;
  std::vector<std::string> storages_;
  std::mt19937 random_{7};
  uint64_t seed_ = 0;
};

}  // namespace glint::test
