#!/bin/sh
# Names the Debian packages that a build (or with "all", every test too) needs, installs the missing ones
# if it may, else says which they are. To be sourced or run from the project's root.
set -eu
build='g++ meson ninja-build pkg-config libhwy-dev libxsimd-dev libutf8proc-dev nlohmann-json3-dev
  libcli11-dev libxxhash-dev cmake'
tests='doctest-dev libsentencepiece-dev libopenblas-dev libdnnl-dev qemu-user g++-aarch64-linux-gnu
  ccache binutils file python3'
packages=$build
[ "${1:-}" = all ] && packages="$build $tests"
missing=
for package in $packages; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
if ! command -v apt-get >/dev/null 2>&1 || { [ -n "$as_root" ] && ! command -v sudo >/dev/null 2>&1; }; then
  echo "glint: please install:$missing" >&2
  exit 1
fi
echo "installing:$missing"
# Word splitting of the list is meant.
# shellcheck disable=SC2086
$as_root apt-get update -q=2 &&
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q=2 -y --no-install-recommends $missing \
    >/dev/null || { echo "glint: please install:$missing" >&2; exit 1; }
