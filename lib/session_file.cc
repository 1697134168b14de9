#include "lib/session_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <new>

#include "formats/checksum.h"
#include "formats/mapped_file.h"
#include "formats/output_file.h"
#include "lib/checked_math.h"
#include "lib/error.h"
#include "lib/version.h"

namespace glint {
namespace {

// Numbers are written as they lie in memory.
static_assert(std::endian::native == std::endian::little, "session files are little-endian");

constexpr char kImageMagic[8] = {'\x89', 'G', 'L', 'S', 'E', 'S', 'S', '\n'};
constexpr uint32_t kImageVersion = 1;

// What an image begins with (docs/FORMAT.md 11).
struct Head {
  char magic[8];
  uint32_t version, numerics;
  uint64_t model;
  uint32_t kv_type, output;
  uint32_t n_layers, kv_heads, head_dim, n_adapters;
  uint64_t length, prompt_length, prefix_len, mask_at;
  uint64_t adapter_prefix, n_logits;
};
static_assert(sizeof(Head) == 96);

// An adapter in use.
struct AdapterRow {
  uint64_t hash;
  float scale;
  uint32_t reserved;
};
static_assert(sizeof(AdapterRow) == 16);

constexpr uint64_t kChecksumBytes = sizeof(uint64_t);

// Gets an image piece by piece.
using Put = std::function<void(const void* data, size_t bytes)>;

}  // namespace

// The one thing beside Session that knows its state.
class SessionImage {
 public:
  static uint64_t Bytes(const Session& s) { return BytesFor(s, MakeHead(s)); }

  // All but the checksum.
  static void Write(const Session& s, const Put& put) {
    const Head head = MakeHead(s);
    put(&head, sizeof head);
    for (const AdapterUse& use : s.adapters_) {
      const AdapterRow row{use.adapter->file().Hash(), use.scale, 0};
      put(&row, sizeof row);
    }
    put(s.ids_.data(), s.length_ * sizeof(int32_t));
    put(s.logits_.data(), s.n_logits_ * sizeof(float));
    std::vector<uint8_t> entry(s.cache_->EntryBytes());
    ForEntries(s, s.prefix_length_ + s.length_, [&](size_t layer, size_t h, size_t position) {
      s.cache_->ReadEntry(layer, h, position, entry.data());
      put(entry.data(), entry.size());
    });
  }

  static void Forget(Session& s) {
    s.held_ = s.written_ = s.kept_ = s.floor_ = 0;
    s.length_ = s.prompt_length_ = s.batch_size_ = s.n_logits_ = 0;
  }

  // Everything that can be said without the rest of the image. Throws Error unless an image of
  // `bytes` bytes that begins with `head` and `adapters` is one that this session can take.
  static void CheckHead(const Session& s, const Head& head, uint64_t bytes,
                        const std::string& where);
  static void CheckAdapters(const Session& s, std::span<const uint8_t> image,
                            const std::string& where);
  // `image` has passed both, and its checksum is right.
  static void Read(Session& s, std::span<const uint8_t> image, const std::string& where);

 private:
  static Head MakeHead(const Session& s);
  static uint64_t BytesFor(const Session& s, const Head& head);

