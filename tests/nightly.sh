#!/bin/sh
# nightly.sh [STEP...]: the long forms of what CI does in short: all steps, or those named.
#   fuzz        10 minutes of processor time for each fuzz target
#   faults      the fault tests' long forms: every request for memory, power loss behind every call
#   sanitizers  the whole suite, its fault injection too, under ASan and UBSan, then under TSan
#   cross       the suite for every other target: cross_arm.sh's, Windows
#   valgrind    the whole suite under valgrind
# Prints a line for each step; the exit status is 0 if none failed. Logs: build-nightly/logs.
set -u
cd "$(dirname "$0")/.."
sh tests/packages.sh all
logs=${GLINT_NIGHTLY_LOGS:-build-nightly/logs}
mkdir -p "$logs"
build=${GLINT_BUILD:-build}
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

# Power loss behind every call with many replays each, every request for memory failing, 400 kills, 100
# sessions: the fault tests in their long form.
Faults() {
  [ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
  Run build_faults ninja -C "$build"
  Run faults env GLINT_NIGHTLY=1 meson test -C "$build" --no-rebuild --suite faults \
    --timeout-multiplier 20
}

Sanitizers() {
  for kind in address thread; do
    Run "sanitizers_$kind" sh tests/sanitizers.sh $kind all
  done
}

Cross() {
  # A program of this machine, whose logits the others' must equal byte for byte.
  if [ -z "${GLINT_NATIVE:-}" ] && [ -x "$build/examples/glint" ]; then
    export GLINT_NATIVE="$PWD/$build/examples/glint"
  fi
  for target in aarch64 armhf phone; do
    Run "cross_arm_$target" sh tests/cross_arm.sh $target "build-nightly/$target"
  done
  Run cross_windows sh tests/cross_windows.sh build-nightly/windows
}

# Valgrind hides AVX-512 from the tests, and finds no room for the loops of matmuls unless it takes them in
# small pieces. Not run: what looks at sources, objects and installed files, and what is emulated already.
Valgrind() {
  command -v valgrind >/dev/null || { echo 'valgrind: not there'; failed="$failed valgrind"; return; }
  folder=${GLINT_VALGRIND_BUILD:-build-valgrind}
  [ -f "$folder/build.ninja" ] ||
    meson setup "$folder" -Doptimization=1 -Ddebug=true -Dbench=disabled >/dev/null
  # GLINT_VALGRIND_TESTS: these alone.
  tests=${GLINT_VALGRIND_TESTS:-$(meson test -C "$folder" --list 2>/dev/null | sed 's/.* //' |
    grep -vE '_on_nehalem$|_valgrind$|^(isa_symbols|roofline|includes|library_gates|hostile_gate|install)$')}
  wrapper='valgrind --quiet --vex-guest-max-insns=20 --error-exitcode=9 --trace-children=no'
  programs=
  for test in $tests; do
    grep -q "^build tests/$test: " "$folder/build.ninja" && programs="$programs tests/$test"
  done
  # The lists are meant to be split. shellcheck disable=SC2086
  Run build_valgrind ninja -C "$folder" ${GLINT_VALGRIND_TESTS:+$programs}
  # shellcheck disable=SC2086
  Run valgrind env GLINT_ISA=avx2 meson test -C "$folder" --no-rebuild --timeout-multiplier 60 \
    --wrapper "$wrapper --leak-check=full --errors-for-leak-kinds=definite" $tests
}

steps=${*:-fuzz faults sanitizers cross valgrind}
for step in $steps; do
  case $step in
    fuzz) Fuzz ;;
    faults) Faults ;;
    sanitizers) Sanitizers ;;
    cross) Cross ;;
    valgrind) Valgrind ;;
    *) echo "no step $step"; failed="$failed $step" ;;
  esac
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
