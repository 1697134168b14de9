// GPTQ and AWQ checkpoints: every weight bit for bit, the models made of them, and what is refused.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "formats/convert/packed_matrix.h"
#include "lib/error.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/packed_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

// llama-tiny-gqa's.
LlamaShape TinyShape() {
  LlamaShape shape;
  shape.hidden_dim = 176;
  shape.n_layers = 3;
  return shape;
}

std::unique_ptr<Model> ConvertAsItIs(const std::string& source) {
  ConvertOptions options;
  options.source = source;
  options.write.output = TempDir() + "/model.glint";
  Convert(options);
  return Model::Open(options.write.output);
}

// The matrices of a layer, and which of the checkpoint's they are made of.
const std::map<std::string, std::vector<std::string>> kMatrices = {
    {"qkv", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
    {"attn_out", {"self_attn.o_proj"}},
    {"ffn_gate", {"mlp.gate_proj"}},
    {"ffn_up", {"mlp.up_proj"}},
    {"ffn_down", {"mlp.down_proj"}}};

// All rows of a matrix with its columns in the checkpoint's order.
std::vector<float> InInputOrder(const Model& model, const std::string& name) {
  const Tensor* tensor = model.file().Find(name);
  REQUIRE(tensor);
  const MatrixView view = ViewOf(*tensor);
  const Tensor* columns = model.file().Find(name + ".columns");
  const uint64_t cols = view.layout.cols;
  std::vector<float> row(cols), all(view.layout.rows * cols);
  for (uint64_t r = 0; r < view.layout.rows; ++r) {
    DecodeRow(view, r, row.data());
    for (uint64_t c = 0; c < cols; ++c) {
      const uint64_t input = columns ? static_cast<uint64_t>(columns->As<int32_t>()[c]) : c;
      all[r * cols + input] = row[c];
    }
  }
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Whether every packed layer decodes to the checkpoint's own numbers, bit for bit.
void CheckWeights(const Model& model, const PackedFolder& folder, size_t n_layers, DType type,
                  BlockOffset offset) {
  for (size_t layer = 0; layer < n_layers; ++layer) {
    for (const auto& [ours, sources] : kMatrices) {
      const std::string name = "layer." + std::to_string(layer) + "." + ours + ".weight";
      CAPTURE(name);
      std::vector<float> want;
      for (const std::string& source : sources) {
        const std::vector<float>& part =
            folder.weights.at("model.layers." + std::to_string(layer) + "." + source + ".weight");
        want.insert(want.end(), part.begin(), part.end());
      }
      CHECK(SameBits(InInputOrder(model, name), want));
      CHECK(model.file().Find(name)->dtype == type);
      CHECK(model.file().Find(name)->offset == offset);
    }
  }
}

// The same model with the layers' weights in floats.
std::string FloatFolder(const LlamaShape& shape, const PackedFolder& folder) {
  std::string header, data;
  ForLlamaTensors(shape, [&](const std::string& name, size_t rows, size_t cols) {
    const std::vector<float>& values = folder.weights.at(name);
    const std::string sizes = std::to_string(rows) + (cols == 0 ? "" : "," + std::to_string(cols));
    header += (header.empty() ? "{" : ",") +
              Entry(name, "F32", "[" + sizes + "]", data.size(), data.size() + 4 * values.size());
    data += Floats(values);
  });
  const std::string path = TempDir() + "/floats";
  std::filesystem::create_directory(path);
  WriteFile(path + "/config.json", LlamaConfig(shape));
  WriteFile(path + "/model.safetensors", Safetensors(header + "}", data));
  return path;
}

const std::vector<int32_t> kPrompt = {1, 40, 17, 5, 90, 33, 33, 2, 71, 64, 8, 19, 80};

std::vector<float> AllLogits(Session& session, std::span<const int32_t> ids) {
  std::vector<float> all;
  const size_t width = session.model().n_outputs();
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i) all.insert(all.end(), rows + i * stride, rows + i * stride + width);
  };
  const OutputSink sink(collect);
  REQUIRE(session.Start(ids, &sink) == Status::kOk);
  return all;
}

