// Adapters that do not fit, and files that lie: each is one clear Error that names file and place.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "formats/convert/source_model.h"
#include "lib/error.h"
#include "lib/session.h"
#include "tests/adapter_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

// What `fn` says as it fails; empty if it does not.
template <class Fn>
std::string Failure(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void CheckSays(const std::string& message, const std::string& path, const std::string& what) {
  CAPTURE(message);
  CAPTURE(what);
  CHECK(message.starts_with(path));
  CHECK(message.find(what) != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}

struct Fixture {
  SampleModel sample = SampleOf("llama");
  std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kInt4, false);
  LoraSample lora = MakeLora(sample.tensors, {"q_proj", "k_proj", "v_proj", "down_proj"}, 4, 6, 1);
};
const Fixture& Llama() {
  static const Fixture fixture;
  return fixture;
}

// A file of ours taken apart and written anew with a change.
using Edit = std::function<void(nlohmann::json& metadata, nlohmann::json& config,
                                std::vector<TensorJob>& jobs)>;
std::string Rewritten(const GlintFile& file, const Edit& edit) {
  ModelHeader header = file.header();
  std::vector<TensorJob> jobs;
  for (const Tensor& tensor : file.tensors()) {
    TensorJob job{{tensor.name, tensor.dtype, BlockOffset::kNone, tensor.shape, ""}};
    if (tensor.IsMatrix()) {
      job.fill = FillFromMatrix(ViewOf(tensor));
    } else {
      job.bytes.assign(tensor.data, tensor.data + tensor.bytes);
    }
    jobs.push_back(std::move(job));
  }
  edit(*header.metadata, *header.config, jobs);
  WriteOptions write;
  write.output = TempDir() + "/changed.glint";
  WriteModel(header, std::move(jobs), write);
  return write.output;
}

// Rows of these values.
FillTiles Filled(const std::vector<float>& row) {
  return FillFromRows(
      [row](uint64_t, uint64_t n, float* out) {
        for (uint64_t i = 0; i < n; ++i) out = std::copy(row.begin(), row.end(), out);
      },
      {}, "test");
}

void CheckEdit(const Model& model, const GlintFile& file, const std::string& what,
               const Edit& edit) {
  const std::string path = Rewritten(file, edit);
  CheckSays(Failure([&] { Adapter::Open(model, path); }), path, what);
}

}  // namespace

