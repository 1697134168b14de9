#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "examples/commands/bench_measure.h"

// What `bench` says about its measurements, for programs and for people.
namespace glint {

// One measurement in the form that docs promise (bench/README.md). `load`: --load.
nlohmann::ordered_json MeasurementJson(const Measurement& measurement, const Session& session,
                                       const std::string& load);

// One measurement in five lines; several as a table; their profiles below.
void PrintMeasurements(const std::vector<nlohmann::ordered_json>& measurements, const Model& model);

}  // namespace glint
