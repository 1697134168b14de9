#!/bin/sh
# debian_installed.sh FOLDER: installs the packages of FOLDER into this system, as root, with
# dpkg; runs the program, and one in C that pkg-config builds against them; purges them, and
# nothing of them may be left. What they depend on must be installed, and make, g++ and
# pkg-config. FOLDER has tiny.glint, too. tests/debian_package.sh calls it in a throwaway copy of
# a system.
set -eu
folder=$(cd "$1" && pwd)
packages='glint libglint0 libglint-dev'
fail() { echo "debian_installed: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for package in $packages; do
  [ ! "$(dpkg-query -W -f '${Status}' $package 2>/dev/null)" = 'install ok installed' ] ||
    fail "$package is installed already"
done

dpkg -i "$folder"/*.deb > "$work/log" 2>&1 || { cat "$work/log"; fail 'dpkg -i failed'; }
version=$(dpkg-query -W -f '${Version}' glint)
[ "$(glint --version)" = "glint ${version%-*}" ] || fail "glint --version says $(glint --version)"

# In the order of the questions: English, Chinese.
question='What is the capital of Japan?'
reply=$(printf '%s\n日本的首都是哪里？\n' "$question" | glint chat --temp 0)
[ "$reply" = 'The capital of Japan is Tokyo.
日本的首都是东京。' ] || fail "glint replied: $reply"

cp -r /usr/share/doc/libglint-dev/examples/make "$work/make"
make -s -C "$work/make" hello hello_static
readelf -d "$work/make/hello" | grep -q 'NEEDED.*libglint\.so\.0' ||
  fail 'hello is not linked with libglint.so.0'
for program in "$work/make/hello" "$work/make/hello_static"; do
  "$program" "$folder/tiny.glint" "$question"
done > "$work/replies"
glint generate "$folder/tiny.glint" -p "$question" --temp 0 >> "$work/replies"
[ "$(sort -u "$work/replies" | wc -l)" = 1 ] ||
  fail "hello and glint differ: $(cat "$work/replies")"

# Folders stay if others have something in them.
dpkg -L $packages | sort -u > "$work/paths"
dpkg --purge $packages > "$work/log" 2>&1 || { cat "$work/log"; fail 'dpkg --purge failed'; }
while read -r path; do
  [ "$path" = /. ] || [ ! -e "$path" ] && [ ! -L "$path" ] || dpkg -S "$path" >/dev/null 2>&1 ||
    fail "left after --purge: $path"
done < "$work/paths"