TEST_CASE("PEFT's options and tensors that would mean another computation are refused by name") {
  const Fixture& f = Llama();
  const std::string module = "model.layers.0.self_attn.q_proj";
  struct Row {
    std::string what;
    std::function<void(LoraSample&)> change;
  };
  const auto option = [](const char* key, nlohmann::json value) {
    return [=](LoraSample& lora) { lora.config[key] = value; };
  };
  const Row rows[] = {
      {"'peft_type': expected \"LORA\", found 'IA3'", option("peft_type", "IA3")},
      {"'bias'", option("bias", "all")},
      {"'use_dora'", option("use_dora", true)},
      {"'modules_to_save'", option("modules_to_save", {"lm_head"})},
      {"'init_lora_weights': 'pissa_niter_4'", option("init_lora_weights", "pissa_niter_4")},
      {"option 'layer_replication' is not supported", option("layer_replication", {{0, 2}})},
      {"option 'lora_bias' is not supported", option("lora_bias", true)},
      {"'r'", option("r", 0)},
      {"'r'", option("r", "four")},
      {"'lora_alpha'", option("lora_alpha", nullptr)},
      {"expected shape (1000000, 172), found (4, 172)", option("r", 1000000)},
      {"'rank_pattern': expected names of modules, found the pattern '.*q_proj'",
       option("rank_pattern", {{".*q_proj", 4}})},
      {"'rank_pattern': expected whole numbers", option("rank_pattern", {{"q_proj", -4}})},
      {"expected shape (8, 64), found (4, 64)", option("rank_pattern", {{"q_proj", 8}})},
      {"lm_head.weight' is not supported",
       [](LoraSample& l) {
         l.tensors["base_model.model.lm_head.weight"] = {{4, 64}, std::vector<float>(256)};
       }},
      {"lora_embedding_A' is not supported",
       [](LoraSample& l) {
         l.tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = {
             {4, 2}, std::vector<float>(8)};
       }},
      {"lora_magnitude_vector' is not supported",
       [&](LoraSample& l) {
         l.tensors["base_model.model." + module + ".lora_magnitude_vector"] = {
             {4}, std::vector<float>(4)};
       }},
      {"has no lora_B", [&](LoraSample& l) { l.tensors.erase(PeftName(module, "B")); }},
      {"has no matrix 'model.layers.0.self_attn.x_proj'",
       [&](LoraSample& l) {
         l.tensors[PeftName("model.layers.0.self_attn.x_proj", "A")] =
             l.tensors[PeftName(module, "A")];
         l.tensors[PeftName("model.layers.0.self_attn.x_proj", "B")] =
             l.tensors[PeftName(module, "B")];
       }},
      {"has no matrix 'model.layers.2.self_attn.q_proj'",
       [&](LoraSample& l) {
         l.tensors[PeftName("model.layers.2.self_attn.q_proj", "A")] =
             l.tensors[PeftName(module, "A")];
         l.tensors[PeftName("model.layers.2.self_attn.q_proj", "B")] =
             l.tensors[PeftName(module, "B")];
       }},
      {"expected shape (64, 4), found (65, 4)",
       [&](LoraSample& l) {
         l.tensors[PeftName(module, "B")] = {{65, 4}, std::vector<float>(260)};
       }},
      {"expected shape (4, 64), found (4, 8, 8)",
       [&](LoraSample& l) {
         l.tensors[PeftName(module, "A")].shape = {4, 8, 8};
       }},
      {"nan", [&](LoraSample& l) { l.tensors[PeftName(module, "A")].values[77] = NAN; }},
      {"there are no tensors", [](LoraSample& l) { l.tensors.clear(); }},
  };
  for (const Row& row : rows) {
    LoraSample lora = f.lora;
    row.change(lora);
    const std::string folder = WriteLora(lora);
    AdapterConvertOptions options;
    options.source = folder;
    options.base = &f.model->file();
    options.write.output = TempDir() + "/lora.glint";
    CheckSays(Failure([&] { ConvertAdapter(options); }), folder, row.what);
    CHECK(!std::filesystem::exists(options.write.output));
  }
  // fan_in_fan_out speaks of the base's weight alone, whose place is known.
  LoraSample turned = f.lora;
  turned.config["fan_in_fan_out"] = true;
  CHECK(ConvertAdapterAndOpen(*f.model, WriteLora(turned)));
}

TEST_CASE("THUDM's folders that are no prefix of their config.json") {
  const SampleModel sample = SampleOf("chatglm");
  const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), DType::kInt4, false);
  const PlainPrefix prefix = MakePrefix(6, 128, 1);
  const auto fails = [&](const std::string& folder, const std::string& what) {
    CheckSays(Failure([&] { ConvertAdapterAndOpen(*model, folder); }), folder, what);
  };
  const auto write = [&](const nlohmann::json& config, const TensorMap& tensors) {
    const std::string folder = TempDir();
    WriteFile(folder + "/config.json", config.dump());
    WriteTensors(folder + "/model.safetensors", tensors);
    return folder;
  };
  const std::string name = "transformer.prefix_encoder.embedding.weight";
  nlohmann::json config = sample.config;
  config["pre_seq_len"] = 6;
  const PlainTensor good = {{6, 128}, prefix.rows};
  CHECK(ConvertAdapterAndOpen(*model, write(config, {{name, good}})));
  config["pre_seq_len"] = 7;
  fails(write(config, {{name, good}}), "expected a prefix of 7 entries (pre_seq_len)");
  config["pre_seq_len"] = 6;
  fails(write(config, {{name, {{12, 64}, prefix.rows}}}),
        "2 layers * 2 * 32 = 128 numbers, found 12 of 64");
  fails(write(config, {{name, {{6, 16, 8}, prefix.rows}}}), "expected a matrix");
  fails(write(config, {{name, good}, {"transformer.prefix_encoder.trans.0.weight", good}}),
        "is not part of a prefix without prefix_projection");
  fails(write(config, {{"transformer.prefix_encoder.other", good}}),
        "embedding.weight' is missing");
  PlainTensor bad = good;
  bad.values[130] = INFINITY;
  fails(write(config, {{name, bad}}), "is not finite");
  config["prefix_projection"] = true;
  fails(write(config, {{name, good}}), "trans.0.weight' is missing");
  // With the base beside it, it is a model, which is refused as such.
  TensorMap both = sample.tensors;
  both[name] = good;
  const std::string folder = write(config, both);
  CHECK(AdapterSourceOf(folder) == AdapterSource::kNone);
  CheckSays(Failure([&] { ConvertAndOpen(folder, DType::kInt4); }), folder, "'pre_seq_len'");
}

