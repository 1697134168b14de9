// What measures quality: perplexity and divergence of models, errors of matrices, the heat map.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "examples/commands/heat_map.h"
#include "formats/convert/convert.h"
#include "formats/npy.h"
#include "lib/error.h"
#include "lib/matrix_error.h"
#include "lib/perplexity.h"
#include "quant/encode.h"
#include "tests/convert_samples.h"
#include "tests/instrument_samples.h"
#include "tests/npy.h"
#include "tests/test_util.h"

using namespace glint;
using namespace glint::test;

namespace {

std::unique_ptr<Model> Tiny(DType type) {
  return ConvertAndOpen(SourceDir() + "/examples/tiny/model", type);
}

std::unique_ptr<Session> SessionOf(const Model& model, size_t threads, size_t rows) {
  SessionOptions options;
  options.kv = DefaultKv(model);
  options.threads = threads;
  options.max_outputs = rows;
  return std::make_unique<Session>(model, options);
}

std::vector<int32_t> Integers(const NpyArray& array) {
  return {array.integers.begin(), array.integers.end()};
}

// ln softmax of a row, the plain way.
std::vector<double> LogSoftmax(const float* row, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(double{row[i]});
  std::vector<double> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = row[i] - std::log(sum);
  return out;
}

// A matrix of f32 in the layout of the file, and its view.
struct F32Matrix {
  F32Matrix(uint64_t rows, uint64_t cols, const std::vector<float>& values) {
    MatrixLayout layout;
    REQUIRE(ComputeLayout(DType::kF32, BlockOffset::kNone, rows, cols, &layout));
    bytes.resize(layout.bytes + 64);
    uint8_t* start = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    for (uint64_t r = 0; r < rows; ++r) {
      for (uint64_t c = 0; c < cols; ++c) {
        const uint64_t at = (r / 16 * cols + c) * 16 + r % 16;
        std::memcpy(start + layout.codes + at * 4, &values[r * cols + c], 4);
      }
    }
    view = {layout, start};
  }
  std::vector<uint8_t> bytes;
  MatrixView view;
};

ReadMatrixRows RowsOf(const std::vector<float>& values, uint64_t cols) {
  return [&values, cols](uint64_t row, uint64_t n, float* out) {
    std::copy_n(values.begin() + static_cast<ptrdiff_t>(row * cols), n * cols, out);
  };
}

std::vector<float> Normal(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& x : values) x = normal(random);
  return values;
}

// The ids below 100 of a file with these bytes.
IdMatrix ReadIds(const std::string& path, const std::string& bytes) {
  WriteFile(path, bytes);
  return ReadIdMatrix(path, 100);
}

}  // namespace

TEST_CASE("strided windows score every token but the first once") {
  const std::vector<std::vector<int32_t>> prefixes = {{}, {7}, {7, 8}};
  for (const std::vector<int32_t>& prefix : prefixes) {
    for (size_t n = 2; n <= 40; ++n) {
      for (size_t length = prefix.size() + 2; length <= 12; ++length) {
        const size_t text = length - prefix.size();
        for (size_t stride = 1; stride <= text - (prefix.empty() ? 1 : 0); ++stride) {
          std::vector<int32_t> ids(n);
          for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(i);
          const WindowSet set = StridedWindows("text", prefix, ids, length, stride);
          size_t scored = 1, longest = 0;
          bool sound = true;
          for (const WindowSet::Window& window : set.windows) {
            longest = std::max(longest, prefix.size() + window.end - window.begin);
            // In order, none left out, each behind a token; enough context but in the first window.
            sound = sound && window.first == scored && window.end > scored && window.end <= n &&
                    prefix.size() + window.first > window.begin && window.begin % stride == 0 &&
                    (window.begin == 0 || window.first - window.begin >= text - stride);
            scored = window.end;
          }
          if (!sound || scored != n || longest > length || set.longest != longest ||
              set.n_scored != n - 1) {
            CAPTURE(n);
            CAPTURE(length);
            CAPTURE(stride);
            FAIL_CHECK("wrong windows");
          }
        }
      }
    }
  }
  const auto fails = [](size_t n, size_t length, size_t stride, const char* why) {
    CHECK_THROWS_WITH_AS(StridedWindows("a.txt", {1, 2}, std::vector<int32_t>(n), length, stride),
                         doctest::Contains(why), Error);
  };
  fails(0, 10, 5, "a.txt: 0 tokens");
  fails(1, 10, 5, "at least 2");
  fails(9, 10, 0, "0 apart");
  fails(9, 10, 9, "windows of 10 tokens that begin 9 apart");
  fails(9, 2, 1, "windows of 2 tokens");
  CHECK_THROWS_WITH_AS(StridedWindows("a", {}, {1, 2, 3}, 4, 4), doctest::Contains("at least 5"),
                       Error);
  CHECK_THROWS_WITH_AS(RowWindows("a.npy", {1, 2, 3}, 3, 1), doctest::Contains("a.npy"), Error);
  const WindowSet rows = RowWindows("a", {1, 2, 3, 4, 5, 6}, 2, 3);
  REQUIRE(rows.windows.size() == 2);
  CHECK(rows.n_scored == 4);
  CHECK(rows.longest == 3);
  CHECK(rows.windows[1].first == 4);
}

