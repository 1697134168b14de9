// A GGUF file taken apart into pairs and tensors: one of them changed, counts, lengths and (mostly)
// offsets right.
#include <cstring>
#include <vector>

#include "tests/fuzz/mutate.h"

namespace glint::fuzz {
namespace {

struct Pair {
  std::string key, value;
  uint32_t type = 0;
};
struct Entry {
  std::string name;
  std::vector<uint64_t> dims;
  uint32_t type = 0;
  uint64_t offset = 0;
};
struct File {
  uint32_t version = 3;
  std::vector<Pair> pairs;
  std::vector<Entry> tensors;
  std::string data;
};

// Takes a file apart; `ok` turns false where it cannot.
class Splitter {
 public:
  explicit Splitter(const std::string& bytes) : bytes_(bytes) {}

  File Split() {
    File file;
    Take(4);
    file.version = Number<uint32_t>();
    const auto tensors = Number<uint64_t>(), pairs = Number<uint64_t>();
    for (uint64_t i = 0; ok && i < pairs; ++i) {
      Pair pair;
      pair.key = Take(Number<uint64_t>());
      pair.type = Number<uint32_t>();
      const size_t begin = at_;
      SkipValue(pair.type);
      pair.value = bytes_.substr(std::min(begin, bytes_.size()), at_ - begin);
      file.pairs.push_back(pair);
    }
    for (uint64_t i = 0; ok && i < tensors; ++i) {
      Entry entry;
      entry.name = Take(Number<uint64_t>());
      const auto dims = Number<uint32_t>();
      for (uint32_t d = 0; ok && d < dims; ++d) entry.dims.push_back(Number<uint64_t>());
      entry.type = Number<uint32_t>();
      entry.offset = Number<uint64_t>();
      file.tensors.push_back(entry);
    }
    at_ = (at_ + 31) / 32 * 32;
    if (at_ < bytes_.size()) file.data = bytes_.substr(at_);
    return file;
  }

  bool ok = true;

 private:
  std::string Take(uint64_t n) {
    ok = ok && n <= bytes_.size() - at_;
    if (!ok) return "";
    at_ += n;
    return bytes_.substr(at_ - n, n);
  }
  template <class T>
  T Number() {
    T value = 0;
    const std::string bytes = Take(sizeof value);
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  void SkipValue(uint32_t type) {
    static constexpr uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type > 12) {
      ok = false;
    } else if (type == 8) {
      Take(Number<uint64_t>());
    } else if (type != 9) {
      Take(kBytes[type]);
    } else {
      const auto item = Number<uint32_t>();
      const auto count = Number<uint64_t>();
      ok = ok && item != 9;
      for (uint64_t i = 0; ok && i < count; ++i) SkipValue(item);
    }
  }

  const std::string& bytes_;
  size_t at_ = 0;
};

template <class T>
std::string Bytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string Text(const std::string& text) {
  return Bytes(uint64_t{text.size()}) + text;
}

std::string Join(const File& file) {
  std::string out = "GGUF" + Bytes(file.version) + Bytes(uint64_t{file.tensors.size()}) +
                    Bytes(uint64_t{file.pairs.size()});
  for (const Pair& pair : file.pairs) out += Text(pair.key) + Bytes(pair.type) + pair.value;
  for (const Entry& entry : file.tensors) {
    out += Text(entry.name) + Bytes(static_cast<uint32_t>(entry.dims.size()));
    for (const uint64_t dim : entry.dims) out += Bytes(dim);
    out += Bytes(entry.type) + Bytes(entry.offset);
  }
  out.resize((out.size() + 31) / 32 * 32);
  return out + file.data;
}

// A number in place of a value of a number's type, or of an array's length or an item.
void ChangeValue(Pair* pair, Random& random) {
  const uint64_t odd = OddNumber(random);
  const size_t n = pair->value.size();
  if (pair->type == 8 && random() % 4 != 0) {
    pair->value = Text(MutateText(pair->value.substr(std::min<size_t>(8, n)), 16));
  } else if (pair->type == 9 && random() % 4 != 0 && n > 12) {
    const size_t at = 12 + Below(random, n - 12);
    std::memcpy(pair->value.data() + at, &odd, std::min<size_t>(n - at, 1 + random() % 8));
  } else if (n <= 8 && random() % 2 == 0) {
    std::memcpy(pair->value.data(), &odd, n);
  } else {
    pair->value = MutateText(pair->value, 8);
  }
}

void ChangePairs(std::vector<Pair>* pairs, Random& random) {
  if (pairs->empty()) return;
  Pair& pair = (*pairs)[Below(random, pairs->size())];
  switch (random() % 8) {
    case 0:
      pair = Pair((*pairs)[Below(random, pairs->size())]);
      break;
    case 1:
      pairs->erase(pairs->begin() + static_cast<ptrdiff_t>(Below(random, pairs->size())));
      break;
    case 2:
      pair.key = MutateText(pair.key, 8);
      break;
    case 3:
      pair.type = random() % 13;
      break;
    case 4:
      pair.value = (*pairs)[Below(random, pairs->size())].value;
      break;
    default:
      ChangeValue(&pair, random);
  }
}

void ChangeTensors(std::vector<Entry>* tensors, Random& random) {
  if (tensors->empty()) return;
  Entry& entry = (*tensors)[Below(random, tensors->size())];
  switch (random() % 8) {
    case 0:
      entry.offset = random() % 2 ? entry.offset + 32 : OddNumber(random);
      break;
    case 1:
      tensors->erase(tensors->begin() + static_cast<ptrdiff_t>(Below(random, tensors->size())));
      break;
    case 2:
      entry.name = (*tensors)[Below(random, tensors->size())].name;
      break;
    case 3:
      entry.type = random() % 41;
      break;
    case 4:
      entry.dims.push_back(1 + random() % 2);
      break;
    case 5:
      if (!entry.dims.empty()) entry.dims.pop_back();
      break;
    case 6:
      if (entry.dims.size() > 1) std::swap(entry.dims[0], entry.dims[1]);
      break;
    default:
      if (entry.dims.empty()) break;
      uint64_t& dim = entry.dims[Below(random, entry.dims.size())];
      dim = random() % 2 ? OddNumber(random) : dim + random() % 3 - 1;
  }
}

}  // namespace
}  // namespace glint::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace glint::fuzz;
  Random random(seed);
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Splitter splitter(bytes);
  File file = splitter.Split();
  if (!splitter.ok || random() % 6 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const size_t what = random() % 10;
  if (what < 5) {
    ChangePairs(&file.pairs, random);
  } else if (what < 9) {
    ChangeTensors(&file.tensors, random);
  } else {
    file.data = MutateText(file.data, 32);
  }
  return Deliver(Join(file), data, size, max_size);
}
