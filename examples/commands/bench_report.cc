#include "examples/commands/bench_report.h"

#include <algorithm>
#include <utility>

#include "examples/commands/console.h"
#include "examples/commands/report.h"
#include "lib/machine_info.h"
#include "simd/cpu_info.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

// Numbers to six digits or so: what a stopwatch gives, without the noise after.
Json Number(double value) {
  return std::stod(Format("%.6g", value));
}

uint64_t Parameters(const GlintFile& file) {
  uint64_t parameters = 0;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    if (tensor.name.starts_with("tokenizer.") || !file.TiedTo(i).empty()) continue;
    uint64_t elements = 1;
    for (const uint64_t n : tensor.shape) elements *= n;
    parameters += elements;
  }
  return parameters;
}

Json MachineJson(const Measurement& m, const Session& session) {
  const MachinePeaks peaks = m.Peaks();
  return {{"cpu", CpuModelName()},
          {"isa", session.kernels().isa},
          {"threads", m.threads},
          {"read_gb_per_s", Number(peaks.read_gb_per_s)},
          {"dot_gmac_per_s", Number(peaks.dot_gmac_per_s)},
          {"read_gb_per_s_before", Number(m.before.read_gb_per_s)},
          {"read_gb_per_s_after", Number(m.after.read_gb_per_s)},
          {"file_read_gb_per_s", Number(peaks.file_read_gb_per_s)},
          {"dot_gmac_per_s_before", Number(m.before.dot_gmac_per_s)},
          {"dot_gmac_per_s_after", Number(m.after.dot_gmac_per_s)},
          {"system", MachineInfo()}};
}

Json PrefillJson(const Timing& t, const MachinePeaks& peaks) {
  const auto tokens = static_cast<double>(t.tokens);
  const double gmac = t.macs / t.Quantile(0.5) * 1e-9;
  return {{"tokens", t.tokens},
          {"tokens_per_s", Number(tokens / t.Quantile(0.5))},
          {"gmac_per_s", Number(gmac)},
          {"share_of_dot_peak", Number(gmac / peaks.dot_gmac_per_s)},
          {"runs", t.seconds.size()},
          {"tokens_per_s_min", Number(tokens / t.seconds.back())},
          {"tokens_per_s_max", Number(tokens / t.seconds.front())},
          {"macs_per_byte", Number(t.macs / t.bytes)}};
}

Json DecodeJson(const Timing& t, const MachinePeaks& peaks) {
  const double gb = t.bytes / t.Quantile(0.5) * 1e-9;
  return {{"tokens", t.tokens},
          {"context", t.context},
          {"tokens_per_s", Number(1 / t.Quantile(0.5))},
          {"gb_per_s", Number(gb)},
          {"share_of_bandwidth", Number(gb / peaks.read_gb_per_s)},
          {"tokens_per_s_q1", Number(1 / t.Quantile(0.75))},
          {"tokens_per_s_q3", Number(1 / t.Quantile(0.25))},
          {"macs_per_byte", Number(t.macs / t.bytes)}};
}

// Rows of one phase, the longest first; the last is what no step accounts for.
void AddProfile(const char* phase, const Timing& t, const Measurement& m, Json* rows) {
  std::vector<ProfileEntry> entries = t.profile;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  const MachinePeaks peaks = m.Peaks();
  const double total = t.Total();
  double rest = total;
  for (const ProfileEntry& e : entries) {
    rest -= e.seconds;
    Json row = {{"phase", phase},
                {"op", e.op},
                {"what", e.what},
                {"type", e.type},
                {"calls", e.calls},
                {"ms", Number(e.seconds * 1000)},
                {"share", Number(e.seconds / total)}};
    if (e.macs != 0) {
      const double gmac = e.macs / e.seconds * 1e-9;
      row["gmac_per_s"] = Number(gmac);
      row["share_of_dot_peak"] = Number(gmac / peaks.dot_gmac_per_s);
    }
    if (e.bytes != 0) {
      const double gb = e.bytes / e.seconds * 1e-9;
      row["gb_per_s"] = Number(gb);
      row["share_of_bandwidth"] = Number(gb / peaks.read_gb_per_s);
    }
    // Of the threads' time together. What runs outside of the pool is one thread's, and has none.
    if (e.busy_seconds != 0) {
      row["waiting"] =
          Number(std::max(0.0, 1 - e.busy_seconds / (e.seconds * static_cast<double>(m.threads))));
    }
    rows->push_back(row);
  }
  rows->push_back({{"phase", phase},
                   {"op", "rest"},
                   {"what", "outside of the session"},
                   {"type", ""},
                   {"calls", t.seconds.size()},
                   {"ms", Number(rest * 1000)},
                   {"share", Number(rest / total)}});
}