TEST_CASE("nll of a golden's tokens") {
  if (SkipWithoutReference("nll of chatglm1-tiny")) return;
  const std::string folder = ReferenceDir() + "/goldens/chatglm1-tiny";
  const std::unique_ptr<Model> model = ConvertAndOpen(folder, DType::kF32);
  for (const char* name : {"gmask12", "gmask_answer", "gmask_long", "mask_mid"}) {
    CAPTURE(name);
    const NpyArray ids = ReadNpy(folder + "/cases/" + name + "/input_ids.npy");
    const NpyArray logits = ReadNpy(folder + "/cases/" + name + "/logits.npy");
    const size_t n = ids.Dim(1), vocab = logits.Dim(2);
    const WindowSet set = RowWindows(name, Integers(ids), ids.Dim(0), n);
    const TokenScores scores = ScoreWindows(*SessionOf(*model, 2, 16), nullptr, set);
    REQUIRE(scores.nll.size() == n - 1);
    CHECK(scores.kl.empty());
    double worst = 0;
    for (size_t i = 0; i + 1 < n; ++i) {
      const auto target = static_cast<size_t>(ids.integers[i + 1]);
      const double want = -LogSoftmax(logits.floats.data() + i * vocab, vocab)[target];
      worst = std::max(worst, std::fabs(scores.nll[i] - want));
    }
    CHECK(worst < 4e-4);  // the logits' own tolerance, twice
  }
}

TEST_CASE("a trained model: perplexity of stories260K") {
  if (SkipWithoutReference("perplexity of stories260K")) return;
  const std::string folder = ReferenceDir() + "/trained/stories260K";
  const NpyArray windows = ReadNpy(folder + "/ppl/windows.npy");
  const NpyArray want = ReadNpy(folder + "/ppl/token_nll_f32model.npy");
  const std::unique_ptr<Model> model = ConvertAndOpen(folder, DType::kF32);
  CHECK(TextPrefix(*model) == std::vector<int32_t>{1});  // its bos
  const WindowSet set = RowWindows("windows", Integers(windows), windows.Dim(0), windows.Dim(1));
  const TokenScores scores = ScoreWindows(*SessionOf(*model, 2, 64), nullptr, set);
  REQUIRE(scores.nll.size() == want.floats.size());
  double worst = 0;
  for (size_t i = 0; i < scores.nll.size(); ++i) {
    worst = std::max(worst, std::fabs(scores.nll[i] - want.floats[i]));
  }
  CHECK(worst < 2e-4);
  const double perplexity = std::exp(MeanOf(scores.nll).mean);
  CHECK(std::fabs(perplexity - 6.40356) < 1e-3);
  // Quantized, against the f32 model.
  const std::unique_ptr<Model> int8 = ConvertAndOpen(folder, DType::kInt8);
  const TokenScores rounded =
      ScoreWindows(*SessionOf(*int8, 2, 64), SessionOf(*model, 2, 64).get(), set);
  CHECK(rounded.base_nll == scores.nll);
  // Of 15300 tokens the ratio is known to 0.05%; the divergence, of all logits, far better.
  CHECK(std::fabs(std::exp(MeanDifference(rounded.nll, scores.nll).mean) - 1) < 1e-3);
  CHECK(MeanOf(rounded.kl).mean < 1.3e-3);
  std::printf("stories260K: perplexity f32 %.5f, int8 %.5f\n", perplexity,
              std::exp(MeanOf(rounded.nll).mean));
}