std::vector<float> Logits(const Model& model) {
  SessionOptions options;
  options.kv = KvType::kF32;
  options.threads = 1;
  Session session(model, options);
  return AllLogits(session, kPrompt);
}

// Root of the mean square of a - b over that of b.
double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(double{a[i]} - double{b[i]}, 2);
    size += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(error / size);
}

// Converts the packed checkpoint as it is and to f32; both must be the same model in floats.
void CheckModels(const LlamaShape& shape, const PackedOptions& options) {
  CAPTURE(options.method);
  CAPTURE(options.v2);
  CAPTURE(options.group_size);
  CAPTURE(options.symmetric);
  CAPTURE(options.act_order);
  const PackedFolder folder = PackedWriter(shape, options).Write();
  const std::unique_ptr<Model> packed = ConvertAsItIs(folder.path);
  CheckWeights(*packed, folder, shape.n_layers, DType::kInt4a,
               options.symmetric ? BlockOffset::kNone : BlockOffset::kZero);
  const std::unique_ptr<Model> f32 = ConvertAndOpen(folder.path, DType::kF32);
  CheckWeights(*f32, folder, shape.n_layers, DType::kF32, BlockOffset::kNone);
  const std::vector<float> want = Logits(*ConvertAndOpen(FloatFolder(shape, folder), DType::kF32));
  // Sums in another order are rounded otherwise.
  const double error = RelativeError(Logits(*f32), want);
  CHECK(error <= (options.act_order ? 1e-5 : 0.0));
  // Activations of 8 bits; 0.02 to 0.05 has been seen, as for int8 of the same model.
  CHECK(RelativeError(Logits(*packed), want) < 0.08);
}

}  // namespace

TEST_CASE("GPTQ: weights bit for bit, and the logits of the model in floats") {
  for (const bool v2 : {false, true}) {
    for (const int group : {32, 128, -1}) {
      for (const bool symmetric : {false, true}) {
        PackedOptions options;
        options.v2 = v2;
        options.group_size = group;
        options.symmetric = symmetric;
        CheckModels(TinyShape(), options);
      }
    }
  }
}

TEST_CASE("AWQ: weights bit for bit, and the logits of the model in floats") {
  LlamaShape shape = TinyShape();
  shape.hidden_dim = 192;
  for (const int group : {32, 128, -1}) {
    for (const bool symmetric : {false, true}) {
      PackedOptions options;
      options.method = "awq";
      options.group_size = group;
      options.symmetric = symmetric;
      if (group == 128) {
        shape.dim = 128;
        shape.hidden_dim = 256;
      }
      CheckModels(shape, options);
    }
  }
}

TEST_CASE("GPTQ in act-order: columns sorted by group, activations gathered") {
  for (const int group : {32, 64}) {
    for (const bool symmetric : {false, true}) {
      PackedOptions options;
      options.act_order = true;
      options.group_size = group;
      options.symmetric = symmetric;
      LlamaShape shape = TinyShape();
      shape.bias = symmetric;
      CheckModels(shape, options);
    }
  }
}

TEST_CASE("one gather for all linears of one order") {
  PackedOptions options;
  options.act_order = true;
  const auto count = [&](const char* op) {
    const std::unique_ptr<Model> model =
        ConvertAsItIs(PackedWriter(TinyShape(), options).Write().path);
    size_t n = 0;
    for (const Node& node : model->graph().nodes) n += node.op == op;
    return n;
  };
  CHECK(count("gather") == 3 * 5);
  options.shared_order = true;
  CHECK(count("gather") == 3 * 4);
  CHECK(count("linear") == 3 * 5 + 1);
  options.pack_head = true;
  CHECK(count("gather") == 3 * 4 + 1);
  options.act_order = false;
  CHECK(count("gather") == 0);
}

