#include "formats/import/torch_zip.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "formats/reader.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;        // "PK\5\6"
constexpr uint32_t kEnd64Signature = 0x06064b50;      // "PK\6\6"
constexpr uint32_t kLocator64Signature = 0x07064b50;  // "PK\6\7"
constexpr uint32_t kCentralSignature = 0x02014b50;    // "PK\1\2"
constexpr uint32_t kLocalSignature = 0x04034b50;      // "PK\3\4"
constexpr uint64_t kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20, kLocalBytes = 30;
constexpr uint64_t kCentralBytes = 46;  // without name, extra field and comment
constexpr uint64_t kMaxCommentBytes = 65535;
constexpr uint64_t kMaxDirectoryBytes = 100'000'000;
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kEncryptedFlags = 0x2041;  // encrypted, strongly encrypted, masked headers
constexpr uint16_t kStreamedFlag = 0x0008;    // sizes and checksum follow the data
constexpr uint16_t kMax16 = 0xFFFF;
constexpr uint32_t kMax32 = 0xFFFFFFFF;

// Where the central directory lies.
struct Directory {
  uint64_t entries = 0, offset = 0, bytes = 0;
};

// A central entry, its 32-bit fields already replaced by those of its zip64 extra field.
struct Entry {
  std::string name;
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t packed = 0, bytes = 0, local = 0;
};

std::string Where(const InputFile& file, const char* part) {
  return file.path() + ": zip " + part;
}

std::vector<uint8_t> ReadPart(const InputFile& file, uint64_t offset, uint64_t bytes) {
  std::vector<uint8_t> part(static_cast<size_t>(bytes));
  file.ReadAt(offset, part.data(), bytes);
  return part;
}

// The offset of the end record: the last one whose comment ends with the file.
uint64_t FindEnd(const InputFile& file) {
  const uint64_t tail = std::min(file.size(), kEndBytes + kMaxCommentBytes);
  const std::vector<uint8_t> bytes = ReadPart(file, file.size() - tail, tail);
  for (uint64_t left = kEndBytes; left <= tail; ++left) {
    const uint8_t* at = bytes.data() + (tail - left);
    uint32_t signature;
    uint16_t comment;
    std::memcpy(&signature, at, 4);
    std::memcpy(&comment, at + 20, 2);
    if (signature == kEndSignature && comment == left - kEndBytes) return file.size() - left;
  }
  throw Error(Where(file, "directory") +
              ": no end record was found: the file is cut short or has "
              "bytes after its end");
}

// Reads the zip64 end record that ends at `locator`, just before the locator.
Directory ReadEnd64(const InputFile& file, uint64_t locator) {
  const std::vector<uint8_t> bytes = ReadPart(file, locator, kLocator64Bytes);
  Reader reader(bytes, Where(file, "locator"), locator);
  reader.Take(4, "signature");
  const auto disk = reader.Read<uint32_t>("disk");
  const auto offset = reader.Read<uint64_t>("offset");
  const auto disks = reader.Read<uint32_t>("disks");
  if (disk != 0 || disks != 1) reader.Fail("expected one disk, got " + std::to_string(disks));
  if (offset > locator || locator - offset < kEnd64Bytes) {
    reader.Fail("the zip64 end record at " + std::to_string(offset) + " does not fit before it");
  }
  const std::vector<uint8_t> record = ReadPart(file, offset, kEnd64Bytes);
  Reader end(record, Where(file, "end record"), offset);
  if (end.Read<uint32_t>("signature") != kEnd64Signature) end.Fail("wrong signature");
  if (end.Read<uint64_t>("size") != locator - offset - 12) end.Fail("wrong size");
  end.Take(4, "versions");
  if (end.Read<uint64_t>("disks") != 0) end.Fail("expected one disk");
  const auto here = end.Read<uint64_t>("entries");
  Directory directory;
  directory.entries = end.Read<uint64_t>("entries");
  if (here != directory.entries) end.Fail("expected one disk");
  directory.bytes = end.Read<uint64_t>("directory size");
  directory.offset = end.Read<uint64_t>("directory offset");
  if (directory.offset > offset || directory.bytes != offset - directory.offset) {
    end.Fail("the directory of " + std::to_string(directory.bytes) + " bytes at " +
             std::to_string(directory.offset) + " does not end here");
  }
  return directory;
}

