#!/bin/sh
# sanitizers.sh [address|thread] [quick|all]: builds everything with AddressSanitizer and UBSan, or with
# ThreadSanitizer, and runs the suite. "quick" ("address quick" is what CI runs): tests that need no more
# than the runtime library, which compiles in minutes. What is not instrumented: simd/kernels (the same
# objects as in an ordinary build, simd/meson.build), so a second run of the tests of numbers takes the
# reference kernels, which are; and memory that comes from mmap (weights, activations, cache), which has
# no red zones.
set -eu
cd "$(dirname "$0")/.."
kind=${1:-address}
extent=${2:-all}
build=${GLINT_BUILD:-build}-$kind
case $kind in
  address) sanitize=address,undefined ;;
  thread) sanitize=thread ;;
  *) echo "usage: sanitizers.sh [address|thread] [quick|all]" >&2; exit 2 ;;
esac
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# -O1 as in ordinary test programs; asserts and the standard library's checks are on (quant/meson.build).
# Line numbers are a quarter of the compiler's time: CI, whose findings are looked at here again, does without.
lines=true
[ "$extent" = all ] || lines=false
[ -f "$build/build.ninja" ] ||
  meson setup "$build" -Dwerror=true -Db_sanitize=$sanitize -Doptimization=1 -Ddebug=$lines -Db_ndebug=false \
    -Db_lundef=false -Dbench=disabled >/dev/null

# Tests that a sanitizer's build cannot run, or that say nothing there:
#   isa_symbols, roofline, includes, library_gates   look at sources and ordinary objects
#   *_on_nehalem                                     qemu-user does not leave room for shadow memory
#   embed_in_c_valgrind                              valgrind does not either
#   install                                          projects that link the library without the sanitizer
# And inside memory_faults_test what limits a program's addresses, of which shadow memory takes terabytes.
quick_address='glint_hostile_test glint_writer_test jinja_test runtime_test many_sessions_test'
quick_thread='many_sessions_test runtime_test glint_writer_test'
threads='adapter_bits_test batch_test bits_test c_api_session_test calibration_test changed_file_test
  chat_model_test gather_test gptq_test import_test instruments_test jinja_test kv_test loading_test
  lookup_test memory_model_test moe_model_test moe_test ops_test pages_test session_cache_test
  session_file_test session_pool_test staged_model_test'

# Under ThreadSanitizer those that have threads.
run() {
  if [ "$extent" = quick ]; then
    [ "$kind" = address ] && echo "$quick_address" || echo "$quick_thread"
  elif [ "$kind" = thread ]; then
    echo "$quick_thread $threads"
  fi
}
tests=$(run)
targets=
for name in $tests; do
  grep -q "^build tests/$name: " "$build/build.ninja" || continue  # OpenBLAS may be missing
  targets="$targets tests/$name"
done
# The lists are meant to be split. shellcheck disable=SC2086
if [ -z "$tests" ]; then
  ninja -C "$build"
elif [ "$extent" = quick ]; then
  ninja -C "$build" $targets  # without the program
else
  ninja -C "$build" examples/glint $targets
fi
status=0
names=
for target in $targets; do names="$names ${target#tests/}"; done
if [ -z "$names" ]; then
  names=$(meson test -C "$build" --list 2>/dev/null | sed 's/.* //' |
    grep -vE '_on_nehalem$|^(isa_symbols|roofline|includes|library_gates|embed_in_c_valgrind|install)$')
fi
# All 100 sessions of many_sessions_test.
nightly=
[ "$kind" = address ] || nightly=1
# shellcheck disable=SC2086
GLINT_NIGHTLY=$nightly meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 10 \
  $names || status=1
if [ "$extent" = all ]; then
  # The plain loops in place of the kernels: every access to a row or a tile is seen.
  reference='ops_test runtime_test plan_test batch_test moe_test kv_test'
  [ "$kind" = address ] || reference='runtime_test many_sessions_test'
  # shellcheck disable=SC2086
  GLINT_ISA=reference meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 20 \
    $reference || status=1
fi
exit $status
