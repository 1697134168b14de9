#include "tests/power_loss.h"

#include <algorithm>

namespace glint::test {
namespace {

constexpr size_t kSector = 512;

// Writes `data` into `file` sector by sector of the file, where `keeps` says so.
void WriteSectors(std::string* file, uint64_t offset, const std::string& data,
                  const std::function<bool()>& keeps) {
  for (size_t at = 0; at < data.size();) {
    const size_t size = std::min<size_t>(data.size() - at, kSector - (offset + at) % kSector);
    if (keeps()) {
      file->resize(std::max<size_t>(file->size(), offset + at + size));
      file->replace(offset + at, size, data, at, size);
    }
    at += size;
  }
}

}  // namespace

PowerLoss::PowerLoss(const std::vector<IoEvent>& events, std::map<std::string, std::string> before)
    : events_(events), before_(std::move(before)) {}

std::map<std::string, std::string> PowerLoss::After(size_t n,
                                                    const std::function<bool()>& keeps) const {
  // Which of the events are known to be on the disk.
  std::vector<bool> is_sure(n, false);
  for (size_t i = 0; i < n; ++i) {
    const IoEvent& sync = events_[i];
    for (size_t j = 0; j < i; ++j) {
      const IoEvent::Kind kind = events_[j].kind;
      const bool is_data = kind == IoEvent::kWrite || kind == IoEvent::kResize;
      // The file's own name survives with its data on the file systems in use; not relied on here.
      if (sync.kind == IoEvent::kSync && is_data && events_[j].path == sync.path) is_sure[j] = true;
      if (sync.kind == IoEvent::kSyncFolder && !is_data) is_sure[j] = true;
    }
  }
  // Files by number, since names come and go; opened_ is what a path meant when it was opened.
  std::map<std::string, std::shared_ptr<std::string>> names, opened;
  for (const auto& [name, bytes] : before_) names[name] = std::make_shared<std::string>(bytes);
  const std::function<bool()> always = [] { return true; };
  for (size_t i = 0; i < n; ++i) {
    const IoEvent& event = events_[i];
    const std::function<bool()>& kept = is_sure[i] ? always : keeps;
    switch (event.kind) {
      case IoEvent::kCreate:
        opened[event.path] = std::make_shared<std::string>();
        if (kept()) names[event.path] = opened[event.path];
        break;
      case IoEvent::kWrite:
        WriteSectors(opened.at(event.path).get(), event.offset, event.data, kept);
        break;
      case IoEvent::kResize:
        if (kept()) opened.at(event.path)->resize(event.offset);
        break;
      case IoEvent::kRename:
        // A name that did not reach the disk leads to the file all the same once it has another.
        if (!kept()) break;
        names[event.new_path] = opened.at(event.path);
        names.erase(event.path);
        break;
      case IoEvent::kLink:
        if (kept()) names[event.new_path] = opened.at(event.path);
        break;
      case IoEvent::kUnlink:
        if (kept()) names.erase(event.path);
        break;
      case IoEvent::kSync:
      case IoEvent::kSyncFolder:
        break;
    }
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, bytes] : names) files[name] = *bytes;
  return files;
}

}  // namespace glint::test
