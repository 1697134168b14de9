#include <cerrno>
#include <string>
#include <system_error>

#include "lib/system/windows.h"

namespace glint {
namespace {

// The longest path that goes without the prefix: a folder must leave room for a short name in it.
constexpr size_t kMaxPlainPath = 240;

struct ErrorRow {
  DWORD code;
  int number;
};

// Windows' own words come in the user's language and in several lines.
constexpr ErrorRow kErrors[] = {
    {ERROR_FILE_NOT_FOUND, ENOENT},
    {ERROR_PATH_NOT_FOUND, ENOENT},
    {ERROR_BAD_NETPATH, ENOENT},
    {ERROR_INVALID_DRIVE, ENOENT},
    {ERROR_INVALID_NAME, ENOENT},
    {ERROR_BAD_PATHNAME, ENOENT},
    {ERROR_ACCESS_DENIED, EACCES},
    {ERROR_SHARING_VIOLATION, EACCES},
    {ERROR_LOCK_VIOLATION, EACCES},
    {ERROR_WRITE_PROTECT, EROFS},
    {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
    {ERROR_OUTOFMEMORY, ENOMEM},
    {ERROR_COMMITMENT_LIMIT, ENOMEM},
    {ERROR_NO_SYSTEM_RESOURCES, ENOMEM},
    {ERROR_FILE_EXISTS, EEXIST},
    {ERROR_ALREADY_EXISTS, EEXIST},
    {ERROR_DISK_FULL, ENOSPC},
    {ERROR_HANDLE_DISK_FULL, ENOSPC},
    {ERROR_DIRECTORY, ENOTDIR},
    {ERROR_DIR_NOT_EMPTY, ENOTEMPTY},
    {ERROR_INVALID_HANDLE, EBADF},
    {ERROR_INVALID_PARAMETER, EINVAL},
    {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
    {ERROR_BROKEN_PIPE, EPIPE},
    {ERROR_NO_DATA, EPIPE},
    {ERROR_CRC, EIO},
    {ERROR_IO_DEVICE, EIO},
    {ERROR_NOT_SUPPORTED, ENOSYS},
    {ERROR_TOO_MANY_OPEN_FILES, EMFILE},
};

}  // namespace

std::wstring Wide(std::string_view text) {
  const int n = static_cast<int>(text.size());
  const int units = MultiByteToWideChar(CP_UTF8, 0, text.data(), n, nullptr, 0);
  std::wstring wide(static_cast<size_t>(units), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), n, wide.data(), units);
  return wide;
}

std::string Utf8(std::wstring_view text) {
  const int n = static_cast<int>(text.size());
  const int bytes = WideCharToMultiByte(CP_UTF8, 0, text.data(), n, nullptr, 0, nullptr, nullptr);
  std::string utf8(static_cast<size_t>(bytes), '\0');
  WideCharToMultiByte(CP_UTF8, 0, text.data(), n, utf8.data(), bytes, nullptr, nullptr);
  return utf8;
}

std::wstring WidePath(const std::string& path) {
  const std::wstring wide = Wide(path);
  // A NUL would end the name early, and another file would be meant; there is no such name.
  if (wide.find(L'\0') != wide.npos) return L"";
  if (wide.starts_with(L"\\\\?\\") || wide.starts_with(L"\\\\.\\") || wide.empty()) return wide;
  const DWORD size = GetFullPathNameW(wide.c_str(), 0, nullptr, nullptr);
  std::wstring full(size, L'\0');
  full.resize(size == 0 ? 0 : GetFullPathNameW(wide.c_str(), size, full.data(), nullptr));
  if (full.empty()) return wide;
  if (full.size() < kMaxPlainPath || full.starts_with(L"\\\\.\\")) return full;
  return full.starts_with(L"\\\\") ? L"\\\\?\\UNC" + full.substr(1) : L"\\\\?\\" + full;
}

std::string SystemErrorText(DWORD code) {
  for (const ErrorRow& row : kErrors) {
    if (row.code == code) return std::generic_category().message(row.number);
  }
  return "Windows error " + std::to_string(code);
}

}  // namespace glint
