#!/bin/sh
# cross_windows.sh BUILD_DIR [all] [MESON_OPTION...]: builds the whole project for Windows x86-64 with
# mingw-w64, runs the tests under wine, installs, and compares the program with GLINT_NATIVE, this
# machine's own. Without "all" the long tests that no system matters to are left out (suite "neutral",
# tests/meson.build): the same compiler's code passes them on Linux.
# Run from the source root. Needs g++-mingw-w64-x86-64-posix, wine64, binutils and meson; fetches
# Debian's source of utf8proc (no root). GLINT_SETUP_ONLY=1 stops after the setup.
set -e
[ -n "$1" ] || { echo "usage: cross_windows.sh BUILD_DIR [all] [MESON_OPTION...]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
shift
left_out='--no-suite neutral'
[ "${1:-}" != all ] || { left_out=; shift; }
deps=$build.deps
triple=x86_64-w64-mingw32
# Debian's "wine" is a script that complains where there is no 32-bit half, which nothing here needs.
for wine in "$(command -v wine64)" /usr/lib/wine/wine64 "$(command -v wine)" none; do
  [ ! -x "$wine" ] || break
done
[ "$wine" != none ] || { echo 'no wine (Debian: wine64)' >&2; exit 1; }
server=$(command -v wineserver || echo "$(dirname "$wine")/wineserver64")
say() { echo "== windows: $*, $(($(date +%s) - begun)) s"; }
begun=$(date +%s)

. "$source/tests/cross_headers.sh"

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
export NM=$triple-nm OBJDUMP=$triple-objdump GLINT_WRAPPER="$wine"
# A prefix of its own, without .NET, a browser, and entries in this machine's menus.
export WINEDEBUG=-all WINEPREFIX="$deps/wine" WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe=d'
[ -e "$build/build.ninja" ] ||
  meson setup "$build" "$source" --cross-file "$deps/cross.ini" "$@"
[ -z "$GLINT_SETUP_ONLY" ] || exit 0

ninja -C "$build"
say built
[ -d "$WINEPREFIX/drive_c" ] || "$wine" wineboot -i >/dev/null 2>&1 || true
"$server" -p 2>/dev/null || true  # one for all programs: starting it takes longer than most of them
trap '"$server" -k 2>/dev/null || true' EXIT
glint="$build/examples/glint.exe"

# Program and library stand alone: nothing but Windows' own libraries.
stands_alone() {
  foreign=$($triple-objdump -p "$1" | sed -n 's/.*DLL Name: //p' |
    grep -iv -E '^(kernel32|msvcrt|shell32|api-ms-win-[a-z0-9-]*)\.dll$' || true)
  [ -z "$foreign" ] || { echo "$1 needs other libraries: $foreign"; exit 1; }
}
stands_alone "$glint"
stands_alone "$build/lib/libglint-0.dll"

# shellcheck disable=SC2086  # no word, or two
meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 5 $left_out
grep -h '^targets' "$build/meson-logs/testlog.txt" | sort -u
grep -h '^skipped' "$build/meson-logs/testlog.txt" | sort -u
say tested

# What is installed, and a program in C with each library: built by glint.pc, run from the folder.
tree=$build/installed
rm -rf "$tree"
DESTDIR=$tree meson install -C "$build" --no-rebuild --quiet >/dev/null
prefix=$tree$(meson introspect --buildoptions "$build" |
  python3 -c 'import json, sys
print(*(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
for file in bin/glint.exe bin/libglint-0.dll lib/libglint.dll.a lib/libglint.a include/glint.h \
  include/glint.hpp lib/pkgconfig/glint.pc lib/cmake/glint/glintConfig.cmake; do
  [ -s "$prefix/$file" ] || { echo "not installed: $file"; find "$tree" -type f; exit 1; }
done
embed() {  # OUTPUT [-static]
  output=$prefix/bin/$1
  shift
  # shellcheck disable=SC2046  # pkg-config's words
  $triple-gcc-posix "$@" -std=c99 "$source/examples/embed_in_c/embed.c" -o "$output" \
    $(PKG_CONFIG_LIBDIR="$prefix/lib/pkgconfig:$deps/pkgconfig" \
      pkg-config --define-prefix --cflags --libs ${1:+--static} glint) -Wl,-Bstatic -lpthread
  "$wine" "$output" "$source/examples/tiny/tiny.glint" > "$build/embed"
  grep -q '^identical' "$build/embed"
  grep -q 'cancelled after' "$build/embed"
}
embed embed.exe
$triple-objdump -p "$prefix/bin/embed.exe" | grep -q 'DLL Name: libglint-0.dll'
embed embed_static.exe -static
stands_alone "$prefix/bin/embed_static.exe"
say 'installed, and used from C'

# A name that no code page of this machine has, for the model, an argument and both kinds of input.
folder="$build/unicode/$(printf '\346\250\241\345\236\213')"
model="$folder/$(printf '\345\205\255\345\215\201\344\272\277').glint"
question=$(printf '\347\214\253\347\224\250\350\213\261\350\257\255\346\200\216\344\271\210\350\257\264\357\274\237')
rm -rf "$build/unicode"
mkdir -p "$folder"
export LC_ALL=C.UTF-8
"$wine" "$glint" convert "$source/examples/tiny/model" -o "$model" --type int8
[ -s "$model" ]
"$wine" "$glint" verify "$model" | grep -q ': ok, '
"$wine" "$glint" info "$model" | grep -q 'embed'
printf '%s\n' "$question" | "$wine" "$glint" chat "$model" --temp 0 > "$build/unicode/piped"
printf '%s' "$question" > "$folder/$question.txt"
"$wine" "$glint" perplexity "$model" -f "$folder/$question.txt" --json > "$build/unicode/perplexity"
"$wine" "$glint" generate "$model" -p "$question" --temp 0 -n 16 > "$build/unicode/argument"
printf '%s' "$question" | "$wine" "$glint" generate "$model" -p - --temp 0 -n 16 |
  cmp - "$build/unicode/argument"
# At a console: wine makes one of a terminal, and what is typed and shown there is UTF-16 to the program.
console=$build/unicode/console
await() {  # until that is shown
  for _ in $(seq 300); do
    ! grep -q "$1" "$console" || return 0
    sleep .2
  done
  echo "not shown: $1" >> "$console"
}
if command -v script >/dev/null; then
  : > "$console"
  reply=$(cat "$build/unicode/piped")
  (await 'you>'; printf '%s\r' "$question"; await "glint>.*$reply"; printf 'stop\r'; await 'Script done') |
    timeout 120 script -qfec "$wine $glint chat $model --temp 0" "$console" >/dev/null || true
  { grep -q "glint>.*$reply" "$console" && grep -q "$question" "$console"; } ||
    { echo 'the console shows something else:'; cat "$console"; exit 1; }
fi
# A path longer than 260 characters.
long=$folder
while [ ${#long} -lt 300 ]; do long="$long/0123456789012345678901234567890123456789"; done
mkdir -p "$long"
"$wine" "$glint" convert "$source/examples/tiny/model" -o "$long/m.glint" --type int8
cmp "$long/m.glint" "$model"
"$wine" "$glint" verify "$long/m.glint" | grep -q ': ok, '

# Writers that are killed leave nothing under the name, and the next one cleans up.
killed=$build/unicode/killed
mkdir -p "$killed"
caught=0
for delay in .04 .08 .12 .16 .2 .25 .3 .4; do
  "$wine" "$glint" convert "$source/examples/tiny/model" -o "$killed/m.glint" --type int8 -t 1 >/dev/null 2>&1 &
  sleep $delay
  kill -9 $! 2>/dev/null || true
  wait $! 2>/dev/null || true
  [ ! -e "$killed/m.glint" ] || cmp "$killed/m.glint" "$model"
  [ -z "$(find "$killed" -name '.m.glint.tmp-*')" ] || caught=$((caught + 1))
  rm -f "$killed/m.glint"
done
echo "$caught of 8 writers were killed while they wrote"
"$wine" "$glint" convert "$source/examples/tiny/model" -o "$killed/m.glint" --type int8
[ "$(ls -A "$killed")" = m.glint ] || { echo "left behind: $(ls -A "$killed")"; exit 1; }
say 'names, console, killed writers'

# The program itself, byte for byte: what this machine computes is what Windows computes.
native=${GLINT_NATIVE:-}
[ -n "$native" ] || exit 0
rm -f "$build/native.npy" "$build/windows.npy"
ids=5,6,7,8,9,10,$("$native" info builtin --json |
  python3 -c 'import json, sys; p = json.load(sys.stdin)["prompt"]; print(p["gmask_id"], p["sop_id"], sep=",")')
for type in f32 int8 int4; do
  "$native" convert "$source/examples/tiny/model" -o "$build/unicode/native.glint" --type $type --force
  "$wine" "$glint" convert "$source/examples/tiny/model" -o "$build/unicode/windows.glint" --type $type \
    --force
  cmp "$build/unicode/native.glint" "$build/unicode/windows.glint"
  for load in map copy; do
    "$native" logits "$build/unicode/native.glint" --ids "$ids" -o "$build/native.npy"
    "$wine" "$glint" logits "$build/unicode/windows.glint" --load $load --ids "$ids" \
      -o "$build/windows.npy"
    cmp "$build/native.npy" "$build/windows.npy"
    rm -f "$build/native.npy" "$build/windows.npy"
  done
done
"$native" logits builtin --ids "$ids" -o "$build/native.npy"
"$wine" "$glint" logits builtin --ids "$ids" -o "$build/windows.npy"
cmp "$build/native.npy" "$build/windows.npy"
printf '%s\n' "$question" | "$native" chat "$model" --temp 0 | cmp - "$build/unicode/piped"
"$native" generate "$model" -p "$question" --temp 0 -n 16 | cmp - "$build/unicode/argument"
"$native" perplexity "$model" -f "$folder/$question.txt" --json | cmp - "$build/unicode/perplexity"
echo "glint: the same files, logits and replies, byte for byte, on this machine and on Windows under wine"
