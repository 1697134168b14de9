#!/bin/sh
# Which folder may include which (docs/ARCHITECTURE.md): prints and fails on each include that points the
# wrong way. Run from the project's root.
set -eu
status=0
# formats/import may use lib/text: a reader of tokenizers builds the tables that lib/text defines.
# forbid FILES PATTERN WHY: no file may include a project header whose path matches the pattern.
forbid() {
  found=$(grep -nE "^#include \"($2)" $1 /dev/null || true)
  [ -z "$found" ] || { echo "$3:"; echo "$found"; status=1; }
}
all() { find "$@" -name '*.h' -o -path "$1*" -name '*.cc' | sort; }
forbid "$(all quant)" '(simd|lib|formats|examples|tests|bench)/' 'quant includes nothing'
forbid "$(find simd/kernels -type f)" '(lib|formats|examples|tests|bench)/' 'kernels include kernels.h and quant'
forbid "$(all simd)" '(formats|examples|tests|bench)/|lib/[^e]' 'simd includes quant, and errors'
forbid "$(all lib)" '(examples|tests|bench)/|formats/(import|architectures|convert)' \
  'lib knows no importer'
forbid "$(find formats -maxdepth 1 -type f) $(all formats/import)" \
  '(examples|tests|bench|simd)/|lib/(ops|plan|session|model|executor|generate)|formats/(architectures|convert)' \
  'formats knows no runtime'
forbid "$(all formats/architectures)" '(examples|tests|bench)/|lib/(plan|session|model|executor)' \
  'architectures know the graph builder only'
forbid "$(all examples)" '(tests|bench)/' 'examples use the library'
found=$(grep -rnE '^#include <(vector|string|algorithm|memory|map|cmath)>' simd/kernels || true)
[ -z "$found" ] || { echo 'simd/kernels uses no STL:'; echo "$found"; status=1; }
exit $status