  // Of the layer's cache entries below `end`: the first that a token at `end` or later may see. An
  // adapter's prefix is the adapter's.
  static size_t FirstEntry(const Session& s, size_t layer, size_t end) {
    const size_t window = s.prompt_plan_->windows()[layer];
    const size_t first = window == 0 || end < window ? 0 : end + 1 - window;
    return std::max(first, s.prefix_length_);
  }
  template <class Fn>
  static void ForEntries(const Session& s, size_t end, const Fn& fn) {
    for (size_t layer = 0; layer < s.prompt_plan_->n_layers(); ++layer) {
      for (size_t head = 0; head < s.prompt_plan_->kv_heads(); ++head) {
        for (size_t i = FirstEntry(s, layer, end); i < end; ++i) fn(layer, head, i);
      }
    }
  }
};

Head SessionImage::MakeHead(const Session& s) {
  const std::string& path = s.model_.file().path();
  if (s.length_ == 0) throw Error(path + ": there is no sequence to save");
  const auto check_hash = [](const GlintFile& file) {
    if (file.Hash() != 0) return file.Hash();
    throw Error(file.path() + ": was converted in memory and has no checksums to know it by again: "
                "its sessions cannot be saved (glint convert makes a file)");
  };
  for (const AdapterUse& use : s.adapters_) check_hash(use.adapter->file());
  Head head{};
  std::copy(std::begin(kImageMagic), std::end(kImageMagic), head.magic);
  head.version = kImageVersion;
  head.numerics = kNumerics;
  head.model = check_hash(s.model_.file());
  head.kv_type = static_cast<uint32_t>(s.cache_->type());
  head.output = static_cast<uint32_t>(s.options_.output);
  head.n_layers = static_cast<uint32_t>(s.prompt_plan_->n_layers());
  head.kv_heads = static_cast<uint32_t>(s.prompt_plan_->kv_heads());
  head.head_dim = static_cast<uint32_t>(s.prompt_plan_->head_dim());
  head.n_adapters = static_cast<uint32_t>(s.adapters_.size());
  head.length = s.length_;
  head.prompt_length = s.prompt_length_;
  head.prefix_len = s.sequence_.prefix_len;
  head.mask_at = static_cast<uint64_t>(s.sequence_.mask_at);
  head.adapter_prefix = s.prefix_length_;
  head.n_logits = s.n_logits_;
  return head;
}

// The counts of `head` are within what the session has.
uint64_t SessionImage::BytesFor(const Session& s, const Head& head) {
  const char* const what = "session";
  const size_t end = s.prefix_length_ + head.length;
  uint64_t entries = 0;
  for (size_t layer = 0; layer < s.prompt_plan_->n_layers(); ++layer) {
    entries = CheckedPlus(
        entries, CheckedTimes(end - FirstEntry(s, layer, end), s.prompt_plan_->kv_heads(), what),
        what);
  }
  const uint64_t fixed = sizeof(Head) + head.n_adapters * sizeof(AdapterRow) +
                         head.length * sizeof(int32_t) + head.n_logits * sizeof(float) +
                         kChecksumBytes;
  return CheckedPlus(fixed, CheckedTimes(entries, s.cache_->EntryBytes(), what), what);
}

void SessionImage::CheckHead(const Session& s, const Head& head, uint64_t bytes,
                             const std::string& where) {
  const auto expect = [&](const char* what, uint64_t expected, uint64_t found) {
    if (expected == found) return;
    throw Error(where + ": " + what + ": expected " + std::to_string(expected) + ", found " +
                std::to_string(found));
  };
  if (!std::equal(std::begin(kImageMagic), std::end(kImageMagic), head.magic)) {
    throw Error(where + ": is no saved session");
  }
  expect("version of the format", kImageVersion, head.version);
  if (s.model_.file().Hash() == 0 || head.model != s.model_.file().Hash()) {
    throw Error(where + ": was saved with another model (hash " + ChecksumText(head.model) +
                ") than " + s.model_.file().path() + " (hash " +
                ChecksumText(s.model_.file().Hash()) + ")");
  }
  expect("numerics", kNumerics, head.numerics);
  if (head.kv_type != static_cast<uint32_t>(s.cache_->type())) {
    const char* const found =
        head.kv_type < kKvTypeCount ? Name(static_cast<KvType>(head.kv_type)) : "of unknown type";
    throw Error(where + ": its cache is " + found + ", this session's is " +
                Name(s.cache_->type()));
  }
  expect("kind of output", static_cast<uint64_t>(s.options_.output), head.output);
  expect("layers", s.prompt_plan_->n_layers(), head.n_layers);
  expect("heads of keys", s.prompt_plan_->kv_heads(), head.kv_heads);
  expect("width of a head", s.prompt_plan_->head_dim(), head.head_dim);
  expect("adapters in use", s.adapters_.size(), head.n_adapters);
  expect("entries of the adapters' prefix", s.prefix_length_, head.adapter_prefix);
  if (head.length > s.options_.context) {
    throw Error(where + ": has " + std::to_string(head.length) +
                " tokens, this session's context holds " + std::to_string(s.options_.context));
  }
  if (head.length == 0 || head.prompt_length == 0 || head.prompt_length > head.length ||
      head.prefix_len > head.prompt_length || head.mask_at >= head.length) {
    throw Error(where + ": damaged: " + std::to_string(head.length) + " tokens, of them " +
                std::to_string(head.prompt_length) + " of the prompt, do not fit together");
  }
  if (head.n_logits != 0) expect("floats of a row of outputs", s.logits_.size(), head.n_logits);
  const uint64_t expected = BytesFor(s, head);
  if (bytes >= expected) expect("bytes", expected, bytes);
  if (bytes < expected) {
    throw Error(where + ": truncated: expected " + std::to_string(expected) + " bytes, found " +
                std::to_string(bytes));
  }
}

void SessionImage::CheckAdapters(const Session& s, std::span<const uint8_t> image,
                                 const std::string& where) {
  for (size_t i = 0; i < s.adapters_.size(); ++i) {
    AdapterRow row;
    std::memcpy(&row, image.data() + sizeof(Head) + i * sizeof row, sizeof row);
    const GlintFile& file = s.adapters_[i].adapter->file();
    if (row.hash == file.Hash() && row.hash != 0 && row.scale == s.adapters_[i].scale &&
        row.reserved == 0) {
      continue;
    }
    throw Error(where + ": adapter " + std::to_string(i) + ": expected hash " +
                ChecksumText(file.Hash()) + " (" + file.path() + ") and scale " +
                std::to_string(s.adapters_[i].scale) + ", found " + ChecksumText(row.hash) +
                " and " + std::to_string(row.scale));
  }
}

void SessionImage::Read(Session& s, std::span<const uint8_t> image, const std::string& where) {
  Head head;
  std::memcpy(&head, image.data(), sizeof head);
  const uint8_t* at = image.data() + sizeof head + s.adapters_.size() * sizeof(AdapterRow);
  const auto take = [&](void* to, size_t bytes) {
    std::memcpy(to, at, bytes);
    at += bytes;
  };
  take(s.ids_.data(), head.length * sizeof(int32_t));
  const std::span<const int32_t> ids(s.ids_.data(), head.length);
  try {
    s.CheckIds(ids);
  } catch (const Error& error) {
    throw Error(where + ": " + error.what());
  }
  SequencePositions sequence;
  std::string why;
  if (!s.model_.positions().start(ids.first(head.prompt_length), s.model_.prompt_ids(), &sequence,
                                  &why)) {
    throw Error(where + ": its prompt cannot start a sequence: " + why);
  }
  if (sequence.prefix_len != head.prefix_len ||
      static_cast<uint64_t>(sequence.mask_at) != head.mask_at) {
    throw Error(where + ": damaged: its positions are not those of its ids");
  }
  take(s.logits_.data(), head.n_logits * sizeof(float));
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(s.logits_.begin(), s.logits_.begin() + static_cast<ptrdiff_t>(head.n_logits),
                   finite)) {
    throw Error(where + ": damaged: its outputs are not finite");
  }
  const size_t entry_bytes = s.cache_->EntryBytes();
  ForEntries(s, s.prefix_length_ + head.length, [&](size_t layer, size_t h, size_t position) {
    s.cache_->WriteEntry(layer, h, position, at);
    at += entry_bytes;
  });
  s.sequence_ = sequence;
  s.length_ = s.held_ = s.written_ = head.length;
  s.prompt_length_ = head.prompt_length;
  s.n_logits_ = head.n_logits;
  const std::vector<size_t>& windows = s.prompt_plan_->windows();
  const bool has_windows =
      std::any_of(windows.begin(), windows.end(), [](size_t window) { return window != 0; });
  s.floor_ = has_windows ? head.length : 0;
}

