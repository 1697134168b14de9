#include "examples/commands/heat_map.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "examples/commands/console.h"

namespace glint {
namespace {

constexpr double kMargin = 24, kCellHeight = 32, kOtherWidth = 72;
constexpr double kLegendWidth = 360, kLegendHeight = 14;
constexpr size_t kLongestLabel = 40;  // bytes, about
constexpr double kLabelWidth = 7.2;   // of a character of a label, about
const char kInk[] = "#222222";
const char kSoft[] = "#666666";

struct Color {
  double r, g, b;  // 0..255
};
struct Stop {
  double at;  // 0..1 of the scale
  Color color;
};
// From nearly white over yellow and red to a dark violet: lightness falls all the way, so that the
// order can be seen without colours too.
constexpr Stop kStops[] = {
    {0.00, {252, 251, 240}}, {0.25, {250, 218, 130}}, {0.40, {243, 160, 78}},
    {0.60, {217, 90, 70}},   {0.80, {158, 42, 99}},   {1.00, {66, 16, 86}},
};

Color ColorOf(double error) {
  // An error that is no number at all is as bad as any.
  const double x = error >= 0 ? std::min(error / HeatMap::kWorstError, 1.0) : 1.0;
  size_t i = 1;
  while (kStops[i].at < x) ++i;
  const Stop &low = kStops[i - 1], &high = kStops[i];
  const double t = (x - low.at) / (high.at - low.at);
  const auto mix = [t](double a, double b) { return a + t * (b - a); };
  return {mix(low.color.r, high.color.r), mix(low.color.g, high.color.g),
          mix(low.color.b, high.color.b)};
}

std::string Hex(const Color& color) {
  return Format("#%02x%02x%02x", static_cast<unsigned>(color.r + 0.5),
                static_cast<unsigned>(color.g + 0.5), static_cast<unsigned>(color.b + 0.5));
}

// Ink that can be read on it.
const char* InkOn(const Color& color) {
  return 0.299 * color.r + 0.587 * color.g + 0.114 * color.b > 140 ? kInk : "#ffffff";
}

// Any bytes as text of an XML document: what XML cannot hold is written as OneLine writes it.
std::string Escaped(const std::string& text) {
  static constexpr char kMarks[] = "&<>\"";
  static constexpr const char* kEntities[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
  std::string out;
  for (const char c : OneLine(text)) {
    const char* const mark = std::strchr(kMarks, c);
    if (mark && *mark) {
      out += kEntities[mark - kMarks];
    } else {
      out += c;
    }
  }
  // U+FFFE and U+FFFF are valid UTF-8, but no characters of XML.
  for (const char* bad : {"\xEF\xBF\xBE", "\xEF\xBF\xBF"}) {
    for (size_t at; (at = out.find(bad)) != out.npos;) out.replace(at, 3, "?");
  }
  return out;
}

// A name that is not longer than a label may be, cut between characters.
std::string Shortened(const std::string& name) {
  std::string text = OneLine(name);
  if (text.size() <= kLongestLabel) return text;
  size_t cut = kLongestLabel;
  while ((static_cast<uint8_t>(text[cut]) & 0xC0) == 0x80) --cut;
  return text.substr(0, cut) + "...";
}

// "0.48%", "7.3%", "12%": three characters and a sign.
std::string Percent(double error) {
  if (error == 0) return "0%";
  if (!std::isfinite(error)) return "inf";
  const double percent = 100 * error;
  const int digits = percent >= 9.95 ? 0 : percent >= 0.995 ? 1 : 2;
  return Format("%.*f%%", digits, percent);
}

class Picture {
 public:
  explicit Picture(const HeatMap& map) : map_(map) {
    size_t longest = 4;
    for (const std::string& kind : map.kinds) longest = std::max(longest, Shortened(kind).size());
    for (const HeatMap::Cell& cell : map.others) {
      longest = std::max(longest, Shortened(cell.name).size());
    }
    left_ = kMargin + kLabelWidth * static_cast<double>(longest) + 10;
    const double n = static_cast<double>(std::max<size_t>(map.n_layers, 1));
    cell_width_ = std::clamp(1040 / n, 12.0, kOtherWidth);
    width_ = left_ + std::max(cell_width_ * n, kLegendWidth + 40) + kMargin;
    const double title = 10.0 * static_cast<double>(map.title.size());  // in its larger letters
    const double subtitle = kLabelWidth * static_cast<double>(map.subtitle.size());
    width_ = std::max(width_, 2 * kMargin + std::max(title, subtitle));
  }

  std::string Svg() {
    Text(kMargin, 30, 17, kInk, "start", map_.title, " font-weight=\"bold\"");
    Text(kMargin, 50, 13, kSoft, "start", map_.subtitle);
    double y = 72;
    if (map_.n_layers != 0) y = Layers(y + 14);
    for (const HeatMap::Cell& cell : map_.others) {
      Label(y, cell.name);
      Cell(left_, y, kOtherWidth, cell);
      y += kCellHeight + 6;
    }
    y = Legend(y + 26) + kMargin;
    return Format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
               "width=\"%.0f\" height=\"%.0f\" font-family=\"Helvetica, Arial, DejaVu Sans, "
               "sans-serif\">\n",
               width_, y, width_, y) +
           "<title>" + Escaped(map_.title) + "</title>\n" +
           "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n" + body_ + "</svg>\n";
  }

 private:
  // The grid, its labels, and the numbers of the layers above it. Returns where it ends.
  double Layers(double y) {
    Text(left_ - 10, y - 6, 12, kSoft, "end", "layer");
    size_t step = 1;
    for (const size_t candidate : {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000}) {
      step = candidate;
      if (cell_width_ * static_cast<double>(step) >= 26) break;
    }
    for (size_t layer = 0; layer < map_.n_layers; layer += step) {
      Text(LayerX(layer) + cell_width_ / 2, y - 6, 12, kSoft, "middle", std::to_string(layer));
    }
    for (size_t kind = 0; kind < map_.kinds.size(); ++kind) {
      Label(y, map_.kinds[kind]);
      for (auto cell = map_.cells.lower_bound({kind, 0});
           cell != map_.cells.end() && cell->first.first == kind; ++cell) {
        Cell(LayerX(cell->first.second), y, cell_width_, cell->second);
      }
      y += kCellHeight;
    }
    return y + 20;
  }

  double LayerX(size_t layer) const { return left_ + cell_width_ * static_cast<double>(layer); }

  void Label(double y, const std::string& name) {
    Text(left_ - 10, y + kCellHeight / 2 + 4.5, 13, kInk, "end", Shortened(name));
  }

  void Cell(double x, double y, double width, const HeatMap::Cell& cell) {
    const Color color = ColorOf(cell.error);
    body_ += Format(
        "<g><title>%s: %s, relative RMSE %.4g%%</title><rect x=\"%.2f\" y=\"%.2f\" "
        "width=\"%.2f\" height=\"%.2f\" fill=\"%s\" stroke=\"#ffffff\"/>",
        Escaped(cell.name).c_str(), Escaped(cell.type).c_str(), 100 * cell.error, x, y, width,
        kCellHeight, Hex(color).c_str());
    const double center = x + width / 2;
    // About 5.6 units a character at this size.
    if (width >= 5.6 * static_cast<double>(std::max<size_t>(cell.type.size(), 5)) + 4) {
      Text(center, y + 13.5, 10, InkOn(color), "middle", cell.type);
      Text(center, y + 26, 10, InkOn(color), "middle", Percent(cell.error));
    }
    body_ += "</g>\n";
  }

  double Legend(double y) {
    Text(left_, y - 8, 12, kInk, "start", "relative RMSE: error's root mean square / weights'");
    body_ += "<defs><linearGradient id=\"scale\">";
    for (const Stop& stop : kStops) {
      body_ +=
          Format("<stop offset=\"%.2f\" stop-color=\"%s\"/>", stop.at, Hex(stop.color).c_str());
    }
    body_ += "</linearGradient></defs>\n";
    body_ += Format(
        "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
        "fill=\"url(#scale)\" stroke=\"%s\" stroke-width=\"0.5\"/>\n",
        left_, y, kLegendWidth, kLegendHeight, kSoft);
    constexpr int kTicks = 4;
    for (int i = 0; i <= kTicks; ++i) {
      const double share = static_cast<double>(i) / kTicks;
      const double x = left_ + kLegendWidth * share;
      body_ += Format("<line x1=\"%.2f\" x2=\"%.2f\" y1=\"%.2f\" y2=\"%.2f\" stroke=\"%s\"/>\n", x,
                      x, y + kLegendHeight, y + kLegendHeight + 4, kSoft);
      Text(x, y + kLegendHeight + 17, 12, kSoft, "middle",
           Format("%.0f%%%s", 100 * share * HeatMap::kWorstError, i == kTicks ? " or more" : ""));
    }
    return y + kLegendHeight + 20;
  }

  void Text(double x, double y, int size, const char* fill, const char* anchor,
            const std::string& text, const char* more = "") {
    body_ +=
        Format("<text x=\"%.2f\" y=\"%.2f\" font-size=\"%d\" fill=\"%s\" text-anchor=\"%s\"%s>", x,
               y, size, fill, anchor, more) +
        Escaped(text) + "</text>\n";
  }

  const HeatMap& map_;
  double left_ = 0, width_ = 0, cell_width_ = 0;
  std::string body_;
};

}  // namespace

std::string HeatMapSvg(const HeatMap& map) {
  return Picture(map).Svg();
}

}  // namespace glint