TEST_CASE("an adapter goes with the model that it is for, and with no other") {
  const Fixture& f = Llama();
  const auto lora = ConvertAdapterAndOpen(*f.model, WriteLora(f.lora));
  const std::string path = lora->file().path();
  for (const char* other : {"qwen2", "mistral"}) {
    const auto model = ConvertAndOpen(WriteFolder(SampleOf(other)), DType::kInt4, false);
    CheckSays(Failure([&] { Adapter::Open(*model, path); }), path,
              "was made for a model with architecture 'llama'; ");
  }
  SampleModel small = SampleOf("llama");
  small.config["num_hidden_layers"] = 1;
  std::erase_if(small.tensors,
                [](const auto& t) { return t.first.find("layers.1.") != std::string::npos; });
  const auto shallow = ConvertAndOpen(WriteFolder(small), DType::kInt4, false);
  CheckSays(Failure([&] { Adapter::Open(*shallow, path); }), path, "with n_layers 2; ");
  // Models and adapters are not each other.
  CheckSays(Failure([&] { Model::Open(path); }), path, "is a LoRA");
  const std::string model_path = f.model->file().path();
  CheckSays(Failure([&] { Adapter::Open(*f.model, model_path); }), model_path,
            "is a model, not an adapter");

  const SampleModel glm = SampleOf("chatglm");
  const auto chatglm = ConvertAndOpen(WriteFolder(glm), DType::kInt4, false);
  const auto prefix =
      ConvertAdapterAndOpen(*chatglm, WritePrefix(glm.config, MakePrefix(6, 128, 1)));
  CheckSays(Failure([&] { Model::Open(prefix->file().path()); }), prefix->file().path(),
            "P-Tuning prefix");
  CheckSays(Failure([&] { Adapter::Open(*f.model, prefix->file().path()); }), prefix->file().path(),
            "architecture 'chatglm2'");

  Session session(*f.model, {});
  const auto set = [&](std::vector<AdapterUse> uses) {
    return Failure([&] { session.SetAdapters(uses); });
  };
  CheckSays(set({{nullptr}}), "", "null");
  CheckSays(set({{prefix.get()}}), prefix->file().path(), "was opened for another model");
  CheckSays(set({{lora.get(), NAN}}), path, "not finite");
  CheckSays(set({{lora.get(), 3e38f}}), path, "too large");
  Session glm_session(*chatglm, {});
  const auto set_glm = [&](std::vector<AdapterUse> uses) {
    return Failure([&] { glm_session.SetAdapters(uses); });
  };
  CheckSays(set_glm({{prefix.get(), 0.5f}}), prefix->file().path(), "no scale but 1");
  CheckSays(set_glm({{prefix.get()}, {prefix.get()}}), prefix->file().path(), "one prefix at most");
}

