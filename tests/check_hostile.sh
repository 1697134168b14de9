#!/bin/sh
# What may not be reached from a file (docs/GUARANTEES.md): prints and fails on each use in the folders
# that read files and text. Run from the project's root.
set -eu
status=0
# forbid PATTERN WHY FOLDER...: no source in the folders may match.
forbid() {
  pattern=$1 why=$2
  shift 2
  found=$(grep -rnE --include='*.h' --include='*.cc' "$pattern" "$@" | grep -vE '^[^:]+:[0-9]+: *//' || true)
  [ -z "$found" ] || { echo "$why:"; echo "$found"; status=1; }
}
forbid '\b(assert|abort|exit|terminate)\(' 'a file never ends the process' formats lib/text
forbid '\bstd::sto(i|l|ll|ul|ull|f|d|ld)\(' 'std::stoX throws what is no Error: use std::from_chars' \
  formats lib/text
forbid '\b(atoi|atol|atoll|atof|strtod|strtof|strtol|strtoul|strtoll|strtoull|sscanf)\(' \
  'numbers are read without a locale, and their errors: use std::from_chars' formats lib/text
forbid '__builtin_(add|sub|mul)_overflow' 'sizes are added and multiplied by lib/checked_math.h' \
  formats lib/ops lib/plan.cc lib/kv_cache.cc lib/memory_estimate.cc
exit $status