TEST_CASE("a text through the tiny model: prefix, bits, divergence") {
  const std::unique_ptr<Model> f32 = Tiny(DType::kF32), int4 = Tiny(DType::kInt4);
  const PromptIds& special = f32->prompt_ids();
  REQUIRE(TextPrefix(*f32) == std::vector<int32_t>{special.gmask, special.sop});
  std::string text;
  for (int i = 0; i < 12; ++i)
    text += "What is the capital of Japan? The capital of Japan is Tokyo. ";
  const WindowSet set =
      StridedWindows("text", TextPrefix(*f32), f32->tokenizer()->Encode(text), 48, 20);
  CHECK(set.windows.size() > 3);
  std::vector<double> shares;
  const TokenScores scores = ScoreWindows(*SessionOf(*int4, 1, 5), SessionOf(*f32, 1, 64).get(),
                                          set, [&](double share) { shares.push_back(share); });
  CHECK(shares.size() == set.windows.size());
  CHECK(shares.back() == 1);
  // The same bits with other threads, and other rows together.
  const TokenScores again =
      ScoreWindows(*SessionOf(*int4, 2, 64), SessionOf(*f32, 2, 7).get(), set);
  CHECK(again.nll == scores.nll);
  CHECK(again.base_nll == scores.base_nll);
  CHECK(again.kl == scores.kl);
  CHECK(again.same_top == scores.same_top);

  // Against the formulas, window by window.
  const std::unique_ptr<Session> one = SessionOf(*int4, 1, 64), other = SessionOf(*f32, 1, 64);
  const size_t vocab = f32->n_outputs();
  size_t at = 0;
  double worst_nll = 0, worst_kl = 0;
  bool same = true;
  for (const WindowSet::Window& window : set.windows) {
    std::vector<int32_t> ids = set.prefix;
    ids.insert(ids.end(), set.ids.begin() + static_cast<ptrdiff_t>(window.begin),
               set.ids.begin() + static_cast<ptrdiff_t>(window.end));
    std::vector<float> rows[2];
    for (const auto& [session, out] : {std::pair(one.get(), &rows[0]), {other.get(), &rows[1]}}) {
      const auto keep = [out = out, vocab](size_t, size_t n, const float* x, size_t stride) {
        for (size_t i = 0; i < n; ++i)
          out->insert(out->end(), x + i * stride, x + i * stride + vocab);
      };
      const OutputSink sink(keep);
      REQUIRE(session->Start(ids, &sink) == Status::kOk);
    }
    for (size_t i = window.first; i < window.end; ++i, ++at) {
      const size_t row = set.prefix.size() + i - window.begin - 1;
      const std::vector<double> q = LogSoftmax(rows[0].data() + row * vocab, vocab);
      const std::vector<double> p = LogSoftmax(rows[1].data() + row * vocab, vocab);
      double kl = 0;
      for (size_t v = 0; v < vocab; ++v) kl += std::exp(p[v]) * (p[v] - q[v]);
      worst_kl = std::max(worst_kl, std::fabs(kl - scores.kl[at]));
      worst_nll =
          std::max(worst_nll, std::fabs(q[static_cast<size_t>(set.ids[i])] + scores.nll[at]));
      const bool tops = std::max_element(p.begin(), p.end()) - p.begin() ==
                        std::max_element(q.begin(), q.end()) - q.begin();
      same = same && tops == (scores.same_top[at] != 0);
    }
  }
  CHECK(at == scores.kl.size());
  CHECK(worst_nll < 1e-11);
  CHECK(worst_kl < 1e-11);
  CHECK(same);
  CHECK(MeanOf(scores.kl).mean > 1e-4);
}

