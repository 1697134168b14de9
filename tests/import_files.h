#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "formats/import/checkpoint.h"
#include "lib/error.h"

// Writers of small checkpoints, honest and lying, for the tests of formats/import. They work from
// the containers' rules, not from the readers' code, and check nothing.
namespace glint::test {

using namespace std::string_literals;

template <class T>
std::string Bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

inline std::string U16(uint64_t value) {
  return Bytes(static_cast<uint16_t>(value));
}
inline std::string U32(uint64_t value) {
  return Bytes(static_cast<uint32_t>(value));
}
inline std::string U64(uint64_t value) {
  return Bytes(value);
}

inline std::string Floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += Bytes(value);
  return bytes;
}

inline std::string Repeat(const std::string& text, size_t times) {
  std::string result;
  result.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

// A file that must be refused, and words that tell that it was for the right reason.
struct BadFile {
  std::string name, contents, expect;
};

// What Checkpoint::Open says of `path`; empty if it accepts it.
inline std::string OpenError(const std::string& path) {
  try {
    Checkpoint::Open(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A message of the form that every error of a file has: its path first, one short line.
inline bool IsPlainMessage(const std::string& message, const std::string& path) {
  return message.starts_with(path) && message.find('\n') == std::string::npos &&
         message.size() < path.size() + 600;
}

// --- safetensors ---

inline std::string Safetensors(const std::string& header, const std::string& data) {
  return U64(header.size()) + header + data;
}

inline std::string Entry(const std::string& name, const std::string& type, const std::string& shape,
                         uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// --- zip ---

inline uint32_t Crc32(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

// A member; what follows `data` are the lies that it may tell.
struct ZipMember {
  std::string name, data;
  std::string local_name = {};  // in its own header, if not empty
  uint16_t flags = 0, method = 0;
  uint32_t crc_change = 0;
  uint64_t size_change = 0;        // added to the sizes of both headers
  uint64_t local_size_change = 0;  // added to those of its own header
  uint64_t offset_change = 0;
  uint16_t made_by = 0, disk = 0;
  uint32_t attributes = 0;
  uint32_t signature = 0x02014b50, local_signature = 0x04034b50;
  bool streamed = false;  // sizes and checksum after the data, as torch writes them
  bool zip64 = false;     // sizes and offset in extra fields
};

struct ZipOptions {
  bool zip64 = false;
  std::string comment = {}, prefix = {}, suffix = {};
  uint64_t entries_change = 0, directory_change = 0, directory_bytes_change = 0;
  uint64_t comment_length_change = 0;
  uint16_t disk = 0;
  uint64_t end64_entries_change = 0, end64_offset_change = 0, end64_size_change = 0;
  uint64_t locator_change = 0;
  uint32_t disks = 1;
};

inline std::string ZipLocal(const ZipMember& m) {
  const uint64_t size = m.streamed ? 0 : m.data.size() + m.size_change + m.local_size_change;
  const uint32_t crc = m.streamed ? 0 : Crc32(m.data) + m.crc_change;
  const std::string name = m.local_name.empty() ? m.name : m.local_name;
  const std::string extra = m.zip64 ? U16(1) + U16(16) + U64(size) + U64(size) : "";
  const uint64_t shown = m.zip64 ? 0xFFFFFFFF : size;
  return U32(m.local_signature) + U16(20) + U16(m.flags | (m.streamed ? 8 : 0)) + U16(m.method) +
         U32(0) + U32(crc) + U32(shown) + U32(shown) + U16(name.size()) + U16(extra.size()) + name +
         extra;
}

inline std::string ZipCentral(const ZipMember& m, uint64_t offset) {
  const uint64_t size = m.data.size() + m.size_change;
  const uint64_t place = offset + m.offset_change;
  const std::string extra = m.zip64 ? U16(1) + U16(24) + U64(size) + U64(size) + U64(place) : "";
  const uint64_t shown = m.zip64 ? 0xFFFFFFFF : size;
  return U32(m.signature) + U16(m.made_by) + U16(20) + U16(m.flags | (m.streamed ? 8 : 0)) +
         U16(m.method) + U32(0) + U32(Crc32(m.data) + m.crc_change) + U32(shown) + U32(shown) +
         U16(m.name.size()) + U16(extra.size()) + U16(0) + U16(m.disk) + U16(0) +
         U32(m.attributes) + U32(m.zip64 ? 0xFFFFFFFF : place) + m.name + extra;
}

// What follows the central directory of `bytes` bytes at `directory`.
inline std::string ZipEnd(uint64_t entries, uint64_t directory, uint64_t bytes,
                          const ZipOptions& o) {
  std::string end;
  if (o.zip64) {
    const uint64_t count = entries + o.end64_entries_change;
    end += "PK\6\6"s + U64(44 + o.end64_size_change) + U16(45) + U16(45) + U32(0) + U32(0) +
           U64(count) + U64(count) + U64(bytes) + U64(directory + o.end64_offset_change);
    end += "PK\6\7"s + U32(0) + U64(directory + bytes + o.locator_change) + U32(o.disks);
  }
  const uint64_t shown = directory > 0xFFFFFFFF ? 0xFFFFFFFF : directory + o.directory_change;
  return end + "PK\5\6"s + U16(o.disk) + U16(o.disk) + U16(entries) + U16(entries) +
         U32(bytes + o.directory_bytes_change) + U32(shown) +
         U16(o.comment.size() + o.comment_length_change) + o.comment;
}

inline std::string Zip(const std::vector<ZipMember>& members, const ZipOptions& o = {}) {
  std::string file = o.prefix, central;
  for (const ZipMember& m : members) {
    central += ZipCentral(m, file.size());
    file += ZipLocal(m) + m.data;
    if (m.streamed) {
      file += "PK\7\10"s + U32(Crc32(m.data)) + U32(m.data.size()) + U32(m.data.size());
    }
  }
  const std::string end = ZipEnd(members.size() + o.entries_change, file.size(), central.size(), o);
  return file + central + end + o.suffix;
}

// --- pickle, protocol 2 ---

inline std::string Global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string Str(const std::string& text) {
  return "X" + U32(text.size()) + text;
}
inline std::string Long(int64_t number) {
  return "\x8a\x08"s + Bytes(number);
}
inline std::string Tuple(const std::string& items) {
  return "(" + items + "t";
}
inline std::string Longs(std::initializer_list<int64_t> numbers) {
  std::string items;
  for (const int64_t number : numbers) items += Long(number);
  return Tuple(items);
}
inline std::string OrderedDict() {
  return Global("collections", "OrderedDict") + ")R";
}

inline std::string Storage(const std::string& type, const std::string& key, int64_t elements) {
  return Tuple(Str("storage") + Global("torch", type) + Str(key) + Str("cpu") + Long(elements)) +
         "Q";
}

inline std::string Rebuild(const std::string& storage, int64_t offset, const std::string& sizes,
                           const std::string& strides, const std::string& hooks = OrderedDict()) {
  return Global("torch._utils", "_rebuild_tensor_v2") +
         Tuple(storage + Long(offset) + sizes + strides + "\x89" + hooks) + "R";
}

// A whole pickle of a dictionary with these pairs.
inline std::string DictPickle(const std::string& pairs) {
  return "\x80\x02}("s + pairs + "u.";
}

inline std::vector<ZipMember> TorchMembers(const std::string& pickle,
                                           const std::vector<std::string>& storages) {
  std::vector<ZipMember> members = {{.name = "archive/data.pkl", .data = pickle}};
  for (size_t i = 0; i < storages.size(); ++i) {
    members.push_back({.name = "archive/data/" + std::to_string(i), .data = storages[i]});
  }
  members.push_back({.name = "archive/version", .data = "3\n"});
  return members;
}

inline std::string Torch(const std::string& pickle, const std::vector<std::string>& storages) {
  return Zip(TorchMembers(pickle, storages));
}

}  // namespace glint::test
