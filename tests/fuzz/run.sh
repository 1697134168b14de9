#!/bin/sh
# run.sh [SECONDS [TARGET...]]: builds the fuzz targets, replays the whole corpus under ASan and UBSan,
# then runs each target (all, or those named) for so many seconds of processor time (10), two at a time.
# GLINT_FUZZ_BUILD: the build folder (build-fuzz). GLINT_FUZZ_JOBS: how many at a time. A finding lies
# in BUILD/findings/TARGET; with GLINT_FUZZ_KEEP=1 new inputs stay in BUILD/corpus/TARGET.
# GLINT_FUZZ_TIMEOUT: seconds of wall clock that one input may take (5).
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-10}
[ $# = 0 ] || shift
build=${GLINT_FUZZ_BUILD:-build-fuzz}
jobs=${GLINT_FUZZ_JOBS:-2}
clang=${GLINT_CLANG:-clang++-19}
command -v "$clang" >/dev/null || { echo "fuzz: $clang is not there"; exit 1; }
if [ ! -f "$build/build.ninja" ]; then
  launcher=$(command -v ccache || true)
  CXX="$launcher $clang" meson setup "$build" -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
    -Dbuildtype=debugoptimized -Doptimization=1 -Db_ndebug=false -Dopenblas=disabled -Donednn=disabled
fi
all=$(sed -n "s/^    '\([a-z_0-9]*\)': 'Fuzz.*/\1/p" tests/fuzz/meson.build)
targets=${*:-$all}
programs=
for target in $targets; do programs="$programs tests/fuzz/fuzz_$target"; done
# shellcheck disable=SC2086
ninja -C "$build" tests/fuzz/fuzz_replay $programs

export ASAN_OPTIONS=detect_leaks=1:max_allocation_size_mb=256:allocator_may_return_null=0:quarantine_size_mb=32
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
TMPDIR=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo /tmp)")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
"$build/tests/fuzz/fuzz_replay" tests/fuzz/corpus

# Each target: its statistics in one line.
mkdir -p "$build/findings" "$build/corpus" "$build/logs"
: >"$build/logs/statistics"
status=0
echo "$targets" | tr ' ' '\n' | xargs -P "$jobs" -I{} sh tests/fuzz/run_one.sh "$build" "$seconds" {} ||
  status=1
exit $status