// Whether floats are more than a router's or a gate's worth.
bool HasFloatMatrices(const Model& model) {
  uint64_t floats = 0;
  for (const Node& node : model.graph().nodes) {
    for (const std::string& weight : WeightsOf(node)) {
      const Tensor& tensor = *model.file().Find(weight);
      if (Info(tensor.dtype).block == 1) floats += tensor.shape[0] * tensor.shape[1];
    }
  }
  return floats > model.cost().linear_parameters / 100;
}

// Cells of tables and lines; "" where the value is not there.
std::string Cell(const Json& object, const char* key, int digits) {
  const auto value = object.find(key);
  return value == object.end() ? "" : Format("%.*f", digits, value->get<double>());
}
std::string Share(const Json& object, const char* key, int digits = 0) {
  const auto value = object.find(key);
  return value == object.end() ? "" : Format("%.*f%%", digits, 100 * value->get<double>());
}
std::string Range(const Json& object, const char* low, const char* high, int digits) {
  return object.contains(low) ? Cell(object, low, digits) + "-" + Cell(object, high, digits) : "";
}
std::string Text(const Json& value) {
  return OneLine(value.get<std::string>());
}

std::string ModelLine(const Json& r) {
  return "model    " + Text(r["model"]["name"]) + ", " + Text(r["model"]["type"]) + ", " +
         HumanBytes(r["model"]["bytes"]) + ", " + HumanCount(r["model"]["parameters"]) +
         " parameters; cache " + Text(r["kv"]);
}

std::string ReadyText(const Json& r) {
  return "ready after " + Cell(r, "load_ms", 1) + " ms, first token " +
         Cell(r, "first_token_ms", 1) + " ms later";
}

void PrintOne(const Json& r) {
  const Json& machine = r["machine"];
  const Json& prefill = r["prefill"];
  const Json& decode = r["decode"];
  Print("machine  " + Text(machine["cpu"]) + ", " + Text(machine["isa"]) + ", " +
        machine["threads"].dump() + " threads; reads " + Cell(machine, "read_gb_per_s", 1) +
        " GB/s (the model's pages: " + Cell(machine, "file_read_gb_per_s", 1) + "), int8 dots " +
        Cell(machine, "dot_gmac_per_s", 0) + " GMAC/s\n");
  Print(ModelLine(r) + "; " + ReadyText(r) + "\n");
  Print("prefill  " + Cell(prefill, "tokens_per_s", 1) + " tokens/s (" + prefill["tokens"].dump() +
        " tokens; " + Range(prefill, "tokens_per_s_min", "tokens_per_s_max", 1) + "), " +
        Cell(prefill, "gmac_per_s", 1) + " GMAC/s: " + Share(prefill, "share_of_dot_peak") +
        " of the int8 dot peak\n");
  Print("decode   " + Cell(decode, "tokens_per_s", 2) + " tokens/s (at " +
        decode["context"].dump() + " tokens of context; " +
        Range(decode, "tokens_per_s_q1", "tokens_per_s_q3", 2) + "), " +
        Cell(decode, "gb_per_s", 1) + " GB/s: " + Share(decode, "share_of_bandwidth") +
        " of the read bandwidth\n");
  Print("memory   " + Cell(r, "anonymous_mib", 1) + " MiB of its own, beside the file's pages\n");
}