TEST_CASE("a model against itself differs in nothing; models that do not go together") {
  const std::unique_ptr<Model> model = Tiny(DType::kInt4);
  const int32_t gmask = model->prompt_ids().gmask, sop = model->prompt_ids().sop;
  const WindowSet set =
      RowWindows("ids", {gmask, sop, 40, 50, 60, 70, gmask, sop, 9, 8, 7, 6}, 2, 6);
  const TokenScores scores =
      ScoreWindows(*SessionOf(*model, 2, 4), SessionOf(*model, 1, 64).get(), set);
  REQUIRE(scores.kl.size() == 10);
  for (size_t i = 0; i < 10; ++i) {
    CHECK(scores.kl[i] == 0);
    CHECK(scores.same_top[i] == 1);
    CHECK(scores.nll[i] == scores.base_nll[i]);
  }
  const std::unique_ptr<Session> session = SessionOf(*model, 1, 4);
  const auto fails = [&](const std::vector<int32_t>& ids, const char* why) {
    CHECK_THROWS_WITH_AS(ScoreWindows(*session, nullptr, RowWindows("ids.npy", ids, 1, ids.size())),
                         doctest::Contains(why), Error);
  };
  fails({1, 2, 3}, "ids.npy: window 0: the prompt has no <sop>");
  fails({gmask, sop, 99999}, "ids.npy: id 99999 is outside");
  fails({gmask, sop, -1}, "id -1");
  fails(std::vector<int32_t>(600, sop), "ids.npy: window 0: ");
  if (SkipWithoutReference("another vocabulary")) return;
  const std::unique_ptr<Model> other =
      ConvertAndOpen(ReferenceDir() + "/goldens/chatglm1-tiny", DType::kF32);
  CHECK_THROWS_WITH_AS(ScoreWindows(*session, SessionOf(*other, 1, 4).get(), set),
                       doctest::Contains("a vocabulary of 512 ids"), Error);
}

TEST_CASE("means and quantiles") {
  const Mean mean = MeanOf({1, 2, 3, 6});
  CHECK(mean.mean == 3);
  CHECK(mean.error == doctest::Approx(std::sqrt(14.0 / 3 / 4)));
  CHECK(MeanOf({5}).error == 0);
  CHECK(MeanOf({}).mean == 0);
  CHECK(MeanDifference({3, 5}, {1, 1}).mean == 3);
  CHECK(MeanDifference({3, 5}, {1, 1}).error == doctest::Approx(1));
  CHECK(Quantile({4, 1, 3, 2, 5}, 0.5) == 3);
  CHECK(Quantile({4, 1, 3, 2, 5}, 0.99) == doctest::Approx(4.96));
  CHECK(Quantile({4, 1, 3, 2, 5}, 1) == 5);
  CHECK(Quantile({4, 1}, 0) == 1);
}

TEST_CASE("known errors of known matrices") {
  ThreadPool pool(2);
  const uint64_t rows = 37, cols = 75;
  const std::vector<float> base(rows * cols, 2.0f);
  std::vector<float> values(rows * cols, 2.5f);
  const auto compare = [&](const std::vector<float>& a, const std::vector<float>& b,
                           const float* scale = nullptr) {
    const F32Matrix matrix(rows, cols, a);
    return CompareMatrices(matrix.view, RowsOf(b, cols), scale, pool, "m: tensor 'x'");
  };
  MatrixError error = compare(values, base);
  CHECK(error.rmse == 0.5);
  CHECK(error.base_rms == 2);
  CHECK(error.relative == 0.25);
  CHECK(error.cosine == doctest::Approx(1).epsilon(1e-14));
  CHECK(error.worst == 0.25);
  CHECK(error.worst_row == 0);
  CHECK(error.worst_col == 0);
  // A single element, in the tail of a row: 4 away within a block of 75 - 64 elements.
  values = base;
  values[20 * cols + 70] = 6;
  error = compare(values, base);
  const double n = static_cast<double>(rows * cols);
  CHECK(error.rmse == doctest::Approx(std::sqrt(16 / n)));
  CHECK(error.worst_row == 20);
  CHECK(error.worst_col == 64);
  CHECK(error.worst == doctest::Approx(std::sqrt(16.0 / (11 * 4))));
  CHECK(error.cosine ==
        doctest::Approx((4 * n + 8) / std::sqrt(4 * n) / std::sqrt(4 * n + 32)).epsilon(1e-12));
  // Equal ones; opposite ones; nothing where something was, and something where nothing was.
  error = compare(base, base);
  CHECK((error.rmse == 0 && error.relative == 0 && error.cosine == 1 && error.worst == 0));
  const std::vector<float> zeros(rows * cols, 0.0f), minus(rows * cols, -2.0f);
  CHECK(compare(minus, base).cosine == doctest::Approx(-1));
  CHECK(compare(minus, base).relative == 2);
  error = compare(zeros, base);
  CHECK((error.relative == 1 && error.cosine == 0));
  error = compare(base, zeros);
  CHECK((std::isinf(error.relative) && std::isinf(error.worst) && error.cosine == 0));
  error = compare(zeros, zeros);
  CHECK((error.relative == 0 && error.cosine == 1 && error.worst == 0));
  // Columns that were divided by a scale are multiplied by it.
  std::vector<float> scale(cols), divided = base;
  for (size_t c = 0; c < cols; ++c) scale[c] = std::ldexp(1.0f, static_cast<int>(c % 5) - 2);
  for (size_t i = 0; i < divided.size(); ++i) divided[i] /= scale[i % cols];
  CHECK(compare(divided, base, scale.data()).rmse == 0);
  // What is not a number is an error that says where.
  std::vector<float> bad = base;
  bad[5 * cols + 3] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(compare(base, bad),
                       "m: tensor 'x': row 5 of the base has a number that is not finite", Error);
  bad[5 * cols + 3] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS(compare(bad, base), doctest::Contains("row 5 of the matrix"), Error);
  const F32Matrix matrix(rows, cols, base);
  const ReadMatrixRows refuse = [](uint64_t, uint64_t, float*) { throw Error("cannot read"); };
  CHECK_THROWS_WITH_AS(CompareMatrices(matrix.view, refuse, nullptr, pool, "x"), "cannot read",
                       Error);
}