TEST_CASE("a .bin file, a packed head, a bias of zeros and a second conversion") {
  PackedOptions options;
  options.act_order = true;
  options.shared_order = true;
  options.pack_head = true;
  const LlamaShape shape = TinyShape();
  const std::unique_ptr<Model> model = ConvertAsItIs(PackedWriter(shape, options).Write().path);
  options.as_bin = true;
  const PackedFolder folder = PackedWriter(shape, options).Write();
  const std::unique_ptr<Model> bin = ConvertAsItIs(folder.path);
  CheckWeights(*bin, folder, shape.n_layers, DType::kInt4a, BlockOffset::kZero);
  CHECK(SameBits(InInputOrder(*bin, "lm_head"), folder.weights.at("lm_head.weight")));
  const std::vector<float> want = Logits(*model);
  CHECK(SameBits(Logits(*bin), want));
  const std::unique_ptr<Model> again = ConvertAsItIs(bin->file().path());
  CHECK(SameBits(Logits(*again), want));
  CHECK(again->file().Find("layer.1.ffn_up.weight.columns")->data ==
        again->file().Find("layer.1.ffn_gate.weight.columns")->data);
  // Any other type is encoded anew.
  for (const DType type : {DType::kInt8, DType::kF16}) {
    const std::unique_ptr<Model> other = ConvertAndOpen(folder.path, type);
    CHECK(other->file().Find("layer.0.ffn_up.weight")->dtype == type);
    CHECK(RelativeError(Logits(*other), want) < 0.1);
  }
}

TEST_CASE("layers that are not converted stay floats") {
  PackedOptions options;
  options.plain = "layers.1.mlp.up_proj";
  LlamaShape shape = TinyShape();
  PackedFolder folder = PackedWriter(shape, options).Write();
  std::unique_ptr<Model> model = ConvertAsItIs(folder.path);
  CHECK(model->file().Find("layer.0.ffn_up.weight")->dtype == DType::kInt4a);
  CHECK(model->file().Find("layer.1.ffn_up.weight")->dtype == DType::kInt4);
  // One of three that become one matrix: all are encoded anew, unless their columns differ.
  options.plain = "layers.1.self_attn.k_proj";
  folder = PackedWriter(shape, options).Write();
  model = ConvertAsItIs(folder.path);
  CHECK(model->file().Find("layer.0.qkv.weight")->dtype == DType::kInt4a);
  CHECK(model->file().Find("layer.1.qkv.weight")->dtype == DType::kInt4);
  const std::unique_ptr<Model> floats = ConvertAndOpen(FloatFolder(shape, folder), DType::kF32);
  CHECK(SameBits(Logits(*ConvertAndOpen(folder.path, DType::kF32)), Logits(*floats)));
}

