#!/bin/sh
# run_one.sh BUILD SECONDS TARGET, called by run.sh: runs a target for so many seconds of processor
# time (libFuzzer itself counts wall clock, of which a loaded machine gives it little) and prints its
# runs and coverage. SIGTERM ends it early, with what there is by then.
set -u
build=$1 seconds=$2 target=$3
found="$build/findings/$target" kept="$build/corpus/$target" log="$build/logs/$target.log"
[ -n "${GLINT_FUZZ_KEEP:-}" ] || rm -rf "$kept"
mkdir -p "$found" "$kept"
set -- "$kept" "tests/fuzz/corpus/$target" -artifact_prefix="$found/" -max_len=65536 \
  -timeout="${GLINT_FUZZ_TIMEOUT:-5}" -rss_limit_mb=512 -malloc_limit_mb=64 -print_final_stats=1 \
  "-max_total_time=$((seconds * 20 + 60))"  # where ps cannot tell
[ ! -f "tests/fuzz/dict/$target.dict" ] || set -- "$@" "-dict=tests/fuzz/dict/$target.dict"

"$build/tests/fuzz/fuzz_$target" "$@" >"$log" 2>&1 &
child=$!
verdict=
trap 'verdict="clean, ended early"; kill -USR1 $child' TERM
used=0
while now=$(ps -o cputimes= -p $child) && [ -n "$now" ]; do
  used=$((now))
  [ $used -lt "$seconds" ] || kill -USR1 $child  # libFuzzer's way to end with its statistics
  sleep 0.5
done
wait $child
status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
cover=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)
[ $status = 0 ] || verdict="FOUND ($log)"
printf '%-15s %4s s  %9s runs  %s  %s\n' "$target" "$used" "$runs" "$cover" "${verdict:-clean}" |
  tee -a "$build/logs/statistics"
[ $status = 0 ] || tail -60 "$log"
exit $status
