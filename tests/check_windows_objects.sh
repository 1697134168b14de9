#!/bin/sh
# check_windows_objects.sh LIBRARY...: what must hold of kernels that gcc compiles for Windows. OBJDUMP names
# the tool of the target.
# No vector move may need an aligned address: gcc does not align the stack for more than 16 bytes there
# (gcc bug 54412), and a program would die of it, or not, by chance.
# And as in check_isa_symbols.sh no inline function of a target may be shared with the rest of the
# program; here such functions are sections by themselves, of which the linker keeps one.
objdump=${OBJDUMP:-x86_64-w64-mingw32-objdump}
command -v "$objdump" >/dev/null || { echo "no $objdump"; exit 1; }
status=0
for lib in "$@"; do
  [ -e "$lib" ] || { echo "$lib: missing"; exit 1; }
  # Non-temporal moves too: nothing turns those into unaligned ones.
  moves=$("$objdump" -d --no-show-raw-insn "$lib" |
    grep -E '[[:space:]](v?mov(ap[sd]|dqa(32|64)?)|v?movnt(p[sd]|dqa?))[[:space:]].*\(' | head -5)
  [ -z "$moves" ] || { echo "$lib: moves that need an aligned address:"; echo "$moves"; status=1; }
  shared=$("$objdump" -h "$lib" | awk '{print $2}' | grep -E '^\.(text|rdata|data)\$_Z' |
    grep -v -E '\$_ZN3hwy[0-9]*N_|\$_ZN?K?3hwy[0-9]+N_' | sort -u | head -5)
  [ -z "$shared" ] || { echo "$lib: sections that are shared between targets:"; echo "$shared"; status=1; }
done
exit $status
