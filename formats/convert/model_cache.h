#pragma once
#include <cstddef>
#include <functional>
#include <string>

namespace glint {

// Where converted models are kept: $XDG_CACHE_HOME/glint, or .cache/glint in the home folder; on
// Windows glint in %LOCALAPPDATA%. Made if it is not there. Whatever lies in it may be deleted at any time. Throws Error.
std::string CacheFolder();

// The file in `folder` that a conversion of `source` (a GGUF file, a checkpoint's folder or a file
// of one) is kept in, whether it is there or not. `variant` says how it is converted ("int4").
//
// The name holds a hash of all contents of the source's files, which are read for it, and the
// version of this converter, so that it never stands for anything else. What files hashed to is
// noted in `folder`, by path, device, inode, size and times of change in nanoseconds; as long as
// the system says that nothing has changed, they are not read again. Throws Error. `progress` (may
// be empty) gets 0..1.
std::string CachePath(const std::string& folder, const std::string& source,
                      const std::string& variant, size_t threads,
                      const std::function<void(double)>& progress = {});

}  // namespace glint
