#include "formats/prefix.h"

#include "formats/checksum.h"
#include "formats/reader.h"
#include "lib/error.h"

namespace glint {
namespace {

// Files that people mistake for a .glint file, by their first bytes, and what to do about it.
struct Lookalike {
  std::string_view begin;
  const char* advice;
};
constexpr Lookalike kLookalikes[] = {
    {"\x89GLINT", "a .glint file damaged by a transfer in text mode: copy it again as binary"},
    {"GGUF", "a GGUF file: use glint convert"},
    {"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint: use glint convert on its folder"},
    {"version https://git-lfs",
     "a git-lfs pointer, not the file itself: fetch it with git lfs pull"},
    {"<!DOCTYPE", "a web page, not the file itself: the download failed"},
    {"<!doctype", "a web page, not the file itself: the download failed"},
    {"<html", "a web page, not the file itself: the download failed"},
    {"\x1F\x8B", "a gzip archive: unpack it first"},
};

// The fields of a prefix, which is whole.
struct Fields {
  uint32_t version = 0, reserved = 0;
  uint64_t header_bytes = 0, checksum = 0;
};
Fields ReadFields(std::string_view head, const std::string& path) {
  Reader reader({reinterpret_cast<const uint8_t*>(head.data()), head.size()}, path);
  reader.Take(kMagic.size(), "magic");
  Fields fields;
  fields.version = reader.Read<uint32_t>("version");
  fields.reserved = reader.Read<uint32_t>("reserved");
  fields.header_bytes = reader.Read<uint64_t>("header length");
  fields.checksum = reader.Read<uint64_t>("checksum");
  return fields;
}

void AppendUint(std::string* bytes, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes->push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

[[noreturn]] void FailMagic(std::string_view prefix, const std::string& path) {
  std::string what = "not a .glint file";
  for (const Lookalike& lookalike : kLookalikes) {
    if (prefix.substr(0, lookalike.begin.size()) == lookalike.begin) {
      throw Error(path + ": " + what + " but " + lookalike.advice);
    }
  }
  // safetensors: the length of a JSON header, then its brace.
  if (prefix.size() > 8 && prefix[8] == '{' &&
      prefix.substr(4, 4) == std::string_view("\0\0\0", 4)) {
    throw Error(path + ": " + what + " but a safetensors file: use glint convert on its folder");
  }
  throw Error(path + ": " + what + ": expected it to begin with " + Quoted(kMagic) + ", got " +
              Quoted(prefix.substr(0, kMagic.size())));
}

// The checksum covers the head with its own field taken as zero.
uint64_t HeadChecksum(std::string_view head) {
  const char zeros[kPrefixBytes - kChecksumAt] = {};
  Checksum checksum;
  checksum.Update(head.data(), kChecksumAt);
  checksum.Update(zeros, sizeof(zeros));
  checksum.Update(head.data() + kPrefixBytes, head.size() - kPrefixBytes);
  return checksum.Digest();
}

}  // namespace

std::string HeadBytes(std::string_view text) {
  std::string head(kMagic);
  AppendUint(&head, kFormatVersion, 4);
  AppendUint(&head, 0, 4);
  AppendUint(&head, text.size(), 8);
  AppendUint(&head, 0, 8);
  head += text;
  head.resize(RoundUp(head.size(), kDataAlignment), '\0');
  std::string checksum;
  AppendUint(&checksum, HeadChecksum(head), 8);
  return head.replace(kChecksumAt, checksum.size(), checksum);
}

uint64_t CheckPrefix(std::string_view prefix, uint64_t file_bytes, const std::string& path) {
  if (file_bytes == 0) throw Error(path + ": the file is empty");
  if (prefix.substr(0, kMagic.size()) != kMagic.substr(0, prefix.size())) FailMagic(prefix, path);
  if (prefix.size() < kPrefixBytes) {
    throw Error(path + ": truncated: a .glint file has at least " + std::to_string(kPrefixBytes) +
                " bytes, this one has " + std::to_string(file_bytes));
  }
  const Fields fields = ReadFields(prefix, path);
  if (fields.version != kFormatVersion) {
    throw Error(path + ": format version " + std::to_string(fields.version) +
                ", this build reads version " + std::to_string(kFormatVersion));
  }
  if (fields.reserved != 0) {
    throw Error(path + ": reserved field: expected 0, got " + std::to_string(fields.reserved));
  }
  const uint64_t header_bytes = fields.header_bytes;
  if (header_bytes == 0 || header_bytes > kMaxHeaderBytes) {
    throw Error(path + ": header length: expected 1 to " + std::to_string(kMaxHeaderBytes) +
                " bytes, got " + std::to_string(header_bytes));
  }
  const uint64_t head_bytes = RoundUp(kPrefixBytes + header_bytes, kDataAlignment);
  if (head_bytes > file_bytes) {
    throw Error(path + ": truncated: the header ends at byte " + std::to_string(head_bytes) +
                " with its padding, the file has " + std::to_string(file_bytes) + " bytes");
  }
  return head_bytes;
}

uint64_t StoredChecksum(std::string_view head) { return ReadFields(head, "head").checksum; }

std::string_view CheckHead(std::string_view head, const std::string& path) {
  const Fields fields = ReadFields(head, path);
  const uint64_t stored = fields.checksum;
  const uint64_t found = HeadChecksum(head);
  if (stored != found) {
    throw Error(path + ": header: its checksum is " + ChecksumText(found) + ", the file says " +
                ChecksumText(stored) + ": the file is damaged");
  }
  const uint64_t end = kPrefixBytes + fields.header_bytes;
  const size_t bad = head.find_first_not_of('\0', end);
  if (bad != std::string_view::npos) {
    throw Error(path + ": header: the padding after it is not zero at byte " + std::to_string(bad));
  }
  return head.substr(kPrefixBytes, end - kPrefixBytes);
}

}  // namespace glint