TEST_CASE("a prefix needs layers without windows; experts have no adapters") {
  const SampleModel glm = SampleOf("chatglm");
  const auto chatglm = ConvertAndOpen(WriteFolder(glm), DType::kInt4, false);
  const auto prefix =
      ConvertAdapterAndOpen(*chatglm, WritePrefix(glm.config, MakePrefix(6, 128, 1)));
  const SampleModel windowed = SampleOf("mistral");
  const auto mistral = ConvertAndOpen(WriteFolder(windowed), DType::kInt4, false);
  CheckEdit(*mistral, prefix->file(), "has a window", [&](auto&, nlohmann::json& config, auto&) {
    config["architecture"] = "mistral";
    for (const char* key : {"dim", "n_layers", "n_heads", "n_kv_heads", "head_dim"}) {
      config[key] = (*mistral->file().header().config)[key];
    }
  });
  const SampleModel mixtral = SampleOf("mixtral");
  const auto experts = ConvertAndOpen(WriteFolder(mixtral), DType::kInt4, false);
  const std::string folder =
      WriteLora(MakeLora(mixtral.tensors, {"experts.0.w1", "experts.1.w1"}, 4, 6, 1));
  CHECK(Failure([&] {
          ConvertAdapterAndOpen(*experts, folder);
        }).find("experts are not supported") != std::string::npos);
}

TEST_CASE("a model that does not say what its recipe folded into its norms takes no LoRA") {
  const Fixture& f = Llama();
  const auto lora = ConvertAdapterAndOpen(*f.model, WriteLora(f.lora));
  const auto with_recipe = [&](bool says) {
    return Rewritten(f.model->file(), [=](nlohmann::json& metadata, auto&, auto&) {
      metadata["recipe"] = "int4; balanced";
      if (says) metadata["folded"] = 0;
    });
  };
  const std::string silent = with_recipe(false);
  const auto model = Model::Open(silent);
  CheckSays(Failure([&] { Adapter::Open(*model, lora->file().path()); }), silent,
            "convert it anew");
  CHECK(Adapter::Open(*Model::Open(with_recipe(true)), lora->file().path()));
}

TEST_CASE("adapter files that lie") {
  const Fixture& f = Llama();
  const auto lora = ConvertAdapterAndOpen(*f.model, WriteLora(f.lora));
  using Json = nlohmann::json;
  const auto check = [&](const std::string& what, const Edit& edit) {
    CheckEdit(*f.model, lora->file(), what, edit);
  };
  const auto target = [&](const std::string& what, const std::function<void(Json&)>& change) {
    check(what, [&](Json&, Json& config, auto&) { change(config["targets"][1]); });
  };
  check("unknown kind 'dora'", [](Json& m, Json&, auto&) { m["kind"] = "dora"; });
  check("'kind'", [](Json& m, Json&, auto&) { m["kind"] = 3; });
  check("'prefix_length'", [](Json& m, Json&, auto&) { m["kind"] = "prefix"; });
  check("'architecture'", [](Json&, Json& c, auto&) { c.erase("architecture"); });
  check("'targets'", [](Json&, Json& c, auto&) { c.erase("targets"); });
  check("expected at least one", [](Json&, Json& c, auto&) { c["targets"] = Json::array(); });
  check("expected an object", [](Json&, Json& c, auto&) { c["targets"][0] = 3; });
  check("belongs to no target", [](Json&, Json& c, auto&) { c["targets"].erase(0); });
  check("changed twice",
        [](Json&, Json& c, auto&) { c["targets"].push_back(c["targets"].back()); });
  target("unknown option 'bias'", [](Json& t) { t["bias"] = 1; });
  target("has no linear op", [](Json& t) { t["weight"] = "layer.0.attn_norm.weight"; });
  target("has no linear op", [](Json& t) { t["weight"] = "embedding"; });
  target("'first_row': expected a multiple of 16", [](Json& t) { t["first_row"] = 8; });
  target("'first_row'", [](Json& t) { t["first_row"] = 1 << 20; });
  target("'first_row'", [](Json& t) { t["first_row"] = -16; });
  target("'scale': expected a finite number", [](Json& t) { t["scale"] = 1e300; });
  target("'scale'", [](Json& t) { t.erase("scale"); });
  target("is missing", [](Json& t) { t["a"] = "none"; });
  const uint64_t rows = f.model->file().Find("layer.1.qkv.weight")->shape[0];
  check("expected shape (at most 16, 4), found (", [=](Json&, Json& c, auto&) {
    c["targets"].back()["first_row"] = rows / 16 * 16 - (rows % 16 == 0 ? 16 : 0);
  });
  check("r at most 4096", [](Json&, Json& c, std::vector<TensorJob>& jobs) {
    for (TensorJob& job : jobs) {
      if (job.plan.name != c["targets"][0]["a"]) continue;
      job.plan.shape[0] = 5000;
      job.fill = Filled(std::vector<float>(job.plan.shape[1], 1.0f));
    }
  });
  check("expected f32, f16 or bf16, found int8", [](Json&, Json& c, std::vector<TensorJob>& jobs) {
    for (TensorJob& job : jobs) {
      if (job.plan.name != c["targets"][0]["a"]) continue;
      job.plan.dtype = DType::kInt8;
      job.fill = Filled(std::vector<float>(job.plan.shape[1], 1.0f));
    }
  });
  check("is not finite", [](Json&, Json& c, std::vector<TensorJob>& jobs) {
    for (TensorJob& job : jobs) {
      if (job.plan.name != c["targets"][0]["b"]) continue;
      job.fill = [](const MatrixLayout&, uint64_t, uint64_t, TilePlanes planes) {
        const float nan = std::numeric_limits<float>::quiet_NaN();
        std::memcpy(planes.codes, &nan, sizeof nan);
      };
    }
  });
}

