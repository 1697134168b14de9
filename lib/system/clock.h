#pragma once
#include <ctime>

namespace glint {

// A time as a date, as gmtime and localtime make it, but for several threads at once.
#if defined(_WIN32)
inline void UtcTime(std::time_t time, std::tm* out) { gmtime_s(out, &time); }
inline void LocalTime(std::time_t time, std::tm* out) { localtime_s(out, &time); }
#else
inline void UtcTime(std::time_t time, std::tm* out) { gmtime_r(&time, out); }
inline void LocalTime(std::time_t time, std::tm* out) { localtime_r(&time, out); }
#endif

}  // namespace glint
