#!/bin/sh
# cross_windows.sh BUILD_DIR [MESON_OPTION...]: builds the whole project for Windows x86-64 with mingw-w64,
# runs the whole test suite under wine, and compares the program with GLINT_NATIVE, this machine's own.
# Run from the source root. Needs g++-mingw-w64-x86-64-posix, wine64, binutils and meson; fetches
# Debian's source of utf8proc (no root). GLINT_SETUP_ONLY=1 stops after the setup.
set -e
[ -n "$1" ] || { echo "usage: cross_windows.sh BUILD_DIR [MESON_OPTION...]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
shift
deps=$build.deps
triple=x86_64-w64-mingw32
wine=$(command -v wine64 || command -v wine || echo /usr/lib/wine/wine64)

# Of the host's /usr/include the cross compiler may see the header-only libraries and nothing else.
mkdir -p "$deps/include" "$deps/pkgconfig" "$deps/lib"
for name in hwy doctest nlohmann CLI xsimd xxhash.h xxh3.h; do
  [ -e "/usr/include/$name" ] && ln -sfn "/usr/include/$name" "$deps/include/$name"
done
for name in nlohmann_json libxxhash libhwy CLI11 xsimd doctest; do
  cat > "$deps/pkgconfig/$name.pc" <<END
Name: $name
Description: header-only here
Version: $(pkg-config --modversion "$name" 2>/dev/null || echo 1.0)
END
done

# utf8proc from Debian's source package, with a package list of our own: the system's is left alone.
if [ ! -e "$deps/lib/libutf8proc.a" ]; then
  mkdir -p "$deps/apt/lists/partial" "$deps/utf8proc"
  . /etc/os-release
  echo "deb-src http://deb.debian.org/debian ${VERSION_CODENAME:-bookworm} main" > "$deps/apt/list"
  (cd "$deps/apt" && for step in update 'source --download-only utf8proc'; do
    # Word splitting of the step is meant.
    # shellcheck disable=SC2086
    apt-get -q=2 -o Dir::Etc::SourceList="$deps/apt/list" -o Dir::Etc::SourceParts=/dev/null \
      -o Dir::State::Lists="$deps/apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
      -o Acquire::Languages=none -o APT::Sandbox::User= $step >/dev/null
  done)
  tar -C "$deps/utf8proc" --strip-components=1 -xf "$deps"/apt/utf8proc_*.orig.tar.gz
  $triple-gcc-posix -O2 -DUTF8PROC_STATIC -c "$deps/utf8proc/utf8proc.c" -o "$deps/utf8proc.o"
  cp "$deps/utf8proc/utf8proc.h" "$deps/include/"
  $triple-ar rcs "$deps/lib/libutf8proc.a" "$deps/utf8proc.o"
  rm -rf "$deps/apt/lists"
fi
cat > "$deps/pkgconfig/libutf8proc.pc" <<END
Name: libutf8proc
Description: built from Debian's source package
Version: $(sed -n 's/^#define UTF8PROC_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\).*/\2/p' \
  "$deps/include/utf8proc.h" | paste -sd.)
Libs: -L$deps/lib -lutf8proc
Cflags: -DUTF8PROC_STATIC
END

ccache=$(command -v ccache >/dev/null && echo "'ccache', ")
cat > "$deps/cross.ini" <<END
[binaries]
cpp = [$ccache'$triple-g++-posix']
c = [$ccache'$triple-gcc-posix']
ar = '$triple-ar'
strip = '$triple-strip'
windres = '$triple-windres'
pkgconfig = 'pkg-config'
exe_wrapper = '$wine'
[properties]
pkg_config_libdir = '$deps/pkgconfig'
[built-in options]
cpp_args = ['-isystem', '$deps/include']
[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
END
export NM=$triple-nm OBJDUMP=$triple-objdump
export WINEDEBUG=-all WINEPREFIX="$deps/wine"
[ -e "$build/build.ninja" ] ||
  meson setup "$build" "$source" --cross-file "$deps/cross.ini" "$@"
[ -z "$GLINT_SETUP_ONLY" ] || exit 0
