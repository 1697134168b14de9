#include "formats/import/torch_pickle.h"

#include <iterator>
#include <unordered_set>
#include <utility>

#include "formats/import/pickle_recognizer.h"
#include "formats/import/source_tensor.h"

namespace glint {
namespace pickle {

// Several names of torch.* storages are Python's words, not safetensors': Char is 8 bits, Long
// is 64.
constexpr Global Recognizer::kGlobals[] = {
    {"collections", "OrderedDict", &Recognizer::MakeOrderedDict, {}},
    {"torch._utils", "_rebuild_tensor_v2", &Recognizer::RebuildTensor, {}},
    {"torch._utils", "_rebuild_parameter", &Recognizer::RebuildParameter, {}},
    {"torch", "DoubleStorage", nullptr, SourceType::kF64},
    {"torch", "FloatStorage", nullptr, SourceType::kF32},
    {"torch", "HalfStorage", nullptr, SourceType::kF16},
    {"torch", "BFloat16Storage", nullptr, SourceType::kBF16},
    {"torch", "LongStorage", nullptr, SourceType::kI64},
    {"torch", "IntStorage", nullptr, SourceType::kI32},
    {"torch", "ShortStorage", nullptr, SourceType::kI16},
    {"torch", "CharStorage", nullptr, SourceType::kI8},
    {"torch", "ByteStorage", nullptr, SourceType::kU8},
    {"torch", "BoolStorage", nullptr, SourceType::kBool},
};

// ('storage', class, key, location, elements): the data lies in the member data/KEY.
void Recognizer::PersistentId() {
  const Value id = Pop();
  Expect(id, Kind::kTuple, "a persistent id");
  if (id.count != 5) {
    reader_.Fail("a persistent id: expected 5 items, got " + std::to_string(id.count));
  }
  const Value* items = Items(id);
  Expect(items[0], Kind::kString, "the kind of a persistent id");
  Expect(items[1], Kind::kGlobal, "the class of a storage");
  Expect(items[2], Kind::kString, "the key of a storage");
  Expect(items[3], Kind::kString, "the location of a storage");
  Expect(items[4], Kind::kInt, "the size of a storage");
  const Global& global = kGlobals[items[1].place];
  const auto elements = static_cast<int64_t>(items[4].place);
  if (Text(items[0]) != "storage") {
    reader_.Fail("a persistent id: expected 'storage', got " + Quoted(Text(items[0])));
  }
  if (global.reduce != nullptr) {
    reader_.Fail("expected a storage class, got " + Quoted(global.name));
  }
  if (elements < 0) reader_.Fail("a storage of " + std::to_string(elements) + " elements");
  const auto [entry, is_new] = storage_of_key_.emplace(Text(items[2]), storages_.size());
  if (is_new) {
    storages_.push_back(
        {std::string(Text(items[2])), global.type, static_cast<uint64_t>(elements)});
  }
  const PickledStorage& storage = storages_[entry->second];
  if (storage.type != global.type || storage.elements != static_cast<uint64_t>(elements)) {
    reader_.Fail("the storage " + Quoted(storage.key) + " is described in two ways");
  }
  Push({Kind::kStorage, 0, entry->second});
}

void Recognizer::Reduce() {
  const Value arguments = Pop();
  const Value callable = Pop();
  Expect(arguments, Kind::kTuple, "the arguments of REDUCE");
  Expect(callable, Kind::kGlobal, "what REDUCE calls");
  const Global& global = kGlobals[callable.place];
  if (global.reduce == nullptr) reader_.Fail("REDUCE of the storage class " + Quoted(global.name));
  (this->*global.reduce)(arguments);
}

// An OrderedDict of weights carries its _metadata as attributes. They say nothing about tensors.
void Recognizer::Build() {
  const Value state = Pop();
  Expect(state, Kind::kDict, "the state of BUILD");
  const Value target = Pop();
  Expect(target, Kind::kDict, "the target of BUILD");
  Push(target);
}

void Recognizer::MakeOrderedDict(const Value& arguments) {
  if (arguments.count != 0) {
    reader_.Fail("OrderedDict: expected no arguments, got " + std::to_string(arguments.count));
  }
  EmptyDict();
}

// (storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
void Recognizer::RebuildTensor(const Value& arguments) {
  if (arguments.count != 6 && arguments.count != 7) {
    reader_.Fail("_rebuild_tensor_v2: expected 6 or 7 arguments, got " +
                 std::to_string(arguments.count));
  }
  const Value* items = Items(arguments);
  Expect(items[0], Kind::kStorage, "the storage of a tensor");
  Expect(items[1], Kind::kInt, "the offset of a tensor");
  Expect(items[2], Kind::kTuple, "the size of a tensor");
  Expect(items[3], Kind::kTuple, "the strides of a tensor");
  Expect(items[4], Kind::kBool, "requires_grad of a tensor");
  for (size_t i = 5; i < arguments.count; ++i) {
    if (items[i].kind != Kind::kNone) Expect(items[i], Kind::kDict, "the hooks of a tensor");
  }
  Push({Kind::kTensor, 0, tensors_.size()});
  tensors_.push_back({static_cast<size_t>(items[0].place), items[1], items[2], items[3]});
}

// (data, requires_grad, backward_hooks)
void Recognizer::RebuildParameter(const Value& arguments) {
  if (arguments.count != 3) {
    reader_.Fail("_rebuild_parameter: expected 3 arguments, got " +
                 std::to_string(arguments.count));
  }
  const Value* items = Items(arguments);
  Expect(items[0], Kind::kTensor, "the data of a parameter");
  Expect(items[1], Kind::kBool, "requires_grad of a parameter");
  if (items[2].kind != Kind::kNone) Expect(items[2], Kind::kDict, "the hooks of a parameter");
  Push(items[0]);
}

void Recognizer::PushGlobal(std::string_view module, std::string_view name) {
  for (size_t i = 0; i < std::size(kGlobals); ++i) {
    if (kGlobals[i].module != module || kGlobals[i].name != name) continue;
    Push({Kind::kGlobal, 0, i});
    return;
  }
  reader_.Fail("the pickle names " + Quoted(std::string(module) + "." + std::string(name)) +
               ", which is no part of a tensor: refused, nothing of a pickle is ever run");
}

void Recognizer::FindSizes(const Value& tuple, const std::string& where,
                           std::vector<uint64_t>* sizes) const {
  for (size_t i = 0; i < tuple.count; ++i) {
    const Value& item = Items(tuple)[i];
    const auto number = static_cast<int64_t>(item.place);
    if (item.kind != Kind::kInt || number < 0) {
      throw Error(where + ": sizes and strides: expected non-negative integers, got " +
                  (item.kind == Kind::kInt ? std::to_string(number)
                                           : kKindNames[static_cast<size_t>(item.kind)]));
    }
    sizes->push_back(item.place);
  }
}

PickledTensor Recognizer::Resolve(std::string_view name, const RawTensor& raw) const {
  CheckTensorName(name, reader_.where());
  const std::string where = reader_.where() + ": tensor " + Quoted(name);
  if (raw.shape.count != raw.strides.count || raw.shape.count > kMaxSourceRank) {
    throw Error(where + ": expected as many strides as sizes, at most " +
                std::to_string(kMaxSourceRank) + ", got " + std::to_string(raw.strides.count) +
                " and " + std::to_string(raw.shape.count));
  }
  PickledTensor tensor{std::string(name), raw.storage, raw.offset.place, 0, {}};
  std::vector<uint64_t> strides;
  FindSizes(raw.shape, where, &tensor.shape);
  FindSizes(raw.strides, where, &strides);
  if (!CountElements(tensor.shape, &tensor.elements)) {
    throw Error(where + ": its number of elements overflows");
  }
  // The stride of a size of 1 is never used, so torch leaves anything there.
  uint64_t row = 1;
  for (size_t i = strides.size(); i-- > 0 && tensor.elements > 0;) {
    if (tensor.shape[i] != 1 && strides[i] != row) {
      throw Error(where + ": its elements are not contiguous (dimension " + std::to_string(i) +
                  ": expected stride " + std::to_string(row) + ", got " +
                  std::to_string(strides[i]) + "): save it again after .contiguous()");
    }
    row *= tensor.shape[i];
  }
  const PickledStorage& storage = storages_[raw.storage];
  const auto offset = static_cast<int64_t>(raw.offset.place);
  if (offset < 0 || tensor.offset > storage.elements ||
      tensor.elements > storage.elements - tensor.offset) {
    throw Error(where + ": " + std::to_string(tensor.elements) + " elements from " +
                std::to_string(offset) + " are not within its storage of " +
                std::to_string(storage.elements));
  }
  return tensor;
}

PickledTensors Recognizer::Collect(const Value& root) {
  Expect(root, Kind::kDict, "the checkpoint");
  PickledTensors result;
  std::unordered_set<std::string_view> names;
  for (const auto& [key, value] : dicts_[root.place]) {
    Expect(key, Kind::kString, "the name of a tensor");
    const std::string_view name = Text(key);
    if (value.kind != Kind::kTensor) {
      throw Error(reader_.where() + ": entry " + Quoted(name) + ": expected a tensor, got " +
                  kKindNames[static_cast<size_t>(value.kind)] +
                  ": only a plain dictionary of tensors can be read");
    }
    if (!names.insert(name).second) {
      throw Error(reader_.where() + ": the tensor " + Quoted(name) + " appears twice");
    }
    result.tensors.push_back(Resolve(name, tensors_[value.place]));
  }
  result.storages = std::move(storages_);
  return result;
}

}  // namespace pickle

PickledTensors RecognizePickle(std::span<const uint8_t> bytes, const std::string& where) {
  return pickle::Recognizer(bytes, where).Run();
}

}  // namespace glint