TEST_CASE("a file cut anywhere is refused") {
  const Fixture& f = Llama();
  const auto lora = ConvertAdapterAndOpen(*f.model, WriteLora(f.lora));
  const std::string whole = ReadFile(lora->file().path());
  const std::string path = TempDir() + "/cut.glint";
  for (size_t i = 0; i < 40; ++i) {
    WriteFile(path, whole.substr(0, whole.size() * i / 40));
    CheckSays(Failure([&] { Adapter::Open(*f.model, path); }), path, "");
  }
  for (size_t i = 0; i < 40; ++i) {
    std::string changed = whole;
    changed[4096 * i / 40] ^= 0x10;
    WriteFile(path, changed);
    CHECK(Failure([&] { Adapter::Open(*f.model, path); }) != "");
  }
}

TEST_CASE("a mapped adapter that somebody changes is an error of the next call") {
  const auto check = [](const Model& model, const std::string& source, const std::vector<int32_t>& ids) {
    const auto adapter = ConvertAdapterAndOpen(model, source);
    const std::string& path = adapter->file().path();
    SessionOptions options;
    options.context = 32;
    Session used(model, options), fresh(model, options);
    const AdapterUse use{adapter.get()};
    used.SetAdapters({&use, 1});
    REQUIRE(used.Start(ids) == Status::kOk);
    const auto append = [&](size_t, size_t, const float*, size_t) {
      std::ofstream(path, std::ios::app) << "more";
    };
    const OutputSink sink(append);  // runs within the call
    CHECK(used.Start(ids, &sink) == Status::kFileChanged);
    CHECK(used.logits().empty());
#if !defined(_WIN32)  // which lets nobody cut a mapped file
    std::filesystem::resize_file(path, 4096);
    CHECK(used.Start(ids) == Status::kFileChanged);
#endif
    CheckSays(Failure([&] { fresh.SetAdapters({&use, 1}); }), path, "the file changed");
    used.SetAdapters({});
    CHECK(used.Start(ids) == Status::kOk);
  };
  const SampleModel glm = GlmSample();
  check(*ConvertAndOpen(WriteFolder(glm), DType::kInt4, false),
        WritePrefix(glm.config, MakePrefix(5, 256, 3)), GlmIds(3));
  check(*Llama().model, WriteLora(Llama().lora), {4, 9, 17});
}
