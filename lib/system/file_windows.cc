#include <io.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "lib/system/file.h"
#include "lib/system/windows.h"

namespace glint {
namespace {

constexpr uint64_t kMaxTransfer = uint64_t{1} << 30;  // a call's count has 32 bits
// Others may read, write, rename and delete what we have opened, as elsewhere.
constexpr DWORD kShareAll = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

HANDLE AsHandle(intptr_t handle) { return reinterpret_cast<HANDLE>(handle); }
intptr_t AsNumber(HANDLE handle) { return reinterpret_cast<intptr_t>(handle); }

// Windows counts 100 ns since 1601.
int64_t Nanoseconds(int64_t time) {
  constexpr int64_t kTo1970 = 116444736000000000;
  return (time - kTo1970) * 100;
}
int64_t Nanoseconds(const FILETIME& time) {
  return Nanoseconds(static_cast<int64_t>(uint64_t{time.dwHighDateTime} << 32 | time.dwLowDateTime));
}

bool StateFrom(HANDLE handle, FileState* state) {
  *state = {};
  if (GetFileType(handle) != FILE_TYPE_DISK) {
    state->kind = FileKind::kOther;
    return true;
  }
  BY_HANDLE_FILE_INFORMATION info;
  if (!GetFileInformationByHandle(handle, &info)) return false;
  const bool is_folder = (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
  state->kind = is_folder ? FileKind::kFolder : FileKind::kRegular;
  state->bytes = uint64_t{info.nFileSizeHigh} << 32 | info.nFileSizeLow;
  state->device = info.dwVolumeSerialNumber;
  state->inode = uint64_t{info.nFileIndexHigh} << 32 | info.nFileIndexLow;
  state->modified = state->changed = Nanoseconds(info.ftLastWriteTime);
  FILE_BASIC_INFO basic;
  if (GetFileInformationByHandleEx(handle, FileBasicInfo, &basic, sizeof basic) &&
      basic.ChangeTime.QuadPart != 0) {
    state->changed = Nanoseconds(basic.ChangeTime.QuadPart);
  }
  return true;
}

// Where a read or write of a handle that was opened for waiting begins.
OVERLAPPED At(uint64_t offset) {
  OVERLAPPED at = {};
  at.Offset = static_cast<DWORD>(offset);
  at.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return at;
}

// BACKUP_SEMANTICS: folders open too.
HANDLE OpenToLook(const std::string& path, DWORD access) {
  return CreateFileW(WidePath(path).c_str(), access, kShareAll, nullptr, OPEN_EXISTING,
                     FILE_FLAG_BACKUP_SEMANTICS, nullptr);
}

}  // namespace

std::string LastSystemError() { return SystemErrorText(GetLastError()); }

SystemFile::SystemFile(SystemFile&& other) noexcept
    : handle_(std::exchange(other.handle_, kNone)) {}

bool SystemFile::OpenToRead(const std::string& path) {
  Close();
  handle_ = AsNumber(OpenToLook(path, GENERIC_READ));
  return is_open();
}

bool SystemFile::OpenDescriptor(int descriptor) {
  Close();
  const HANDLE given = AsHandle(_get_osfhandle(descriptor));
  HANDLE own = INVALID_HANDLE_VALUE;
  if (given == INVALID_HANDLE_VALUE ||
      !DuplicateHandle(GetCurrentProcess(), given, GetCurrentProcess(), &own, 0, FALSE,
                       DUPLICATE_SAME_ACCESS)) {
    if (given == INVALID_HANDLE_VALUE) SetLastError(ERROR_INVALID_HANDLE);
    return false;
  }
  handle_ = AsNumber(own);
  return true;
}

bool SystemFile::Close() {
  return !is_open() || CloseHandle(AsHandle(std::exchange(handle_, kNone)));
}

bool SystemFile::State(FileState* state) const { return StateFrom(AsHandle(handle_), state); }

int64_t SystemFile::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  OVERLAPPED at = At(offset);
  DWORD n = 0;
  const DWORD count = static_cast<DWORD>(std::min(size, kMaxTransfer));
  if (ReadFile(AsHandle(handle_), data, count, &n, &at)) return n;
  return GetLastError() == ERROR_HANDLE_EOF ? 0 : -1;
}

int64_t SystemFile::WriteAt(uint64_t offset, const void* data, uint64_t size) {
  OVERLAPPED at = At(offset);
  DWORD n = 0;
  const DWORD count = static_cast<DWORD>(std::min(size, kMaxTransfer));
  return WriteFile(AsHandle(handle_), data, count, &n, &at) ? static_cast<int64_t>(n) : -1;
}

const uint8_t* SystemFile::Map(uint64_t bytes) const {
  const HANDLE map = CreateFileMappingW(AsHandle(handle_), nullptr, PAGE_READONLY,
                                        static_cast<DWORD>(bytes >> 32), static_cast<DWORD>(bytes),
                                        nullptr);
  if (!map) return nullptr;
  void* const data = MapViewOfFile(map, FILE_MAP_READ, 0, 0, static_cast<SIZE_T>(bytes));
  const DWORD error = GetLastError();
  CloseHandle(map);  // the view keeps it
  SetLastError(error);
  return static_cast<const uint8_t*>(data);
}

void UnmapFile(const uint8_t* data, uint64_t) {
  if (data) UnmapViewOfFile(data);
}

// Nobody else may open it for writing while it is open here: so a file that can be opened is abandoned.
// DELETE is what renaming and removing it by its handle needs.
SystemFile::Created SystemFile::CreateTemporary(const std::string& path) {
  Close();
  handle_ = AsNumber(CreateFileW(WidePath(path).c_str(), GENERIC_READ | GENERIC_WRITE | DELETE,
                                 FILE_SHARE_READ, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL,
                                 nullptr));
  if (is_open()) return Created::kDone;
  const DWORD error = GetLastError();
  return error == ERROR_FILE_EXISTS || error == ERROR_ALREADY_EXISTS ? Created::kExists
                                                                     : Created::kFailed;
}

bool SystemFile::AvailableSpace(uint64_t* available) const {
  const HANDLE handle = AsHandle(handle_);
  std::wstring path(GetFinalPathNameByHandleW(handle, nullptr, 0, 0), L'\0');
  const DWORD size = static_cast<DWORD>(path.size());
  path.resize(GetFinalPathNameByHandleW(handle, path.data(), size, 0));
  path.resize(std::min(path.rfind(L'\\'), path.size()));
  ULARGE_INTEGER bytes;
  if (path.empty() || !GetDiskFreeSpaceExW((path + L"\\").c_str(), &bytes, nullptr, nullptr)) {
    return false;
  }
  *available = bytes.QuadPart;
  return true;
}

bool SystemFile::Reserve(uint64_t bytes) {
  FILE_ALLOCATION_INFO info;
  info.AllocationSize.QuadPart = static_cast<LONGLONG>(bytes);
  if (SetFileInformationByHandle(AsHandle(handle_), FileAllocationInfo, &info, sizeof info)) {
    return true;
  }
  return GetLastError() != ERROR_DISK_FULL;  // else it is a wish
}

bool SystemFile::Resize(uint64_t bytes) {
  FILE_END_OF_FILE_INFO info;
  info.EndOfFile.QuadPart = static_cast<LONGLONG>(bytes);
  return SetFileInformationByHandle(AsHandle(handle_), FileEndOfFileInfo, &info, sizeof info);
}

bool SystemFile::Sync() { return FlushFileBuffers(AsHandle(handle_)); }

SystemFile::Renamed SystemFile::Rename(const std::string&, const std::string& to, bool replace) {
  const std::wstring name = WidePath(to);
  const size_t bytes = sizeof(FILE_RENAME_INFO) + name.size() * sizeof(wchar_t);
  const std::unique_ptr<uint8_t[]> memory(new uint8_t[bytes]());
  auto* const info = reinterpret_cast<FILE_RENAME_INFO*>(memory.get());
  info->ReplaceIfExists = replace;
  info->FileNameLength = static_cast<DWORD>(name.size() * sizeof(wchar_t));
  std::copy(name.begin(), name.end(), info->FileName);
  const HANDLE handle = AsHandle(handle_);
  if (SetFileInformationByHandle(handle, FileRenameInfo, info, static_cast<DWORD>(bytes))) {
    // Folders cannot be flushed; flushing the file writes the journal with its new name.
    return FlushFileBuffers(handle) ? Renamed::kDone : Renamed::kFailed;
  }
  const DWORD error = GetLastError();
  return error == ERROR_FILE_EXISTS || error == ERROR_ALREADY_EXISTS ? Renamed::kExists
                                                                     : Renamed::kFailed;
}

void SystemFile::Remove(const std::string&) {
  FILE_DISPOSITION_INFO info = {TRUE};
  SetFileInformationByHandle(AsHandle(handle_), FileDispositionInfo, &info, sizeof info);
  Close();
}

FileState StateOf(const std::string& path) {
  FileState state;
  const HANDLE handle = OpenToLook(path, FILE_READ_ATTRIBUTES);
  if (handle == INVALID_HANDLE_VALUE) return state;
  if (!StateFrom(handle, &state)) state = {};
  CloseHandle(handle);
  return state;
}

bool RemoveFile(const std::string& path) { return DeleteFileW(WidePath(path).c_str()); }

bool ListFolder(const std::string& folder, std::vector<std::string>* names) {
  names->clear();
  WIN32_FIND_DATAW entry;
  const HANDLE find = FindFirstFileW(WidePath(JoinPath(folder, "*")).c_str(), &entry);
  if (find == INVALID_HANDLE_VALUE) return false;
  do {
    const std::wstring_view name = entry.cFileName;
    if (name != L"." && name != L"..") names->push_back(Utf8(name));
  } while (FindNextFileW(find, &entry));
  const DWORD error = GetLastError();
  FindClose(find);
  SetLastError(error);
  return error == ERROR_NO_MORE_FILES;
}

bool MakeFolders(const std::string& folder) {
  const auto make = [&] {
    return CreateDirectoryW(WidePath(folder).c_str(), nullptr) || IsFolder(folder);
  };
  if (make()) return true;
  const std::string above = FolderPart(FullPath(folder));
  if (above.empty() || above == folder || IsFolder(above)) return make();
  return MakeFolders(above) && make();
}

bool SyncFolder(const std::string&) { return true; }  // Rename has flushed the journal

bool IsAbandoned(const std::string& path, uint32_t) {
  const HANDLE handle = CreateFileW(WidePath(path).c_str(), GENERIC_WRITE, kShareAll, nullptr,
                                    OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, nullptr);
  if (handle == INVALID_HANDLE_VALUE) return false;
  CloseHandle(handle);
  return true;
}

uint32_t ProcessId() { return GetCurrentProcessId(); }

std::string Environment(const char* name) {
  const std::wstring wide = Wide(name);
  std::wstring value(GetEnvironmentVariableW(wide.c_str(), nullptr, 0), L'\0');
  const DWORD size = static_cast<DWORD>(value.size());
  value.resize(size == 0 ? 0 : GetEnvironmentVariableW(wide.c_str(), value.data(), size));
  return Utf8(value);
}

std::string TemporaryFolder() {
  wchar_t folder[MAX_PATH + 1];
  const DWORD size = GetTempPathW(static_cast<DWORD>(std::size(folder)), folder);
  return size == 0 || size > MAX_PATH ? "." : Utf8({folder, size});
}

std::string UserCacheFolder(std::string* lacking) {
  // Whoever sets it as elsewhere means it so. By its specification a relative path counts as none.
  const std::string base = Environment("XDG_CACHE_HOME");
  if (base.starts_with('/') || base.starts_with('\\') || base.find(':') == 1) return base;
  *lacking = "neither XDG_CACHE_HOME nor LOCALAPPDATA";
  return Environment("LOCALAPPDATA");
}

std::string FullPath(const std::string& path) {
  const std::wstring wide = Wide(path);
  const DWORD size = GetFullPathNameW(wide.c_str(), 0, nullptr, nullptr);
  std::wstring full(size, L'\0');
  full.resize(size == 0 ? 0 : GetFullPathNameW(wide.c_str(), size, full.data(), nullptr));
  return full.empty() ? path : Utf8(full);
}

}  // namespace glint
