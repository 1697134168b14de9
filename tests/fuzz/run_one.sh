#!/bin/sh
# run_one.sh BUILD SECONDS TARGET, called by run.sh: runs a target for so many seconds of processor
# time, in rounds (libFuzzer counts wall clock), and prints its runs and coverage.
set -u
build=$1 seconds=$2 target=$3
found="$build/findings/$target" kept="$build/corpus/$target" log="$build/logs/$target.log"
[ -n "${GLINT_FUZZ_KEEP:-}" ] || rm -rf "$kept"
mkdir -p "$found" "$kept"
: >"$log"
set -- "$kept" "tests/fuzz/corpus/$target" -artifact_prefix="$found/" -max_len=65536 \
  -timeout="${GLINT_FUZZ_TIMEOUT:-5}" -rss_limit_mb=512 -malloc_limit_mb=64 -print_final_stats=1
[ ! -f "tests/fuzz/dict/$target.dict" ] || set -- "$@" "-dict=tests/fuzz/dict/$target.dict"

# Seconds that the programs started here have used, user and system. Not in $(...): a subshell has
# no children of its own.
Measure() {
  times >"$log.times"
  used=$(awk 'NR == 2 {
    for (i = 1; i <= 2; ++i) { split($i, t, "m"); sub("s", "", t[2]); n += t[1] * 60 + t[2] }
    print int(n) }' "$log.times")
}
status=0
while Measure && [ "$used" -lt "$seconds" ]; do
  left=$((seconds - used))
  [ $left -le 60 ] || left=60
  "$build/tests/fuzz/fuzz_$target" "$@" -max_total_time=$left >>"$log" 2>&1 || { status=$?; break; }
done
runs=$(awk '/^stat::number_of_executed_units:/ {n += $2} END {print n + 0}' "$log")
cover=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)
verdict=clean
[ $status = 0 ] || verdict="FOUND ($log)"
printf '%-15s %4s s  %9s runs  %s  %s\n' "$target" "$used" "$runs" "$cover" "$verdict" |
  tee -a "$build/logs/statistics"
[ $status = 0 ] || tail -60 "$log"
exit $status
