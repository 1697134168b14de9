#!/bin/sh
# cross_arm.sh TARGET BUILD_DIR [MESON_OPTION...]: builds the project for a target of ARM and runs tests under
# qemu as several CPUs. Run from the source root. Needs the target's g++, qemu-user and meson; fetches
# Debian's build of utf8proc for the target (no root; apt must know the architecture). With GLINT_NATIVE, a
# `glint` of this machine, the program's logits are compared byte for byte.
# The first CPU gets the whole suite, the others what compares their kernels and bits with those on record:
# equal bits pass the rest.
#   aarch64  CPUs without dotprod, with it, and with i8mm
#   armhf    the same for 32-bit ARM: with NEON and fused multiply-add; the program also without them
#   phone    the phone build for aarch64, its tests as one CPU, and its size (docs/PLATFORMS.md)
set -e
usage() { echo "usage: cross_arm.sh aarch64|armhf|phone BUILD_DIR [MESON_OPTION...]" >&2; exit 2; }
[ -n "$2" ] || usage
# Of each target: compiler's prefix, Debian's name, meson's, the suite, CPUs for the tests and the kernels that
# each must choose, and CPUs for the program alone.
case $1 in
  aarch64)
    triple=aarch64-linux-gnu debian=arm64 family=aarch64 qemu=qemu-aarch64 suite=arch
    cpus='cortex-a72:neon neoverse-n1:dotprod max:i8mm' program_cpus= ;;
  armhf)
    triple=arm-linux-gnueabihf debian=armhf family=arm qemu=qemu-arm suite=arch32
    cpus='cortex-a15:neon32' program_cpus='max:neon32 cortex-a9:reference' ;;
  phone)
    triple=aarch64-linux-gnu debian=arm64 family=aarch64 qemu=qemu-aarch64 suite=arch
    cpus='max:i8mm' program_cpus= ;;
  *) usage ;;
esac
target=$1
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$2"
build=$(cd "$2" && pwd)
shift 2
# gold, as Android's lld, folds functions whose code is the same.
[ $target != phone ] || set -- -Dimport=disabled -Ddefault_library=static --buildtype=release \
  -Doptimization=s -Dcpp_link_args=-fuse-ld=gold "$@"
deps=$build.deps
prefix=/usr/$triple

. "$source/tests/cross_headers.sh"

# utf8proc, unpacked beside the build: Debian's package for the target.
if [ ! -e "$deps/lib/libutf8proc.a" ]; then
  (cd "$deps" && apt-get download "libutf8proc-dev:$debian" >/dev/null &&
    dpkg-deb -x libutf8proc-dev_*_"$debian.deb" unpacked)
  mkdir -p "$deps/lib"
  cp "$deps/unpacked/usr/lib/$triple/libutf8proc.a" "$deps/lib/"
  cp "$deps/unpacked/usr/include/utf8proc.h" "$deps/include/"
fi
cat > "$deps/pkgconfig/libutf8proc.pc" <<EOF
Name: libutf8proc
Description: Debian's $debian build
Version: 2.8.0
Libs: -L$deps/lib -lutf8proc
Cflags: -DUTF8PROC_STATIC
EOF

ccache=$(command -v ccache >/dev/null && echo "'ccache', ")
cat > "$deps/cross.ini" <<EOF
[binaries]
cpp = [$ccache'$triple-g++']
c = [$ccache'$triple-gcc']
ar = '$triple-ar'
strip = '$triple-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['$qemu', '-L', '$prefix']
[properties]
pkg_config_libdir = '$deps/pkgconfig'
[built-in options]
cpp_args = ['-isystem', '$deps/include']
[host_machine]
system = 'linux'
cpu_family = '$family'
cpu = 'generic'
endian = 'little'
EOF
export NM=$triple-nm
[ -e "$build/build.ninja" ] ||
  meson setup "$build" "$source" --cross-file "$deps/cross.ini" "$@"
[ -z "$GLINT_SETUP_ONLY" ] || exit 0
ninja -C "$build" "${suite}_tests"

# QEMU_CPU and QEMU_LD_PREFIX reach also what a test starts.
export QEMU_LD_PREFIX=$prefix
tests="--suite $suite"
for pair in $cpus; do
  cpu=${pair%%:*}
  echo "== $cpu"
  # shellcheck disable=SC2086
  QEMU_CPU=$cpu meson test -C "$build" $tests --no-rebuild --print-errorlogs --timeout-multiplier 10
  tests='check_kernels scalar_math_test bits_test architecture_bits_test adapter_bits_test'
  grep -h '^targets' "$build/meson-logs/testlog.txt" | sort -u
  grep -q "^targets run:.*${pair##*:}" "$build/meson-logs/testlog.txt" ||
    { echo "target ${pair##*:} did not run"; exit 1; }
done

if [ $target = phone ]; then
  ninja -C "$build" lib/libglint.a
  sh "$source/tests/check_bionic.sh" "$build/lib/libglint.a"
  # Pages of 16 KiB are what Android asks of its programs; gold's own 64 KiB pad the file.
  sh "$source/tests/check_phone_size.sh" "$build" $triple -fuse-ld=gold -Wl,--icf=all -Wl,-z,max-page-size=16384 \
    "$deps/lib/libutf8proc.a"
fi

# The program itself, byte for byte: what this machine computes is what the target computes.
native=${GLINT_NATIVE:-}
[ -n "$native" ] || exit 0
ids=5,6,7,8,9,10,$("$native" info builtin --json |
  python3 -c 'import json, sys; p = json.load(sys.stdin)["prompt"]; print(p["gmask_id"], p["sop_id"], sep=",")')
models=builtin
for type in f32 int8 int4; do
  "$native" convert "$source/examples/tiny/model" -o "$deps/$type.glint" --type "$type" --force
  models="$models $deps/$type.glint"
done
for pair in $cpus $program_cpus; do
  QEMU_CPU=${pair%%:*} "$qemu" "$build/examples/glint" info --cpu | grep -q "^isa.*${pair##*:}" ||
    { echo "${pair%%:*} does not choose ${pair##*:}"; exit 1; }
  for model in $models; do
    "$native" logits "$model" --ids "$ids" -o "$build/native.npy"
    QEMU_CPU=${pair%%:*} "$qemu" "$build/examples/glint" logits "$model" --ids "$ids" \
      -o "$build/target.npy"
    cmp "$build/native.npy" "$build/target.npy"
    rm -f "$build/native.npy" "$build/target.npy"
  done
done
echo "glint logits of builtin, f32, int8, int4: the same bytes here and under qemu: $cpus $program_cpus"
