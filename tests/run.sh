#!/bin/sh
# Builds glint and passes its tests. Missing Debian packages are installed first, or named. With CI=1 warnings
# are errors, other processors have their turn too, and nothing may be skipped. The closing line: N passed,
# N failed.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${CI:-}" ]; then sh tests/packages.sh all; else sh tests/packages.sh test; fi
build=${GLINT_BUILD:-build}
werror=false
[ -n "${CI:-}" ] && werror=true
if [ -f "$build/build.ninja" ]; then
  meson configure "$build" -Dwerror=$werror
else
  meson setup "$build" -Dwerror=$werror
fi
ninja -C "$build"
log="$build/meson-logs/testlog.txt"
status=0
meson test -C "$build" --no-rebuild --print-errorlogs || status=1

# Every target that this processor has must have been tried.
if [ -n "${CI:-}" ]; then
  ran=$(grep -h '^targets run:' "$log" | head -1)
  for pair in avx2:avx2 avx512vl:avx512 avx512_vnni:avx512vnni avx512_vnni:avxvnni_evex; do
    grep -qw "${pair%%:*}" /proc/cpuinfo || continue
    echo "$ran" | grep -qw "${pair##*:}" || { echo "CI: target ${pair##*:} did not run"; status=1; }
  done
fi

# What one machine can check of others. Each step has a script of its own, and its time is told.
step() {
  begin=$(date +%s)
  echo "== $*"
  if "$@"; then verdict=passed; else verdict=FAILED status=1; fi
  echo "== $*: $verdict, $(($(date +%s) - begin)) s"
}
if [ -n "${CI:-}" ]; then
  export GLINT_NATIVE="$PWD/$build/examples/glint"
  step sh tests/cross_arm.sh aarch64 "$build-aarch64" -Doptimization=1
  # Without the importers: the suite in full takes an hour under qemu-arm.
  step sh tests/cross_arm.sh armhf "$build-armhf" -Doptimization=1 -Dimport=disabled
  step sh tests/cross_arm.sh phone "$build-phone"
  as_root=
  [ "$(id -u)" = 0 ] || as_root='sudo -E'
  step $as_root env GLINT_CACHED=1 sh tests/debian_package.sh "$build-debian"
fi

passed=$(awk '/^Ok:/ {n = $2} END {print n + 0}' "$log")
failed=$(awk '/^(Fail|Unexpected Pass|Timeout):/ {n += $NF} END {print n + 0}' "$log")
if [ -n "${CI:-}" ] && grep -q '^skipped:' "$log"; then
  echo 'CI may not skip:'
  grep '^skipped:' "$log" | sort -u
  status=1
fi
[ $status = 0 ] || [ "$failed" != 0 ] || failed=1
echo "$passed passed, $failed failed"
exit $status
