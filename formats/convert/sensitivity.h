#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "formats/convert/calibration.h"

namespace glint {

// How much a model's result moves when one matrix alone is stored in the type that `type_of` names: the
// squared change of what the head reads, relative to its square, on the first `n_windows` windows. By
// name, of the matrices of the layers that are to be encoded, experts' excepted: there are too many, and
// what a text tells of each is little. Each distorted copy of the activations goes
// through all stages behind its matrix, so this costs half as many runs as there are matrices, and memory
// for as many copies of the windows' activations.
using Sensitivities = std::map<std::string, double>;
Sensitivities MeasureSensitivities(StagedModel& model, const SourceModel& source,
                                   const Moments& moments, const TypeOf& type_of, size_t n_windows,
                                   const std::function<void(double)>& progress);

// Spends `extra_bits` per weight (on average over the matrices that `sensitivities` names) where they
// take most of the sensitivity away, one step of types (int3, int4, int4x, int6, int8) after another.
// A matrix's sensitivity is taken to change with the error of its outputs. Returns the types of those
// that get a better one than `type_of` names.
std::map<std::string, DType> SpendBits(const SourceModel& source, const Moments& moments,
                                       const Sensitivities& sensitivities, const TypeOf& type_of,
                                       double extra_bits, ThreadPool& pool);

}  // namespace glint
