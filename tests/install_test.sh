#!/bin/sh
# install_test.sh BUILD: installs what BUILD has made into a temporary folder, looks at it, and builds the
# projects of examples/projects against it: there, and again after the whole tree has been moved. Each must
# say what the glint program says. With GLINT_SKIP_SUBPROJECT=1 glint is not compiled once more as a
# subproject, which takes minutes with a cold compiler cache.
set -eu
unset LD_LIBRARY_PATH  # meson's, for the library of BUILD
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install_test: $*" >&2; exit 1; }
say() { echo "install_test: $*"; }
model=$source/examples/tiny/tiny.glint
question='What is the capital of Japan?'

# The value of an option that BUILD was set up with.
option() {
  python3 -c 'import json, sys
for option in json.load(open(sys.argv[1] + "/meson-info/intro-buildoptions.json")):
  if option["name"] == sys.argv[2]: print(str(option["value"]).lower())' "$build" "$1"
}
[ "$(option pkgconfig.relocatable)" = true ] ||
  fail "$build was set up before glint.pc could be moved: meson configure $build -Dpkgconfig.relocatable=true"
prefix=$(option prefix)
libdir=$(option libdir)

touch "$work/before"
DESTDIR=$work/dest meson install -C "$build" --no-rebuild --quiet > "$work/install.log" 2>&1 ||
  { cat "$work/install.log"; fail 'meson install failed'; }
[ -z "$(find "$prefix" -newer "$work/before" -name '*glint*' 2>/dev/null)" ] || fail "wrote to $prefix"
[ -z "$(find "$work/dest" ! -type d ! -path "$work/dest$prefix/*")" ] || fail 'wrote beside the prefix'
mkdir "$work/usr"
tree=$work/usr/glint
mv "$work/dest$prefix" "$tree"
lib=$tree/$libdir

# Exactly this, so that internal libraries and headers stay inside.
version=$(sed -n "s/^project('glint'.* version: '\([^']*\)'.*/\1/p" "$source/meson.build")
check_files() {
  (cd "$tree" && find . ! -type d | sed 's/^..//' | sort) > "$work/found"
  sort > "$work/expected" <<END
bin/glint
include/glint.h
include/glint.hpp
$libdir/cmake/glint/glintConfig.cmake
$libdir/cmake/glint/glintConfigVersion.cmake
$libdir/libglint.a
$libdir/libglint.so
$libdir/libglint.so.0
$libdir/libglint.so.$version
$libdir/pkgconfig/glint.pc
share/bash-completion/completions/glint
share/fish/vendor_completions.d/glint.fish
share/man/man1/glint.1
share/zsh/site-functions/_glint
END
  diff "$work/expected" "$work/found" || fail 'other files than expected are installed (< expected, > found)'
}

# What the shared library asks of a system and offers it.
check_shared_library() {
  so=$lib/libglint.so.$version
  readelf -d "$so" > "$work/dynamic"
  readelf -lW "$so" > "$work/segments"
  grep -q 'SONAME.*\[libglint\.so\.0\]' "$work/dynamic" || fail "soname: $(grep SONAME "$work/dynamic")"
  needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" |
    grep -vE '^(lib(utf8proc|stdc\+\+|m|gcc_s|c|pthread|atomic)\.so\.[0-9]+|ld-linux.*)$' || true)
  [ -z "$needed" ] || fail "libglint.so needs more than utf8proc and the compiler's libraries: $needed"
  ! grep -qE 'RPATH|RUNPATH|TEXTREL' "$work/dynamic" || fail 'libglint.so has a run path or text relocations'
  grep -q 'BIND_NOW\|FLAGS.*NOW' "$work/dynamic" || fail 'libglint.so: not all symbols are bound at once'
  grep -q GNU_RELRO "$work/segments" || fail 'libglint.so: no RELRO'
  grep 'GNU_STACK' "$work/segments" | grep -q 'RW ' || fail 'libglint.so: an executable stack'
  ! grep -q 'LOAD.*RWE' "$work/segments" || fail 'libglint.so: a segment to write and execute'
  nm -D --defined-only "$so" | awk '{print $3}' | sort > "$work/exported"
  # Debian's list of the symbols says since when each is there.
  sed -n 's/^ \(glint_[^@]*\)@.*/\1/p' "$source/.ci/debian/libglint0.symbols" | sort |
    diff - "$work/exported" || fail 'libglint0.symbols (<) and what is exported (>) differ'
}

check_program() {
  [ "$("$tree/bin/glint" --version)" = "glint $version" ] || fail 'glint --version'
  "$tree/bin/glint" verify builtin > /dev/null || fail 'glint verify builtin'
}

check_manual() {
  command -v mandoc >/dev/null || { say 'mandoc is not installed: the man page was not checked'; return; }
  mandoc -Tlint -Wwarning "$tree/share/man/man1/glint.1" > "$work/lint" || { cat "$work/lint"; fail 'mandoc'; }
  if command -v groff >/dev/null; then
    groff -man -ww -z "$tree/share/man/man1/glint.1" 2> "$work/lint"
    [ ! -s "$work/lint" ] || { cat "$work/lint"; fail 'groff'; }
  fi
}

