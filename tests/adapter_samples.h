#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/convert/convert_adapter.h"
#include "lib/adapter.h"
#include "tests/convert_samples.h"
#include "tests/import_files.h"
#include "tests/model_samples.h"
#include "tests/plain_glm.h"

// Small adapters as others write them, and what they mean: a LoRA's merged weights, a prefix's
// rows.
namespace glint::test {

// Numbers in [-range, range], the same everywhere.
class SampleNumbers {
 public:
  explicit SampleNumbers(uint64_t seed) : state_(seed * 2 + 1) {}
  float Next(float range) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return range * (static_cast<float>(state_ >> 40) / static_cast<float>(1 << 23) - 1);
  }
  PlainTensor Tensor(std::vector<size_t> shape, float range, float middle = 0) {
    PlainTensor tensor{std::move(shape), {}};
    size_t n = 1;
    for (const size_t d : tensor.shape) n *= d;
    for (size_t i = 0; i < n; ++i) tensor.values.push_back(middle + Next(range));
    return tensor;
  }

 private:
  uint64_t state_;
};

inline void WriteTensors(const std::string& path, const TensorMap& tensors) {
  std::string header, data;
  for (const auto& [name, tensor] : tensors) {
    const std::string bytes = Floats(tensor.values);
    header += (header.empty() ? "{" : ",") + Entry(name, "F32", nlohmann::json(tensor.shape).dump(),
                                                   data.size(), data.size() + bytes.size());
    data += bytes;
  }
  WriteFile(path, Safetensors(header.empty() ? "{}" : header + "}", data));
}

// --- LoRA ---

struct LoraSample {
  nlohmann::json config = {
      {"peft_type", "LORA"},     {"task_type", "CAUSAL_LM"}, {"r", 4},
      {"lora_alpha", 6},         {"bias", "none"},           {"lora_dropout", 0.05},
      {"fan_in_fan_out", false}, {"inference_mode", true},   {"modules_to_save", nullptr},
      {"use_rslora", false}};
  TensorMap tensors;                     // by PEFT's names
  std::map<std::string, double> scales;  // by modules
};

inline std::string PeftName(const std::string& module, const char* half) {
  return "base_model.model." + module + ".lora_" + half + ".weight";
}

// Changes of every matrix whose name ends with one of `endings`, of rank r.
inline LoraSample MakeLora(const TensorMap& base, const std::vector<std::string>& endings, size_t r,
                           double alpha, uint64_t seed) {
  LoraSample lora;
  lora.config["r"] = r;
  lora.config["lora_alpha"] = alpha;
  SampleNumbers numbers(seed);
  for (const auto& [name, tensor] : base) {
    for (const std::string& ending : endings) {
      if (!name.ends_with(ending + ".weight") || tensor.shape.size() != 2) continue;
      const std::string module = name.substr(0, name.size() - 7);
      lora.tensors[PeftName(module, "A")] = numbers.Tensor({r, tensor.shape[1]}, 0.2f);
      lora.tensors[PeftName(module, "B")] = numbers.Tensor({tensor.shape[0], r}, 0.2f);
      lora.scales[module] = alpha / static_cast<double>(r);
    }
  }
  return lora;
}

inline std::string WriteLora(const LoraSample& lora) {
  const std::string folder = TempDir();
  WriteFile(folder + "/adapter_config.json", lora.config.dump(2));
  WriteTensors(folder + "/adapter_model.safetensors", lora.tensors);
  return folder;
}

