#!/bin/sh
# cross_aarch64.sh BUILD_DIR [MESON_OPTION...]: builds the whole project for aarch64 and runs every test
# program under qemu as three CPUs: without dotprod, with it, and with i8mm. Run from the source root.
# Needs g++-aarch64-linux-gnu, qemu-user and meson; fetches Debian's arm64 build of utf8proc (no root).
set -e
[ -n "$1" ] || { echo "usage: cross_aarch64.sh BUILD_DIR [MESON_OPTION...]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
shift
deps=$build.deps
prefix=/usr/aarch64-linux-gnu

# Of the host's /usr/include the cross compiler may see the header-only libraries and nothing else.
mkdir -p "$deps/include" "$deps/pkgconfig"
for name in hwy doctest nlohmann CLI xsimd xxhash.h xxh3.h; do
  [ -e "/usr/include/$name" ] && ln -sfn "/usr/include/$name" "$deps/include/$name"
done
for name in nlohmann_json libxxhash libhwy CLI11 xsimd doctest; do
  cat > "$deps/pkgconfig/$name.pc" <<EOF
Name: $name
Description: header-only here
Version: $(pkg-config --modversion "$name" 2>/dev/null || echo 1.0)
EOF
done

# utf8proc, unpacked beside the build: Debian's arm64 package.
if [ ! -e "$deps/lib/libutf8proc.a" ]; then
  (cd "$deps" && apt-get download libutf8proc-dev:arm64 >/dev/null &&
    dpkg-deb -x libutf8proc-dev_*_arm64.deb unpacked)
  mkdir -p "$deps/lib"
  cp "$deps/unpacked/usr/lib/aarch64-linux-gnu/libutf8proc.a" "$deps/lib/"
  cp "$deps/unpacked/usr/include/utf8proc.h" "$deps/include/"
fi
cat > "$deps/pkgconfig/libutf8proc.pc" <<EOF
Name: libutf8proc
Description: Debian's arm64 build
Version: 2.8.0
Libs: -L$deps/lib -lutf8proc
Cflags: -DUTF8PROC_STATIC
EOF

cat > "$deps/cross.ini" <<EOF
[binaries]
cpp = 'aarch64-linux-gnu-g++'
c = 'aarch64-linux-gnu-gcc'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', '$prefix']
[properties]
pkg_config_libdir = '$deps/pkgconfig'
[built-in options]
cpp_args = ['-isystem', '$deps/include']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'generic'
endian = 'little'
EOF
export NM=aarch64-linux-gnu-nm
[ -e "$build/build.ninja" ] ||
  meson setup "$build" "$source" --cross-file "$deps/cross.ini" "$@"
flock -s /tmp/quiet.lock nice ninja -C "$build" tests/check_kernels tests/reference_kernels_test tests/runtime_test tests/bits_test; exit 0

# QEMU_CPU and QEMU_LD_PREFIX reach also what a test starts.
export QEMU_LD_PREFIX=$prefix
for pair in cortex-a72:neon neoverse-n1:dotprod max:i8mm; do
  cpu=${pair%%:*}
  echo "== $cpu"
  QEMU_CPU=$cpu meson test -C "$build" --suite arch --no-rebuild --print-errorlogs \
    --timeout-multiplier 10
  grep -h '^targets' "$build/meson-logs/testlog.txt" | sort -u
  grep -q "^targets run:.*${pair##*:}" "$build/meson-logs/testlog.txt" ||
    { echo "target ${pair##*:} did not run"; exit 1; }
done

# The program itself, byte for byte: what this machine computes is what aarch64 computes.
native=${GLINT_NATIVE:-}
[ -n "$native" ] || exit 0
ids=5,6,7,8,9,10,$("$native" info builtin --json |
  python3 -c 'import json, sys; p = json.load(sys.stdin)["prompt"]; print(p["gmask_id"], p["sop_id"], sep=",")')
"$native" logits builtin --ids "$ids" -o "$build/native.npy"
for cpu in cortex-a72 neoverse-n1 max; do
  QEMU_CPU=$cpu qemu-aarch64 "$build/examples/glint" logits builtin --ids "$ids" \
    -o "$build/$cpu.npy"
  cmp "$build/native.npy" "$build/$cpu.npy"
  rm -f "$build/$cpu.npy"
done
echo "glint logits: the same bytes on x86-64 and under qemu's three aarch64 processors"