std::vector<uint8_t> SaveSession(const Session& session) {
  try {
    std::vector<uint8_t> image;
    image.reserve(SessionImage::Bytes(session));
    const auto append = [&image](const void* data, size_t bytes) {
      const auto* const begin = static_cast<const uint8_t*>(data);
      image.insert(image.end(), begin, begin + bytes);
    };
    SessionImage::Write(session, append);
    const uint64_t checksum = ChecksumOf(image.data(), image.size());
    append(&checksum, sizeof checksum);
    return image;
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(session.model().file().path() + ": out of memory for a saved session");
  }
}

void RestoreSession(Session& session, std::span<const uint8_t> image, const std::string& where) {
  SessionImage::Forget(session);
  Head head;
  if (image.size() < sizeof head + kChecksumBytes) throw Error(where + ": is no saved session");
  std::memcpy(&head, image.data(), sizeof head);
  SessionImage::CheckHead(session, head, image.size(), where);
  uint64_t stored;
  std::memcpy(&stored, image.data() + image.size() - sizeof stored, sizeof stored);
  const uint64_t found = ChecksumOf(image.data(), image.size() - sizeof stored);
  if (found != stored) {
    throw Error(where + ": damaged: its checksum is " + ChecksumText(found) + ", it says " +
                ChecksumText(stored));
  }
  SessionImage::CheckAdapters(session, image, where);
  SessionImage::Read(session, image, where);
}

void SaveSessionFile(const Session& session, const std::string& path, bool overwrite) {
  constexpr size_t kPiece = size_t{1} << 20;
  const uint64_t bytes = SessionImage::Bytes(session);
  OutputFile file(path, overwrite);
  file.Resize(bytes);
  Checksum checksum;
  std::vector<uint8_t> piece;
  piece.reserve(kPiece);
  uint64_t at = 0;
  const auto flush = [&] {
    file.WriteAt(at, piece.data(), piece.size());
    at += piece.size();
    piece.clear();
  };
  const Put append = [&](const void* data, size_t size) {
    const auto* const begin = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size;) {
      const size_t n = std::min(size - i, kPiece - piece.size());
      piece.insert(piece.end(), begin + i, begin + i + n);
      if (piece.size() == kPiece) flush();
      i += n;
    }
  };
  SessionImage::Write(session, [&](const void* data, size_t size) {
    checksum.Update(data, size);
    append(data, size);
  });
  const uint64_t digest = checksum.Digest();
  append(&digest, sizeof digest);
  flush();
  file.Commit();
}

void RestoreSessionFile(Session& session, const std::string& path) {
  SessionImage::Forget(session);
  MappedFile file(path);
  Head head;
  if (file.bytes() < sizeof head + kChecksumBytes) throw Error(path + ": is no saved session");
  file.ReadAt(0, &head, sizeof head);
  // Before its bytes are read into memory: so they are no more than the session has itself.
  SessionImage::CheckHead(session, head, file.bytes(), path);
  const uint64_t bytes = file.bytes();
  RestoreSession(session, {file.Copy(0), bytes}, path);
}

}  // namespace glint