Directory FindDirectory(const InputFile& file) {
  const uint64_t end = FindEnd(file);
  const std::vector<uint8_t> bytes = ReadPart(file, end, kEndBytes);
  Reader reader(bytes, Where(file, "end record"), end);
  reader.Take(4, "signature");
  const auto disk = reader.Read<uint16_t>("disk");
  const auto start_disk = reader.Read<uint16_t>("disk");
  const auto here = reader.Read<uint16_t>("entries");
  const auto entries = reader.Read<uint16_t>("entries");
  const auto size = reader.Read<uint32_t>("directory size");
  const auto offset = reader.Read<uint32_t>("directory offset");
  Directory directory{entries, offset, size};
  bool is_zip64 = false;
  if (end >= kLocator64Bytes) {
    uint32_t signature = 0;
    file.ReadAt(end - kLocator64Bytes, &signature, 4);
    is_zip64 = signature == kLocator64Signature;
  }
  if (is_zip64) {
    directory = ReadEnd64(file, end - kLocator64Bytes);
    // A field that is not "see zip64" must say the same, or two readers would see two archives.
    if ((disk != kMax16 && disk != 0) || (start_disk != kMax16 && start_disk != 0) ||
        (entries != kMax16 && entries != directory.entries) || here != entries ||
        (size != kMax32 && size != directory.bytes) ||
        (offset != kMax32 && offset != directory.offset)) {
      reader.Fail("the end record and the zip64 end record differ");
    }
  } else {
    if (disk != 0 || start_disk != 0 || here != entries) reader.Fail("expected one disk");
    if (directory.offset > end || directory.bytes != end - directory.offset) {
      reader.Fail("the directory of " + std::to_string(size) + " bytes at " +
                  std::to_string(offset) + " does not end here");
    }
  }
  if (directory.bytes > kMaxDirectoryBytes || directory.entries > directory.bytes / kCentralBytes) {
    reader.Fail(std::to_string(directory.entries) + " entries in a directory of " +
                std::to_string(directory.bytes) + " bytes");
  }
  return directory;
}

// Replaces those of `fields` that are 2^32 - 1 by the numbers of the zip64 extra field, in its
// order.
void ApplyZip64(std::span<const uint8_t> extra, const std::string& where,
                std::initializer_list<uint64_t*> fields) {
  Reader reader(extra, where + ": extra field");
  while (reader.remaining() >= 4) {
    const auto id = reader.Read<uint16_t>("id");
    const auto bytes = reader.Read<uint16_t>("size");
    const uint8_t* data = reader.Take(bytes, "field");
    if (id != kZip64Extra) continue;
    Reader numbers({data, bytes}, reader.where());
    for (uint64_t* field : fields) {
      if (*field == kMax32) *field = numbers.Read<uint64_t>("zip64 number");
    }
    return;
  }
}

void CheckRecordName(std::string_view name, const std::string& where) {
  using namespace std::string_view_literals;
  const bool is_plain = !name.empty() && IsUtf8(name) && name.front() != '/' &&
                        name.find_first_of("\\:\0"sv) == std::string_view::npos;
  bool has_dots = false;
  for (std::string_view rest = name; !rest.empty();) {
    const size_t part = std::min(rest.find('/'), rest.size());
    has_dots |= rest.substr(0, part) == ".." || rest.substr(0, part) == ".";
    rest.remove_prefix(std::min(part + 1, rest.size()));
  }
  if (!is_plain || has_dots) throw Error(where + ": unsafe member name " + Quoted(name));
}

Entry ReadCentral(Reader* reader) {
  if (reader->Read<uint32_t>("signature") != kCentralSignature) reader->Fail("wrong signature");
  Entry entry;
  const auto made_by = reader->Read<uint16_t>("version");
  reader->Take(2, "version");
  entry.flags = reader->Read<uint16_t>("flags");
  entry.method = reader->Read<uint16_t>("method");
  reader->Take(4, "time");
  entry.crc = reader->Read<uint32_t>("checksum");
  entry.packed = reader->Read<uint32_t>("size");
  entry.bytes = reader->Read<uint32_t>("size");
  const auto name_bytes = reader->Read<uint16_t>("name length");
  const auto extra_bytes = reader->Read<uint16_t>("extra length");
  const auto comment_bytes = reader->Read<uint16_t>("comment length");
  const auto disk = reader->Read<uint16_t>("disk");
  reader->Take(2, "attributes");
  const auto attributes = reader->Read<uint32_t>("attributes");
  entry.local = reader->Read<uint32_t>("offset");
  entry.name = reader->TakeString(name_bytes, "name");
  const uint8_t* extra = reader->Take(extra_bytes, "extra field");
  reader->Take(comment_bytes, "comment");
  ApplyZip64({extra, extra_bytes}, reader->where(), {&entry.bytes, &entry.packed, &entry.local});

  CheckRecordName(entry.name, reader->where());
  const bool is_link = made_by >> 8 == 3 && (attributes >> 16 & 0170000) == 0120000;  // 3: Unix
  if (is_link) reader->Fail("the member " + Quoted(entry.name) + " is a symbolic link");
  if (disk != 0) reader->Fail("the member " + Quoted(entry.name) + " is on another disk");
  return entry;
}

