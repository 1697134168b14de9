#!/bin/sh
# check_phone_size.sh BUILD_DIR PREFIX [LINK_ARGUMENT...]: links examples/embed_in_c, which goes the C API's main
# path, with the phone build's libglint.a, by PREFIX-g++ and the arguments given; stripped, it must stay below 1.5 MiB.
# Says also what the program `glint` takes where it was built.
set -e
limit=1572864
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
prefix=$2
shift 2
"$prefix-g++" -O2 -x c -std=c99 -I"$source/lib" "$source/examples/embed_in_c/embed.c" -x none "$build/lib/libglint.a" \
  "$@" -pthread -Wl,--gc-sections -Wl,-Map="$build/phone.map" -o "$build/phone"
"$prefix-strip" -o "$build/phone.stripped" "$build/phone"
bytes=$(stat -c %s "$build/phone.stripped")
"$prefix-size" "$build/phone"
echo "phone: embed_in_c with libglint.a, stripped: $bytes bytes; the limit is $limit"
if [ -x "$build/examples/glint" ]; then
  "$prefix-strip" -o "$build/glint.stripped" "$build/examples/glint"
  all=$(stat -c %s "$build/glint.stripped")
  model=$(stat -c %s "$source/examples/tiny/tiny.glint")
  echo "phone: the program glint: $all bytes, of which the built-in model is $model"
fi
[ "$bytes" -lt $limit ]
