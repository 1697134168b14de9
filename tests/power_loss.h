#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/io_shim.h"

// What a disk may hold after the power was cut: a replay of recorded calls. A change of a file is sure
// to be there once the file was synced, a change of names once the folder was; of the others any may
// be there or not, and a write may be there in part, by sectors. That is less than any file system
// in use promises (POSIX promises no more).
namespace glint::test {

class PowerLoss {
 public:
  // `before`: the folder's files and their contents before the first event.
  PowerLoss(const std::vector<IoEvent>& events, std::map<std::string, std::string> before);

  size_t n_events() const { return events_.size(); }
  // The folder's files by name after the power was cut behind the first `n` events, where `keeps`
  // says for each change that was not synced whether it, or this sector of it, had reached the disk.
  std::map<std::string, std::string> After(size_t n, const std::function<bool()>& keeps) const;

 private:
  std::vector<IoEvent> events_;
  std::map<std::string, std::string> before_;
};

}  // namespace glint::test
