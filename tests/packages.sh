#!/bin/sh
# packages.sh [test|all]: installs the Debian packages that a build needs ("test": and the tests; "all": and
# every check that CI makes) where they are missing and it may; else says which they are.
set -eu
build='g++ meson ninja-build pkg-config libhwy-dev libxsimd-dev libutf8proc-dev nlohmann-json3-dev
  libcli11-dev libxxhash-dev cmake'
all='libsentencepiece-dev libopenblas-dev libdnnl-dev qemu-user g++-aarch64-linux-gnu
  g++-arm-linux-gnueabihf g++-mingw-w64-x86-64-posix wine64 clang-19 libclang-rt-19-dev ccache binutils
  python3 debhelper lintian mandoc valgrind strace git procps'
packages=$build
case "${1:-}" in
  test) packages="$build doctest-dev" ;;
  all) packages="$build doctest-dev $all" ;;
esac
missing=
for package in $packages; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
    missing="$missing $package"
done
# The checks for ARM unpack Debian's packages of utf8proc for arm64 and armhf.
foreign=
for architecture in arm64 armhf; do
  [ "${1:-}" != all ] || dpkg --print-foreign-architectures | grep -qx $architecture ||
    foreign="$foreign $architecture"
done
[ -n "$missing$foreign" ] || exit 0
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
if ! command -v apt-get >/dev/null 2>&1 || { [ -n "$as_root" ] && ! command -v sudo >/dev/null 2>&1; }; then
  echo "glint: please install:$missing" >&2
  exit 1
fi
echo "installing:$missing"
for architecture in $foreign; do $as_root dpkg --add-architecture "$architecture"; done
# Word splitting of the list is meant.
# shellcheck disable=SC2086
$as_root apt-get update -q=2 &&
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q=2 -y --no-install-recommends $missing \
    >/dev/null || { echo "glint: please install:$missing" >&2; exit 1; }
