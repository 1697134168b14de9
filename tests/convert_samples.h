#pragma once
#include <memory>
#include <string>

#include "formats/convert/convert.h"
#include "lib/model.h"
#include "tests/test_util.h"

namespace glint::test {

// The model of a checkpoint, its matrices in this type.
inline std::unique_ptr<Model> ConvertAndOpen(const std::string& source, DType type,
                                             bool search = true) {
  ConvertOptions options;
  options.source = source;
  options.write.output = TempDir() + "/model.glint";
  options.has_type = true;
  options.type = type;
  options.search = search;
  Convert(options);
  return Model::Open(options.write.output);
}

}  // namespace glint::test