// Compares a member's own header with its central entry and gives the place of its data.
ZipRecord ReadLocal(const InputFile& file, const Entry& entry, uint64_t limit) {
  const std::string where = file.path() + ": zip member " + Quoted(entry.name);
  if (entry.flags & kEncryptedFlags) throw Error(where + ": it is encrypted");
  if (entry.method != 0) {
    throw Error(where + ": it is compressed (method " + std::to_string(entry.method) +
                "): load the checkpoint and save it again with torch.save");
  }
  if (entry.packed != entry.bytes) throw Error(where + ": its two sizes differ");
  if (entry.local > limit || limit - entry.local < kLocalBytes) {
    throw Error(where + ": its header at byte " + std::to_string(entry.local) +
                " is not before the directory");
  }
  const std::vector<uint8_t> bytes = ReadPart(file, entry.local, kLocalBytes);
  Reader reader(bytes, where, entry.local);
  if (reader.Read<uint32_t>("signature") != kLocalSignature) reader.Fail("wrong signature");
  reader.Take(2, "version");
  const auto flags = reader.Read<uint16_t>("flags");
  const auto method = reader.Read<uint16_t>("method");
  reader.Take(4, "time");
  const auto crc = reader.Read<uint32_t>("checksum");
  uint64_t packed = reader.Read<uint32_t>("size");
  uint64_t size = reader.Read<uint32_t>("size");
  const auto name_bytes = reader.Read<uint16_t>("name length");
  const auto extra_bytes = reader.Read<uint16_t>("extra length");
  const uint64_t names = entry.local + kLocalBytes;
  ZipRecord record{names + name_bytes + extra_bytes, entry.bytes, entry.crc};
  if (record.offset > limit || entry.bytes > limit - record.offset) {
    reader.Fail("its " + std::to_string(entry.bytes) + " bytes are not before the directory");
  }
  const std::vector<uint8_t> tail = ReadPart(file, names, name_bytes + extra_bytes);
  const std::span<const uint8_t> tail_bytes(tail);
  const std::string_view name(reinterpret_cast<const char*>(tail.data()), name_bytes);
  if (name != entry.name) reader.Fail("its own header names it " + Quoted(name));
  ApplyZip64(tail_bytes.subspan(name_bytes), where, {&size, &packed});
  // A streamed member may leave the numbers to a descriptor after the data, as torch does.
  const bool is_streamed = (flags & kStreamedFlag) != 0;
  const auto agrees = [&](uint64_t own, uint64_t central) {
    return own == central || (is_streamed && own == 0);
  };
  if (flags != entry.flags || method != entry.method || !agrees(size, entry.bytes) ||
      !agrees(packed, entry.packed) || !agrees(crc, entry.crc)) {
    reader.Fail("its own header and the directory differ");
  }
  return record;
}

// Two members over the same bytes are how a small archive unpacks to a huge one.
void CheckDisjoint(std::vector<std::pair<uint64_t, uint64_t>> ranges, const std::string& where) {
  std::sort(ranges.begin(), ranges.end());
  uint64_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin < covered) {
      throw Error(where + ": two members overlap at byte " + std::to_string(begin));
    }
    covered = end;
  }
}

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0);
    table[i] = value;
  }
  return table;
}

uint32_t Crc32(std::span<const uint8_t> bytes) {
  static constexpr std::array<uint32_t, 256> kTable = MakeCrcTable();
  uint32_t crc = kMax32;
  for (const uint8_t byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ byte) & 0xFF];
  return ~crc;
}

}  // namespace

ZipDirectory ReadZipDirectory(const InputFile& file) {
  uint32_t signature = 0;
  if (file.size() >= 4) file.ReadAt(0, &signature, 4);
  if (signature != kLocalSignature) {
    const std::string kind = DescribeKind(file);
    throw Error(file.path() + ": not a PyTorch zip checkpoint: " +
                (kind.empty() ? "it does not begin with 'PK'" : "this looks like " + kind));
  }
  const Directory place = FindDirectory(file);
  const std::vector<uint8_t> bytes = ReadPart(file, place.offset, place.bytes);
  Reader reader(bytes, Where(file, "directory"), place.offset);
  ZipDirectory directory;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (uint64_t i = 0; i < place.entries; ++i) {
    const Entry entry = ReadCentral(&reader);
    const ZipRecord record = ReadLocal(file, entry, place.offset);
    ranges.emplace_back(entry.local, record.offset + record.bytes);
    if (!directory.emplace(entry.name, record).second) {
      reader.Fail("the member " + Quoted(entry.name) + " appears twice");
    }
  }
  if (!reader.AtEnd()) reader.Fail("bytes after the last entry");
  CheckDisjoint(std::move(ranges), Where(file, "directory"));
  return directory;
}

std::vector<uint8_t> ReadZipRecord(const InputFile& file, std::string_view name,
                                   const ZipRecord& record, uint64_t limit) {
  const std::string where = file.path() + ": zip member " + Quoted(name);
  if (record.bytes > limit) {
    throw Error(where + ": expected at most " + std::to_string(limit) + " bytes, got " +
                std::to_string(record.bytes));
  }
  std::vector<uint8_t> bytes = ReadPart(file, record.offset, record.bytes);
  if (Crc32(bytes) != record.crc) throw Error(where + ": its checksum is wrong");
  return bytes;
}

}  // namespace glint