// W + factor * scale * B A for every module, in double, rounded once.
inline TensorMap Merged(TensorMap base, const LoraSample& lora, double factor = 1) {
  for (const auto& [module, scale] : lora.scales) {
    PlainTensor& w = base.at(module + ".weight");
    const PlainTensor& a = lora.tensors.at(PeftName(module, "A"));
    const PlainTensor& b = lora.tensors.at(PeftName(module, "B"));
    const size_t r = a.shape[0], k = a.shape[1];
    for (size_t i = 0; i < w.shape[0]; ++i) {
      for (size_t j = 0; j < k; ++j) {
        double sum = 0;
        for (size_t s = 0; s < r; ++s) {
          sum +=
              static_cast<double>(b.values[i * r + s]) * static_cast<double>(a.values[s * k + j]);
        }
        w.values[i * k + j] =
            static_cast<float>(static_cast<double>(w.values[i * k + j]) + factor * scale * sum);
      }
    }
  }
  return base;
}

// --- prefixes ---

inline PlainPrefix MakePrefix(size_t length, size_t width, uint64_t seed) {
  SampleNumbers numbers(seed);
  return {length, numbers.Tensor({length, width}, 1.5f).values};
}

// THUDM's folder: the base's config.json with pre_seq_len, and the encoder alone.
inline std::string WritePrefix(nlohmann::json config, const PlainPrefix& prefix) {
  const std::string folder = TempDir();
  config["pre_seq_len"] = prefix.length;
  config["prefix_projection"] = false;
  WriteFile(folder + "/config.json", config.dump(2));
  WriteTensors(folder + "/model.safetensors",
               {{"transformer.prefix_encoder.embedding.weight",
                 {{prefix.length, prefix.rows.size() / prefix.length}, prefix.rows}}});
  return folder;
}

// --- ChatGLM-6B ---

inline SampleModel GlmSample() {
  SampleModel sample;
  sample.name = "glm1";
  sample.config = {
      {"model_type", "chatglm"},    {"hidden_size", 64},         {"num_layers", 2},
      {"num_attention_heads", 4},   {"inner_hidden_size", 160},  {"vocab_size", 120},
      {"max_sequence_length", 256}, {"layernorm_epsilon", 1e-5}, {"position_encoding_2d", true},
      {"mask_token_id", 110},       {"gmask_token_id", 111},     {"bos_token_id", 114},
      {"eos_token_id", 115},        {"pad_token_id", 3}};
  SampleNumbers numbers(77);
  const auto linear = [&](const std::string& name, size_t rows, size_t cols) {
    sample.tensors[name + ".weight"] = numbers.Tensor({rows, cols}, 0.3f);
    sample.tensors[name + ".bias"] = numbers.Tensor({rows}, 0.5f);
  };
  const auto norm = [&](const std::string& name) {
    sample.tensors[name + ".weight"] = numbers.Tensor({64}, 0.4f, 1);
    sample.tensors[name + ".bias"] = numbers.Tensor({64}, 0.3f);
  };
  sample.tensors["transformer.word_embeddings.weight"] = numbers.Tensor({120, 64}, 1);
  sample.tensors["lm_head.weight"] = numbers.Tensor({120, 64}, 0.5f);
  for (size_t i = 0; i < 2; ++i) {
    const std::string at = "transformer.layers." + std::to_string(i) + ".";
    norm(at + "input_layernorm");
    linear(at + "attention.query_key_value", 192, 64);
    linear(at + "attention.dense", 64, 64);
    norm(at + "post_attention_layernorm");
    linear(at + "mlp.dense_h_to_4h", 160, 64);
    linear(at + "mlp.dense_4h_to_h", 64, 160);
  }
  norm("transformer.final_layernorm");
  return sample;
}

inline std::vector<int32_t> GlmIds(size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(4 + i * 37 % 100));
  ids.insert(ids.end(), {111, 114, 9, 60});
  return ids;
}

// --- both ---

// The adapter of a folder, by way of a file.
inline std::unique_ptr<Adapter> ConvertAdapterAndOpen(const Model& model, const std::string& source,
                                                      std::optional<DType> type = {}) {
  AdapterConvertOptions options;
  options.source = source;
  options.base = &model.file();
  options.type = type;
  options.write.output = TempDir() + "/adapter.glint";
  ConvertAdapter(options);
  return Adapter::Open(model, options.write.output);
}

}  // namespace glint::test
