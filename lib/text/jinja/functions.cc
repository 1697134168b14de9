// Arguments, and the functions that a template finds by name.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "lib/system/clock.h"
#include "lib/text/jinja/interpreter.h"

namespace glint::jinja {

const Value* Arguments::Take(std::string_view name) {
  return at_ < positional.size() ? &positional[at_++] : TakeNamed(name);
}

const Value* Arguments::TakeNamed(std::string_view name) {
  for (auto& [other, value] : keywords) {
    if (other != name) continue;
    ++n_used_;
    return &value;
  }
  return nullptr;
}

const Value& Arguments::Require(std::string_view name) {
  const Value* value = Take(name);
  if (!value) Fail("expected an argument '" + std::string(name) + "'");
  return *value;
}

const std::string& Arguments::RequireText(std::string_view name) {
  const Value& value = Require(name);
  if (!value.Str()) {
    Fail("expected '" + std::string(name) + "' to be text, found " + value.TypeName());
  }
  return *value.Str();
}

int64_t Arguments::TakeInt(std::string_view name, int64_t other) {
  const Value* value = Take(name);
  if (!value) return other;
  if (!value->IsInt()) {
    Fail("expected '" + std::string(name) + "' to be a whole number, found " + value->TypeName());
  }
  return value->Int();
}

bool Arguments::TakeBool(std::string_view name, bool other) {
  const Value* value = Take(name);
  return value ? Truth(*value) : other;
}

std::string Arguments::TakeText(std::string_view name, const std::string& other) {
  const Value* value = Take(name);
  return value ? ToText(*runtime_, *value) : other;
}

void Arguments::Done() const {
  if (at_ < positional.size()) {
    Fail("expected at most " + std::to_string(at_) + " arguments, found " +
         std::to_string(positional.size()));
  }
  if (n_used_ < keywords.size()) {
    std::string names;
    for (const auto& keyword : keywords) names += (names.empty() ? "" : ", ") + keyword.first;
    Fail("an argument is not known; given by name: " + names);
  }
}

Arguments Arguments::Rest() {
  Arguments rest(runtime_, callee_);
  rest.positional.assign(positional.begin() + static_cast<ptrdiff_t>(at_), positional.end());
  rest.keywords = keywords;
  at_ = positional.size();
  n_used_ = keywords.size();
  return rest;
}

void Arguments::Fail(const std::string& why) const {
  runtime_->Fail(callee_ + "(): " + why);
}

namespace {

Value RaiseException(Interpreter& interpreter, Arguments& arguments) {
  const std::string text = ToText(interpreter.runtime(), arguments.Require("message"));
  arguments.Done();
  interpreter.runtime().Fail("the template refuses this conversation: " + text);
}

Value Range(Interpreter& interpreter, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  int64_t low = 0, high = arguments.TakeInt("start", 0), step = 1;
  if (arguments.n_left() > 0) {
    low = high;
    high = arguments.TakeInt("stop", 0);
    step = arguments.TakeInt("step", 1);
  }
  arguments.Done();
  if (step == 0) arguments.Fail("the step is 0");
  constexpr uint64_t kMaxRange = 100000;  // as jinja2's sandbox has it
  const bool empty = step > 0 ? low >= high : low <= high;
  const uint64_t from = static_cast<uint64_t>(low), to = static_cast<uint64_t>(high);
  const uint64_t span = step > 0 ? to - from : from - to;
  const uint64_t by = step > 0 ? static_cast<uint64_t>(step) : -static_cast<uint64_t>(step);
  const uint64_t n = empty ? 0 : (span - 1) / by + 1;
  if (n > kMaxRange)
    arguments.Fail("a range of more than " + std::to_string(kMaxRange) + " numbers");
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(n); ++i) items.push_back(low + i * step);
  return MakeList(runtime, std::move(items));
}

// dict(), and the beginning of namespace(): pairs of a dict or list, then the named arguments.
Pairs TakePairs(Interpreter& interpreter, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  Pairs pairs;
  Arguments given = arguments.Rest();
  if (given.positional.size() > 1) arguments.Fail("expected at most one argument without a name");
  for (const Value& from : given.positional) {
    if (from.AsDict()) {
      pairs = from.AsDict()->pairs;
      continue;
    }
    for (const Value& item : Iterate(runtime, from)) {
      const std::vector<Value> pair = Iterate(runtime, item);
      if (pair.size() != 2) arguments.Fail("expected pairs");
      pairs.emplace_back(pair[0], pair[1]);
    }
  }
  for (auto& [name, value] : given.keywords) pairs.emplace_back(MakeText(runtime, name), value);
  return pairs;
}

Value MakeDictOf(Interpreter& interpreter, Arguments& arguments) {
  return MakeDict(interpreter.runtime(), TakePairs(interpreter, arguments));
}

Value MakeNamespace(Interpreter& interpreter, Arguments& arguments) {
  std::vector<std::pair<std::string, Value>> attributes;
  const Value unique = MakeDictOf(interpreter, arguments);
  for (const auto& [name, value] : unique.AsDict()->pairs) {
    attributes.emplace_back(ToText(interpreter.runtime(), name), value);
  }
  return interpreter.NewNamespace(std::move(attributes));
}

// The part of strftime that does not depend on a locale.
std::string TimeField(const Arguments& arguments, const std::tm& time, const std::string& field) {
  static constexpr std::string_view kKnown = "aAbBdeHIjmMpSyY%";
  static constexpr std::string_view kUnpadded = "dHImMSj";
  const bool unpadded = field.size() == 2;
  const char letter = field.back();
  if (kKnown.find(letter) == kKnown.npos ||
      (unpadded && kUnpadded.find(letter) == kUnpadded.npos)) {
    arguments.Fail("%" + field + " is not supported");
  }
  static constexpr const char* kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};
  static constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                            "May",       "June",     "July",     "August",
                                            "September", "October",  "November", "December"};
  const auto number = [&](int value, size_t digits, char pad) {
    std::string text = std::to_string(value);
    while (!unpadded && text.size() < digits) text.insert(0, 1, pad);
    return text;
  };
  const int hour12 = time.tm_hour % 12 == 0 ? 12 : time.tm_hour % 12;
  switch (letter) {
    case 'a':
      return std::string(kDays[time.tm_wday]).substr(0, 3);
    case 'A':
      return kDays[time.tm_wday];
    case 'b':
      return std::string(kMonths[time.tm_mon]).substr(0, 3);
    case 'B':
      return kMonths[time.tm_mon];
    case 'd':
      return number(time.tm_mday, 2, '0');
    case 'e':
      return number(time.tm_mday, 2, ' ');
    case 'H':
      return number(time.tm_hour, 2, '0');
    case 'I':
      return number(hour12, 2, '0');
    case 'j':
      return number(time.tm_yday + 1, 3, '0');
    case 'm':
      return number(time.tm_mon + 1, 2, '0');
    case 'M':
      return number(time.tm_min, 2, '0');
    case 'p':
      return time.tm_hour < 12 ? "AM" : "PM";
    case 'S':
      return number(time.tm_sec, 2, '0');
    case 'y':
      return number(time.tm_year % 100, 2, '0');
    case 'Y':
      return number(time.tm_year + 1900, 4, '0');
    default:
      return "%";
  }
}

Value StrftimeNow(Interpreter& interpreter, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  const std::string format = arguments.RequireText("format");
  arguments.Done();
  std::tm time{};
  if (runtime.limits().now >= 0) {
    UtcTime(static_cast<std::time_t>(runtime.limits().now), &time);
  } else {
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    LocalTime(now, &time);
  }
  std::string text;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      text += format[i];
      continue;
    }
    std::string field = format.substr(i + 1, 1);
    if (field == "-") field = format.substr(i + 1, 2);
    if (field.empty()) arguments.Fail("the format ends with %");
    text += TimeField(arguments, time, field);
    i += field.size();
  }
  return MakeText(runtime, std::move(text));
}

constexpr FunctionRow kFunctions[] = {
    {"raise_exception", RaiseException},
    {"range", Range},
    {"dict", MakeDictOf},
    {"namespace", MakeNamespace},
    {"strftime_now", StrftimeNow},
};

}  // namespace

const FunctionRow* FindFunction(std::string_view name) {
  for (const FunctionRow& row : kFunctions) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

}  // namespace glint::jinja