TEST_CASE("any rows of a layer, of one that is read whole or by pieces") {
  for (const char* method : {"gptq", "awq"}) {
    PackedOptions options;
    options.method = method;
    options.act_order = true;
    const auto checkpoint = Checkpoint::Open(PackedWriter(TinyShape(), options).Write().path);
    const PackedSource whole(*checkpoint, "test"), pieces(*checkpoint, "test", 100);
    const ImportTensor tensor = {"x", {{"model.layers.0.mlp.up_proj.weight", 176}}, {176, 64}};
    const auto a = whole.Open(tensor)[0], b = pieces.Open(tensor)[0];
    std::vector<float> want(176 * 64);
    a->ReadRowsF32(0, 176, want.data());
    for (const size_t first : {0, 3, 16, 171}) {
      for (const size_t n : {1, 5}) {
        std::vector<float> got(n * 64);
        b->ReadRowsF32(first, n, got.data());
        CHECK(std::memcmp(got.data(), want.data() + first * 64, got.size() * sizeof(float)) == 0);
        a->ReadRowsF32(first, n, got.data());
        CHECK(std::memcmp(got.data(), want.data() + first * 64, got.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("logits after a gather do not depend on threads, chunks and batches") {
  PackedOptions packed;
  packed.act_order = true;
  const std::string folder = PackedWriter(TinyShape(), packed).Write().path;
  for (const DType type : {DType::kInt4a, DType::kF32}) {
    const std::unique_ptr<Model> model = ConvertAndOpen(folder, type);
    const auto options = [&](size_t threads, size_t chunk, size_t outputs) {
      SessionOptions o;
      o.threads = threads;
      o.chunk = chunk;
      o.max_outputs = outputs;
      o.max_batch = 4;
      return o;
    };
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 60; ++i) ids.push_back((i * i * 7 + i * 3 + 1) % 96);
    Session whole(*model, options(1, 64, 64));
    const std::vector<float> want = AllLogits(whole, ids);
    Session split(*model, options(3, 7, 5));
    CHECK(SameBits(AllLogits(split, ids), want));
    AllLogits(split, std::span(ids).first(40));
    const size_t vocab = model->n_outputs();
    for (size_t at = 40; at < 60; at += 4) {
      REQUIRE(split.AppendBatch(std::span(ids).subspan(at, 4)) == Status::kOk);
      for (size_t i = 0; i < 4; ++i) {
        const float* row = want.data() + (at + i) * vocab;
        CHECK(std::memcmp(split.BatchLogits(i).data(), row, vocab * sizeof(float)) == 0);
      }
    }
  }
}

namespace {

// What the conversion of such a checkpoint says; there must be no file then.
std::string ErrorOf(const PackedOptions& packed, const LlamaShape& shape = TinyShape()) {
  ConvertOptions options;
  options.source = PackedWriter(shape, packed).Write().path;
  options.write.output = TempDir() + "/model.glint";
  try {
    Convert(options);
  } catch (const Error& error) {
    CHECK(!std::filesystem::exists(options.write.output));
    CHECK(IsPlainMessage(error.what(), options.source));
    return error.what();
  }
  return "";
}

constexpr char kLayer[] = "model.layers.1.mlp.down_proj";

// The same after changing a part of one layer.
std::string ErrorAfter(const std::string& part,
                       const std::function<void(std::string*, std::string*, std::string*)>& change,
                       PackedOptions packed = {}) {
  packed.edit = [&](const std::string& name, std::string* type, std::string* shape,
                    std::string* data) {
    if (name == kLayer + part) change(type, shape, data);
  };
  return ErrorOf(packed);
}

}  // namespace

TEST_CASE("quantization_config: what is not supported is named") {
  struct Bad {
    const char *config, *words;
  };
  for (const Bad& bad : {
           Bad{R"("quant_method": "bitsandbytes")", "'quant_method': expected 'gptq' or 'awq'"},
           Bad{R"("load_in_4bit": true)", "'quant_method'"},
           Bad{R"("quant_method": "gptq", "bits": 3, "group_size": 32)", "'bits': expected 4"},
           Bad{R"("quant_method": "gptq", "group_size": 32)", "'bits'"},
           Bad{R"("quant_method": "gptq", "bits": 4, "group_size": 16)", "'group_size'"},
           Bad{R"("quant_method": "gptq", "bits": 4, "group_size": 0)", "'group_size'"},
           Bad{R"("quant_method": "gptq", "bits": 4, "group_size": -2)", "'group_size'"},
           Bad{R"("quant_method": "gptq", "bits": 4)", "'group_size'"},
           Bad{R"("quant_method": "gptq", "bits": 4, "group_size": 32,
                  "checkpoint_format": "marlin")", "'checkpoint_format': expected 'gptq'"},
           Bad{R"("quant_method": "gptq", "bits": 4, "group_size": 32,
                  "is_marlin_format": true)", "'is_marlin_format'"},
           Bad{R"("quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv")",
               "'version': expected 'gemm', found 'gemv'"},
           Bad{R"("quant_method": "awq", "bits": 4, "group_size": 32, "backend": "llm-awq")",
               "'backend'"},
           Bad{R"("quant_method": "awq", "bits": 4, "group_size": 32)", "model.layers.0"},
       }) {
    PackedOptions options;
    options.config = ", \"quantization_config\": {" + std::string(bad.config) + "}";
    const std::string message = ErrorOf(options);
    CAPTURE(message);
    CAPTURE(std::string(bad.words));
    CHECK(message.find(bad.words) != std::string::npos);
  }
  PackedOptions options;
  options.config = ", \"quantization_config\": 4";
  CHECK(ErrorOf(options).find("'quantization_config'") != std::string::npos);
  options.config = " ";
  CHECK(ErrorOf(options).find("'model.layers.0.mlp.down_proj.bias' is not part of this") != std::string::npos);
}

TEST_CASE("packed layers that lie are refused by name") {
  const auto has = [](const std::string& message, const std::string& words) {
    CAPTURE(message);
    CAPTURE(words);
    CHECK(message.find(words) != std::string::npos);
  };
  const std::string name = "'" + std::string(kLayer);
  using Text = std::string*;
  for (const char* part : {".qweight", ".qzeros", ".scales"}) {
    const auto drop = [](Text type, Text, Text) { type->clear(); };
    const auto shorten = [](Text, Text shape, Text data) {
      *shape = "[1,64]";
      data->resize(64 * 4);
    };
    const std::string missing = ErrorAfter(part, drop);
    has(missing, name);
    CHECK((missing.find("is missing") != std::string::npos ||
           missing.find("is not part") != std::string::npos));
    if (part != std::string(".scales")) has(ErrorAfter(part, shorten), name + part + "'");
    has(ErrorAfter(part, [](Text type, Text, Text) { *type = *type == "I32" ? "F32" : "I16"; }),
        name + part + "': expected ");
  }
  const auto entry = [](size_t i, uint64_t value) {
    return [=](Text, Text, Text data) { data->replace(4 * i, 4, U32(value)); };
  };
  has(ErrorAfter(".g_idx", entry(9, 6)), "entry 9: expected 0 to 5, found 6");
  has(ErrorAfter(".g_idx", entry(9, 0xFFFFFFFF)), "entry 9: expected 0 to 5, found -1");
  has(ErrorAfter(".g_idx", entry(9, 3)), "expected whole blocks of 32");
  has(ErrorAfter(".g_idx", [](Text, Text shape, Text data) {
        *shape = "[88]";
        data->resize(88 * 4);
      }), "expected I32 (176), found I32 (88)");
  has(ErrorAfter(".scales", [](Text, Text, Text data) { data->replace(2 * 66, 2, U16(0x7C00)); }),
      ".scales': group 1, row 2: the scale is not finite");
  has(ErrorAfter(".bias", [](Text, Text, Text data) { (*data)[1] = 1; }), "bias' is not part");
  // No order at all, and all zeros, both mean: in order.
  CHECK(ErrorAfter(".g_idx", [](Text type, Text, Text) { type->clear(); }) == "");
  CHECK(ErrorAfter(".g_idx", [](Text, Text, Text data) { data->assign(data->size(), '\0'); }) == "");

  PackedOptions options;
  options.act_order = true;
  options.edit = [](const std::string& tensor, Text, Text, Text data) {
    if (tensor != "model.layers.2.self_attn.k_proj.g_idx") return;
    for (size_t i = 0; i < 64; ++i) data->replace(4 * i, 4, U32(i / 32));
  };
  has(ErrorOf(options), "'model.layers.2.self_attn.k_proj.qweight': g_idx: expected the same");
  options.edit = {};
  options.plain = "layers.1.self_attn.q_proj";
  has(ErrorOf(options), "'model.layers.1.self_attn.k_proj.qweight': g_idx: expected the same");
  LlamaShape shape = TinyShape();
  shape.hidden_dim = 172;
  has(ErrorOf({}, shape), "cannot be packed by eights");
}
