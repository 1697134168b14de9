#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/import/input_file.h"

namespace glint {

// A stored (not compressed) member of a zip file.
struct ZipRecord {
  uint64_t offset = 0;  // of its data in the file
  uint64_t bytes = 0;
  uint32_t crc = 0;  // crc32 of its data
};

// Members by their whole name.
using ZipDirectory = std::map<std::string, ZipRecord, std::less<>>;

// The members of a zip file (zip64 too) as torch.save writes one. The central directory is checked
// against each member's own header; compressed, encrypted, overlapping or doubly named members and
// names that leave the archive are refused. No data is read. Throws Error.
ZipDirectory ReadZipDirectory(const InputFile& file);

// The data of a small member, its checksum compared. Throws Error if it has more than `limit`
// bytes.
std::vector<uint8_t> ReadZipRecord(const InputFile& file, std::string_view name,
                                   const ZipRecord& record, uint64_t limit);

}  // namespace glint
