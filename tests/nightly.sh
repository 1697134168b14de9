#!/bin/sh
# nightly.sh [STEP...]: the long forms of what CI does in short: all steps, or those named.
#   fuzz        10 minutes of processor time for each fuzz target
#   sanitizers  the whole suite, its fault injection too, under ASan and UBSan, then under TSan
#   cross       the suite for every other target (tests/cross_*.sh)
#   valgrind    the whole suite under valgrind
# Prints a line for each step; the exit status is 0 if none failed. Logs: build-nightly/logs.
set -u
cd "$(dirname "$0")/.."
logs=${GLINT_NIGHTLY_LOGS:-build-nightly/logs}
mkdir -p "$logs"
failed=

# Run NAME COMMAND...: the command's output goes to a log.
Run() {
  name=$1
  shift
  begin=$(date +%s)
  if "$@" >"$logs/$name.log" 2>&1; then verdict=passed; else verdict=FAILED failed="$failed $name"; fi
  echo "$name: $verdict, $(($(date +%s) - begin)) s"
  [ "$verdict" = passed ] || tail -30 "$logs/$name.log"
}

Fuzz() {
  GLINT_FUZZ_KEEP=1 Run fuzz sh tests/fuzz/run.sh "${GLINT_FUZZ_SECONDS:-600}"
  cat build-fuzz/logs/statistics
}

# The fault tests (power loss at every write, allocation failure at every call, kill, full disk) are part
# of the suite; here under the sanitizers too, all of it.
Sanitizers() {
  for kind in address thread; do
    Run "sanitizers_$kind" sh tests/sanitizers.sh $kind all
  done
}

Cross() {
  for script in tests/cross_*.sh; do
    name=$(basename "$script" .sh)
    Run "$name" sh "$script" "build-nightly/$name"
  done
}

Valgrind() {
  command -v valgrind >/dev/null || { echo 'valgrind: not there'; failed="$failed valgrind"; return; }
  # Valgrind knows no AVX-512 and would stop at its instructions.
  [ -f build-valgrind/build.ninja ] || meson setup build-valgrind -Doptimization=1 -Ddebug=true >/dev/null
  Run build_valgrind ninja -C build-valgrind
  Run valgrind env GLINT_ISA=avx2 meson test -C build-valgrind --no-rebuild --timeout-multiplier 60 \
    --wrapper 'valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --trace-children=no'
}

steps=${*:-fuzz sanitizers cross valgrind}
for step in $steps; do
  case $step in
    fuzz) Fuzz ;;
    sanitizers) Sanitizers ;;
    cross) Cross ;;
    valgrind) Valgrind ;;
    *) echo "no step $step"; failed="$failed $step" ;;
  esac
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