TEST_CASE("a quantized matrix: the error of the plain sums, the same bits with any threads") {
  const uint64_t rows = 500, cols = 700;  // several bands
  const std::vector<float> base = Normal(rows * cols, 1);
  std::vector<float> values = base;
  double squares = 0, base_squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::nearbyint(values[i] * 8) / 8;
    const double d = double{values[i]} - base[i];
    squares += d * d;
    base_squares += double{base[i]} * base[i];
  }
  const F32Matrix matrix(rows, cols, values);
  ThreadPool one(1), three(3);
  const MatrixError a = CompareMatrices(matrix.view, RowsOf(base, cols), nullptr, one, "x");
  const MatrixError b = CompareMatrices(matrix.view, RowsOf(base, cols), nullptr, three, "x");
  CHECK(a.rmse == doctest::Approx(std::sqrt(squares / base.size())).epsilon(1e-12));
  CHECK(a.relative == doctest::Approx(std::sqrt(squares / base_squares)).epsilon(1e-12));
  CHECK(std::memcmp(&a, &b, sizeof a) == 0);
}

TEST_CASE("the heat map is well-formed with any names and any number of layers") {
  for (const size_t layers : {0, 1, 3, 80, 500}) {
    HeatMap map;
    map.title = "a <b> & \"c\" \x1b[2J\xff\xEF\xBF\xBE";
    map.subtitle = "\u4f60\u597d";
    map.n_layers = layers;
    map.kinds = {"qkv", "attn_out", "<script>", std::string(300, 'k')};
    for (size_t k = 0; k < map.kinds.size(); ++k) {
      for (size_t l = k; l < layers; ++l) {
        map.cells[{k, l}] = {"layer." + std::to_string(l) + "&" + map.kinds[k], "int4x",
                             0.3 * static_cast<double>(l) / static_cast<double>(layers)};
      }
    }
    map.others = {{"embedding\n", "int8", 0.0048},
                  {"lm_head", "f32", std::numeric_limits<double>::infinity()},
                  {"x", "f16", std::numeric_limits<double>::quiet_NaN()}};
    const std::string svg = HeatMapSvg(map);
    CHECK(XmlFault(svg) == "");
    CHECK((svg.find(">int4x</text>") != std::string::npos) == (layers == 3 || layers == 1));
    if (const char* folder = std::getenv("GLINT_KEEP_SVG")) {
      WriteFile(std::string(folder) + "/heat" + std::to_string(layers) + ".svg", svg);
    }
  }
}

