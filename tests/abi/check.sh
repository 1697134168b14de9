#!/bin/sh
# check.sh [--renew] LAYOUT_PROGRAM SHARED_LIBRARY HEADER: compares what binary compatibility rests
# on with the lists committed beside this script: layout-32.txt or layout-64.txt (by the width of a
# pointer; structs, offsets, enum values), functions.txt (prototypes, types of callbacks) and
# symbols.txt. --renew writes the lists anew; the commit that does so says what a program built with
# an older header meets. Also: the library exports glint_* alone, and every function that the header
# declares.
set -eu
renew=no
[ "$1" = --renew ] && { renew=yes; shift; }
program=$1 library=$2 header=$3
lists=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

${GLINT_WRAPPER:-} "$program" | tr -d '\r' > "$work/layout"
# glint_reply.text lies behind a size_t: its offset is the width.
width=$(awk '/^struct glint_reply / {inside = 1} inside && $1 == "text" {print $2 * 8; exit}' "$work/layout")
case $library in
  *.dll) "${OBJDUMP:-objdump}" -p "$library" |
    sed -n '/^\[Ordinal\/Name Pointer\] Table/,/^$/s/^[[:space:]]*\[ *[0-9]*\] //p' ;;
  *) "${NM:-nm}" -D --defined-only "$library" | awk '{print $3}' | sed 's/@@.*//' ;;
esac | LC_ALL=C sort > "$work/symbols"
sed -n 's/^GLINT_API.*[ *]\(glint_[a-z_0-9]*\)(.*/\1/p' "$header" | LC_ALL=C sort > "$work/declared"
sed 's|/\*.*\*/||' "$header" | awk '
  /^GLINT_API|^typedef [a-z].*\(\*/ {inside = 1}
  inside {text = text " " $0}
  inside && /;$/ {
    gsub(/ +/, " ", text); sub(/^ (GLINT_API )?/, "", text)
    print text
    text = ""; inside = 0
  }
' > "$work/functions"

if [ $renew = yes ]; then
  cp "$work/functions" "$lists/functions.txt"
  cp "$work/layout" "$lists/layout-$width.txt"
  cp "$work/symbols" "$lists/symbols.txt"
  exit 0
fi
status=0
compare() {  # COMMITTED FOUND WHAT
  diff -u "$1" "$2" || { echo "$3 (tests/abi/check.sh --renew, if it is meant to be so)"; status=1; }
}
compare "$lists/layout-$width.txt" "$work/layout" 'the layout of the C interface has changed'
compare "$lists/functions.txt" "$work/functions" 'functions of the C interface have changed'
compare "$lists/symbols.txt" "$work/symbols" 'the symbols of the library have changed'
compare "$work/declared" "$work/symbols" 'the header declares something else than the library exports'
# A unique symbol would be shared by two copies of the library in one process. A DLL has none.
if [ "${library%.dll}" = "$library" ] && readelf --dyn-syms -W "$library" | grep -w UNIQUE; then
  echo 'unique symbols are exported'
  status=1
fi
exit $status