# complete_bash WORD...: what bash offers for the last word in the folder of the built-in model, in one line.
complete_bash() (
  cd "$source/examples/tiny"
  bash --norc -c 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _glint; echo "${COMPREPLY[*]}"' \
    "$tree/share/bash-completion/completions/glint" "$@"
)
check_completion() {
  [ "$(complete_bash glint conv)" = convert ] || fail "bash: glint conv: $(complete_bash glint conv)"
  [ "$(complete_bash glint chat --kv '')" = 'f32 f16 int8' ] || fail 'bash: glint chat --kv'
  [ "$(complete_bash glint --repe)" = --repeat-penalty ] || fail 'bash: glint --repe'
  [ "$(complete_bash glint info bui)" = builtin ] || fail 'bash: glint info bui'
  [ "$(complete_bash glint bench -n '')" = '' ] || fail 'bash: glint bench -n'
  [ "$(complete_bash glint verify tiny.g)" = tiny.glint ] || fail 'bash: a file'
  for shell in zsh fish; do
    if ! command -v $shell >/dev/null; then
      say "$shell is not installed: its completion was not loaded"
    elif [ $shell = zsh ]; then
      zsh -fn "$tree/share/zsh/site-functions/_glint" || fail zsh
    else
      [ "$(fish --no-config -c "source '$tree/share/fish/vendor_completions.d/glint.fish'
        complete -C 'glint conv'" | cut -f 1)" = convert ] || fail fish
    fi
  done
}

# says PROGRAM EXPECTED: what it prints for the question.
says() { [ "$("$1" "$model" "$question")" = "$2" ] || fail "$1 said: $("$1" "$model" "$question")"; }
generated=$("$tree/bin/glint" generate "$model" -p "$question" --temp 0)
chatted=$(echo "$question" | "$tree/bin/glint" chat "$model" --temp 0)

build_make() {
  cp -r "$source/examples/projects/make" "$1"
  export PKG_CONFIG_PATH="$lib/pkgconfig"
  make -s -C "$1" hello hello_static
  says "$1/hello" "$generated"
  says "$1/hello_static" "$generated"
  ldd "$1/hello" | grep -q "libglint.so.0 => $lib/" || fail 'hello does not use the installed library'
  ! ldd "$1/hello_static" | grep -q libglint || fail 'hello_static uses the shared library'
}

build_cmake() {
  cmake -S "$source/examples/projects/cmake" -B "$1" -DCMAKE_PREFIX_PATH="$tree" \
    -DCMAKE_C_FLAGS='-Wall -Wextra -Werror' > "$work/log" 2>&1 &&
    cmake --build "$1" >> "$work/log" 2>&1 || { cat "$work/log"; fail cmake; }
  says "$1/ask" "$chatted"
  says "$1/ask_static" "$chatted"
  ! ldd "$1/ask_static" | grep -q libglint || fail 'ask_static uses the shared library'
}

# build_meson FOLDER OPTION...: the system's glint is the installed one, if it is not forbidden.
build_meson() {
  folder=$1
  shift
  meson setup "$folder" "$work/meson" -Dwerror=true "$@" > "$work/log" 2>&1 &&
    nice -n 5 ninja -C "$folder" -j "${GLINT_JOBS:-$(nproc)}" >> "$work/log" 2>&1 ||
    { tail -40 "$work/log"; fail "meson $*"; }
  says "$folder/ask" "$chatted"
}

check_files
check_shared_library
check_program
check_manual
check_completion
say 'files, library, program, man page and completions'

cp -r "$source/examples/projects/meson" "$work/meson"
mkdir "$work/meson/subprojects"
ln -s "$source" "$work/meson/subprojects/glint"
build_make "$work/make"
build_cmake "$work/cmake"
build_meson "$work/meson-system"
ldd "$work/meson-system/ask" | grep -q "$lib/" || fail 'the meson project does not use the installed glint'
say 'make, cmake and meson projects'

mv "$tree" "$work/elsewhere"
tree=$work/elsewhere
lib=$tree/$libdir
check_program
build_make "$work/make2"
build_cmake "$work/cmake2"
build_meson "$work/meson-system2"
say 'the same after the tree was moved'

# Nothing is installed now. The parent wants a shared library, warnings are errors.
rm -r "$tree"
if [ -n "${GLINT_SKIP_SUBPROJECT:-}" ]; then
  say 'the subproject was left out'
  exit 0
fi
build_meson "$work/meson-sub" -Ddefault_library=shared --wrap-mode=nodownload
[ ! -e "$work/meson-sub/subprojects/glint/examples" ] || fail 'a subproject builds the program'
[ "$(find "$work/meson-sub/subprojects/glint" -name '*.h')" != '' ] || fail 'no public header in the subproject'
say 'meson subproject'