TEST_CASE("ids of NumPy files") {
  const std::string path = TempDir() + "/ids.npy";
  const auto read = [&](const std::string& file) { return ReadIds(path, file); };
  for (const int version : {1, 2, 3}) {
    IdMatrix matrix = read(NpyFile<int32_t>("<i4", "(2, 3)", {1, 2, 3, 4, 5, 99}, version));
    CHECK(matrix.rows == 2);
    CHECK(matrix.cols == 3);
    CHECK(matrix.ids == std::vector<int32_t>{1, 2, 3, 4, 5, 99});
    matrix = read(NpyFile<int64_t>("<i8", "(1, 4)", {0, 1, 2, 3}, version));
    CHECK(matrix.ids == std::vector<int32_t>{0, 1, 2, 3});
  }
  // Keys in another order, other quotes, no comma at the end.
  CHECK(read(NpyWithHead("{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<i4\"}\n",
                         std::string(8, '\0')))
            .cols == 2);
  const std::string big = NpyFile<int32_t>("<i4", "(600, 1000)", std::vector<int32_t>(600000, 7));
  CHECK(read(big).ids == std::vector<int32_t>(600000, 7));  // in several pieces
}

TEST_CASE("hostile NumPy files") {
  const std::string path = TempDir() + "/ids.npy";
  const auto fails = [&](const std::string& file, const char* why) {
    CAPTURE(why);
    try {
      ReadIds(path, file);
      FAIL_CHECK("no error");
    } catch (const Error& error) {
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.starts_with(path + ": "));
      CHECK(message.find(why) != std::string::npos);
    }
  };
  const std::string good = NpyFile<int32_t>("<i4", "(2, 3)", {1, 2, 3, 4, 5, 6});
  for (size_t n = 0; n < good.size(); ++n) CHECK_THROWS_AS(ReadIds(path, good.substr(0, n)), Error);
  fails("", "not a NumPy file");
  fails("hello, world of text", "not a NumPy file");
  fails(good + "x", "bytes of numbers");
  fails(good.substr(0, good.size() - 4), "(2, 3) of <i4, but 20 bytes");
  std::string other = good;
  other[6] = 4;
  fails(other, "NumPy format 4.0");
  other = good;
  other[8] = other[9] = static_cast<char>(0xFF);
  fails(other, "expected 65535 bytes (head)");
  fails(NpyFile<int32_t>("<i4", "(2, 3)", {1, 2, 3, 4, 100, 6}),
        "row 1, column 1: not an id below 100");
  fails(NpyFile<int32_t>("<i4", "(2, 3)", {1, 2, -3, 4, 5, 6}), "row 0, column 2");
  fails(NpyFile<int64_t>("<i8", "(1, 2)", {0, int64_t{1} << 32}), "row 0, column 1");
  fails(NpyFile<float>("<f4", "(1, 2)", {0, 1}), "'<f4'");
  fails(NpyFile<int32_t>(">i4", "(1, 2)", {0, 1}), "'>i4'");
  fails(NpyFile<int32_t>("<i4", "(2,)", {0, 1}), "shape (2)");
  fails(NpyFile<int32_t>("<i4", "(1, 1, 2)", {0, 1}), "shape (1, 1, 2)");
  fails(NpyFile<int32_t>("<i4", "(0, 2)", {}), "shape (0, 2)");
  fails(NpyFile<int32_t>("<i4", "(2, 0)", {}), "shape (2, 0)");
  fails(NpyFile<int32_t>("<i4", "(4611686018427387904, 4)", {}), "0 bytes of numbers");
  fails(NpyFile<int32_t>("<i4", "(4294967296, 4294967296)", {}), "0 bytes of numbers");
  fails(NpyFile<int32_t>("<i4", "(99999999999999999999999, 2)", {}), "tuple of sizes");
  fails(NpyFile<int32_t>("<i4", "(-1, 2)", {}), "tuple of sizes");
  fails(NpyFile<int32_t>("<i4", "(1, 2), 'shape': (1, 2)", {1, 2}), "'shape'");
  for (const char* head :
       {"", "{", "{}", "{'descr'}", "{'descr': }", "{'descr': '<i4}", "{'descr': [('a', '<i4')]}",
        "{'descr': '<i4', 'fortran_order': 0, 'shape': (1, 2)}",
        "{'descr': '<i4', 'fortran_order': True, 'shape': (1, 2)}",
        "{'descr': '<i4', 'fortran_order': False}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1 2)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), 'more': 'x'}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2)} x"}) {
    CAPTURE(head);
    fails(NpyWithHead(head, std::string(8, '\0')), "");
  }
  CHECK_THROWS_WITH_AS(ReadIdMatrix(TempDir(), 10), doctest::Contains("glint-test"), Error);
  CHECK_THROWS_AS(ReadIdMatrix("/no/such.npy", 10), Error);
}
