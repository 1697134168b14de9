#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace glint {

// A picture of numbers per layer and kind of matrix. Colours stand for a relative error, on a scale
// that is the same in every picture: linear from 0 (nearly white) to kWorstError (dark), and dark
// above.
struct HeatMap {
  static constexpr double kWorstError = 0.2;

  struct Cell {
    std::string name;  // of the tensor; shown where the pointer rests
    std::string type;  // written into the cell if there is room
    double error = 0;  // relative; infinite counts as above the scale
  };
  std::string title, subtitle;
  size_t n_layers = 0;
  std::vector<std::string> kinds;                   // rows, from above
  std::map<std::pair<size_t, size_t>, Cell> cells;  // by (kind, layer); some may be missing
  std::vector<Cell> others;                         // below, a row each
};

// An SVG document: layers along x, kinds along y, the others and a legend below. Plain shapes and
// text; names may hold any bytes.
std::string HeatMapSvg(const HeatMap& map);

}  // namespace glint
