#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

// Stands between the library in this test program and the C library's calls that change files: fails
// any of them, cuts writes short, and records what was done. A program that links io_shim.cc has its
// own open, pwrite, fsync, ... which go on to the real ones. Linux; calls of several threads are in
// some order.
namespace glint::test {

// One change of the file system, in the order in which the calls returned.
struct IoEvent {
  enum Kind { kCreate, kWrite, kResize, kSync, kSyncFolder, kRename, kLink, kUnlink };
  Kind kind;
  std::string path;      // of the file, as it was opened; kRename and kLink: the old name
  std::string new_path;  // kRename and kLink
  uint64_t offset = 0;   // kWrite; kResize: the size
  std::string data;      // kWrite
};

class IoShim {
 public:
  // Looks at what happens under this folder, and at nothing else.
  explicit IoShim(const std::string& folder);
  ~IoShim();
  IoShim(const IoShim&) = delete;

  // The call of this number, from 0 on, does nothing and fails with this errno; close closes.
  void FailCall(size_t number, int error);
  // Every call of this name fails ("open", "pwrite", ...; with "open" only those that create).
  void FailAll(const std::string& name, int error);
  // Every second write is interrupted before it wrote anything, the others write a part.
  void CutWrites();

  size_t calls() const;          // seen so far
  std::string failed() const;    // the name of the call that was made to fail; empty: none
  const std::vector<IoEvent>& events() const;
};

}  // namespace glint::test
