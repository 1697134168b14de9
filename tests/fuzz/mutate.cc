#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

namespace glint::fuzz {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order of keys

// A value that is not what a reader expects.
Json OddValue(Random& random) {
  switch (random() % 12) {
    case 0:
      return nullptr;
    case 1:
      return random() % 2 == 0;
    case 2:
      return OddNumber(random);
    case 3:
      return -static_cast<int64_t>(OddNumber(random) / 2);
    case 4:
      return 0.5;
    case 5:
      return 1e308;
    case 6:
      return "";
    case 7:
      return std::string(random() % 300, 'x');
    case 8:
      return Json::array();
    case 9:
      return Json::object();
    case 10:
      return std::string("a\0\n\xE4\xBD\xA0\x1b", 7);
    default:
      return static_cast<int>(random() % 70) - 3;
  }
}

void Collect(Json* value, std::vector<Json*>* all) {
  all->push_back(value);
  if (!value->is_structured()) return;
  for (auto& item : *value) Collect(&item, all);
}

void ChangeObject(Json* object, Random& random) {
  auto at = object->begin();
  std::advance(at, static_cast<ptrdiff_t>(Below(random, object->size())));
  const std::string key = at.key();
  const Json value = *at;
  switch (random() % 4) {
    case 0:
      object->erase(key);
      break;
    case 1:
      (*object)[key + "x"] = value;
      break;
    case 2:
      object->erase(key);
      (*object)[MutateText(key, 8)] = value;
      break;
    default:
      (*object)[key] = OddValue(random);
  }
}

void ChangeArray(Json* array, Random& random) {
  const size_t at = Below(random, array->size());
  const Json item = (*array)[at];
  switch (random() % 4) {
    case 0:
      array->erase(at);
      break;
    case 1:
      array->push_back(item);
      break;
    case 2:
      (*array)[at] = (*array)[Below(random, array->size())];
      break;
    default:
      (*array)[at] = OddValue(random);
  }
}

void ChangeNumber(Json* number, Random& random) {
  if (number->is_number_float()) {
    *number = number->get<double>() * (random() % 2 ? -1 : 1e5);
  } else {
    // Of unsigned numbers, which may wrap.
    const auto old = static_cast<uint64_t>(number->get<int64_t>());
    const uint64_t changes[] = {old + 1, old - 1, old / 2, ~old + 1, OddNumber(random)};
    const uint64_t changed = changes[Below(random, std::size(changes))];
    const bool is_negative = (changed >> 63) != 0 && random() % 2 == 0;
    *number = changed;
    if (is_negative) *number = static_cast<int64_t>(changed);
  }
}

}  // namespace

uint64_t OddNumber(Random& random) {
  static constexpr uint64_t kNumbers[] = {0,
                                          1,
                                          2,
                                          3,
                                          7,
                                          8,
                                          15,
                                          16,
                                          17,
                                          31,
                                          32,
                                          33,
                                          63,
                                          64,
                                          65,
                                          127,
                                          128,
                                          255,
                                          256,
                                          257,
                                          4095,
                                          4096,
                                          65535,
                                          65536,
                                          1 << 20,
                                          INT32_MAX,
                                          1u << 31,
                                          UINT32_MAX,
                                          uint64_t{1} << 32,
                                          uint64_t{1} << 53,
                                          uint64_t{1} << 60,
                                          uint64_t{1} << 61,
                                          uint64_t{1} << 62,
                                          INT64_MAX,
                                          uint64_t{1} << 63,
                                          UINT64_MAX - 31,
                                          UINT64_MAX - 7,
                                          UINT64_MAX};
  return kNumbers[Below(random, std::size(kNumbers))];
}

std::string MutateText(const std::string& text, size_t room) {
  std::string changed = text;
  changed.resize(text.size() + room);
  changed.resize(
      LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(changed.data()), text.size(), changed.size()));
  return changed;
}

std::string MutateJson(const std::string& text, Random& random) {
  Json root = Json::parse(text, nullptr, false);
  if (root.is_discarded() || random() % 8 == 0) return MutateText(text, 64);
  std::vector<Json*> all;
  Collect(&root, &all);
  Json* value = all[Below(random, all.size())];
  // Long lists (vocabularies) have most of the values; the rest shall have its turn too.
  if (random() % 2 == 0) value = all[Below(random, std::min<size_t>(all.size(), 40))];
  if (random() % 4 == 0) {
    const Json other = *all[Below(random, all.size())];
    *value = random() % 2 == 0 ? other : OddValue(random);
  } else if (value->is_object() && !value->empty()) {
    ChangeObject(value, random);
  } else if (value->is_array() && !value->empty()) {
    ChangeArray(value, random);
  } else if (value->is_number()) {
    ChangeNumber(value, random);
  } else if (value->is_string()) {
    *value = MutateText(value->get<std::string>(), 32);
  } else {
    *value = OddValue(random);
  }
  return root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

size_t Deliver(const std::string& changed, uint8_t* data, size_t size, size_t max_size) {
  if (changed.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}

}  // namespace glint::fuzz
