#!/bin/sh
# check_isa_symbols.sh LIBRARY...: a weak symbol (inline function, template) in an object built with,
# say, -mavx512f may be the copy that the linker keeps for the whole program, which then dies on an
# older CPU. Highway's own live in per-target namespaces, so they are safe.
command -v "${NM:-nm}" >/dev/null || { echo "no ${NM:-nm}"; exit 1; }
for lib in "$@"; do
  [ -e "$lib" ] || { echo "$lib: missing"; exit 1; }
done
bad=$(for lib in "$@"; do "${NM:-nm}" -C "$lib" 2>/dev/null; done |
  grep -E ' [WVu] ' | grep -v -e 'hwy::N_' -e ' _ZN3hwy[0-9]*N_')
[ -z "$bad" ] || { echo "weak symbols in per-target objects:"; echo "$bad"; exit 1; }