void PrintTable(const std::vector<Json>& measurements) {
  const Json& first = measurements.front();
  Print("machine  " + Text(first["machine"]["cpu"]) + ", " + Text(first["machine"]["isa"]) + "\n");
  Print(ModelLine(first) + "\n");
  std::string threads;
  for (const Json& r : measurements) {
    if (r["machine"]["threads"].dump() == threads) continue;
    threads = r["machine"]["threads"].dump();
    Print("threads  " + threads + ": " + ReadyText(r) + "\n");
  }
  Print("\n");
  std::vector<std::vector<std::string>> table = {
      {"threads", "prompt", "tokens/s", "min-max", "GMAC/s", "of peak", "", "context", "tokens/s",
       "quartiles", "GB/s", "of peak", "", "peak GMAC/s", "peak GB/s", "of file", "MiB"}};
  for (const Json& r : measurements) {
    const Json& machine = r["machine"];
    const Json p = r.value("prefill", Json::object()), d = r.value("decode", Json::object());
    table.push_back({machine["threads"].dump(), Cell(p, "tokens", 0), Cell(p, "tokens_per_s", 1),
                     Range(p, "tokens_per_s_min", "tokens_per_s_max", 1), Cell(p, "gmac_per_s", 1),
                     Share(p, "share_of_dot_peak"), "", Cell(d, "context", 0),
                     Cell(d, "tokens_per_s", 2), Range(d, "tokens_per_s_q1", "tokens_per_s_q3", 2),
                     Cell(d, "gb_per_s", 1), Share(d, "share_of_bandwidth"), "",
                     Cell(machine, "dot_gmac_per_s", 0), Cell(machine, "read_gb_per_s", 1),
                     Cell(machine, "file_read_gb_per_s", 1), Cell(r, "anonymous_mib", 1)});
  }
  PrintColumns(table, std::vector<bool>(table[0].size(), true));
}

void PrintProfile(const Json& measurement, const char* phase) {
  const bool prefill = std::string(phase) == "prefill";
  std::vector<std::vector<std::string>> table = {{"op", "what", "type", "calls", "ms", "share",
                                                  prefill ? "GMAC/s" : "GB/s", "of peak",
                                                  "waiting"}};
  double steps = 0, ms = 0;
  for (const Json& row : measurement["profile"]) {
    if (row["phase"] != phase) continue;
    ms += row["ms"].get<double>();
    if (row["op"] != "rest") steps += row["share"].get<double>();
    table.push_back({row["op"], OneLine(row["what"].get<std::string>()), row["type"],
                     row["calls"].dump(), Cell(row, "ms", 1), Share(row, "share", 1),
                     Cell(row, prefill ? "gmac_per_s" : "gb_per_s", 1),
                     Share(row, prefill ? "share_of_dot_peak" : "share_of_bandwidth"),
                     Share(row, "waiting")});
  }
  if (table.size() == 1) return;
  const Json& t = measurement[phase];
  const std::string what =
      prefill ? t["tokens"].dump() + " tokens, " + t["runs"].dump() + " runs"
              : t["tokens"].dump() + " tokens at " + t["context"].dump() + " of context";
  Print(Format("\n%s of %s, %s threads: %.1f ms, of which the ops account for %.1f%%\n", phase,
               what.c_str(), measurement["machine"]["threads"].dump().c_str(), ms, 100 * steps));
  PrintColumns(table, {false, false, false, true, true, true, true, true, true});
}

}  // namespace

Json MeasurementJson(const Measurement& m, const Session& session, const std::string& load) {
  const GlintFile& file = session.model().file();
  const MachinePeaks peaks = m.Peaks();
  Json out = {{"machine", MachineJson(m, session)},
              {"model",
               {{"name", MetadataText(file, "name")},
                {"type", MetadataText(file, "recipe")},
                {"bytes", file.bytes()},
                {"parameters", Parameters(file)}}},
              {"load_ms", Number(m.load_ms)}};
  if (m.prefill) out["prefill"] = PrefillJson(*m.prefill, peaks);
  if (m.decode) out["decode"] = DecodeJson(*m.decode, peaks);
  out["anonymous_mib"] = Number(m.anonymous_mib);
  out["first_token_ms"] = Number(m.first_token_ms);
  out["kv"] = Name(session.cache().type());
  out["load"] = load;
  Json profile = Json::array();
  if (m.prefill && !m.prefill->profile.empty()) AddProfile("prefill", *m.prefill, m, &profile);
  if (m.decode && !m.decode->profile.empty()) AddProfile("decode", *m.decode, m, &profile);
  if (!profile.empty()) out["profile"] = std::move(profile);
  return out;
}

void PrintMeasurements(const std::vector<Json>& measurements, const Model& model) {
  measurements.size() == 1 ? PrintOne(measurements[0]) : PrintTable(measurements);
  for (const Json& measurement : measurements) {
    if (!measurement.contains("profile")) continue;
    for (const char* phase : {"prefill", "decode"}) PrintProfile(measurement, phase);
  }
  if (HasFloatMatrices(model)) {
    Note("the model has float matrices, which the int8 dot peak says little about");
  }
}

}  // namespace glint
