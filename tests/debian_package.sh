#!/bin/sh
# debian_package.sh [FOLDER]: builds the Debian packages of .ci/debian in FOLDER (default:
# build-debian), has lintian look at them, and lets tests/debian_installed.sh install, try and
# purge them in a throwaway root: a layer over this machine (overlayfs; needs to be root), or with
# GLINT_DEBOOTSTRAP=1 a fresh minimal Debian, filled over the network. With GLINT_CACHED=1 the
# compiler gets the flags of the developers' build with warnings as errors (the linker Debian's),
# so that a compiler cache which has seen that build has it all, and no test is run again; else
# both get Debian's, as for packages that are to be given away. Needs debhelper and lintian. The
# packages stay in FOLDER.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "${1:-build-debian}"
work=$(cd "${1:-build-debian}" && pwd)
fail() { echo "debian_package: $*" >&2; exit 1; }
say() { echo "debian_package: $*"; }

version=$(sed -n "s/^project('glint'.* version: '\([^']*\)'.*/\1/p" meson.build)
packaged=$(dpkg-parsechangelog -l .ci/debian/changelog -S Version)
[ "${packaged%-*}" = "$version" ] ||
  fail ".ci/debian/changelog: expected version $version as in meson.build, found $packaged"

# The tree as it is, without what git ignores, and debian/ beside meson.build.
tree=$work/glint-$version
rm -rf "$tree" "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo
mkdir -p "$tree"
git ls-files -z -co --exclude-standard | xargs -0 -r ls -d 2>/dev/null | tar cf - -T - |
  tar xf - -C "$tree"
[ -f "$tree/meson.build" ] || fail "git does not list the files of $(pwd)"
rm -rf "$tree/.ci"
cp -r .ci/debian "$tree/debian"

# No network while it builds, where that can be had. debhelper gives the build a home of its own, so
# the compiler cache is named. Debug packages are left out: they would double the time.
offline=
unshare -n true 2>/dev/null && offline='unshare -n'
export CCACHE_DIR="${CCACHE_DIR:-$HOME/.cache/ccache}" CCACHE_NOHASHDIR=1
export DEB_BUILD_OPTIONS="noautodbgsym parallel=${GLINT_JOBS:-$(nproc)}" DEB_CXXFLAGS_STRIP=-g
if [ -n "${GLINT_CACHED:-}" ]; then
  DEB_BUILD_OPTIONS="$DEB_BUILD_OPTIONS nocheck"
  export DEB_CFLAGS_SET= DEB_CXXFLAGS_SET= DEB_CPPFLAGS_SET=
  export MESON_OPTIONS='-Doptimization=3 -Dwerror=true'
  # debhelper sets LC_ALL, which would count as another compilation.
  command -v ccache >/dev/null && export CXX='env -u LC_ALL ccache c++'
fi
say "building${offline:+ (without a network)}"
start=$(date +%s)
(cd "$tree" && nice -n 5 $offline dpkg-buildpackage -us -uc -b) > "$work/build.log" 2>&1 ||
  { tail -40 "$work/build.log"; fail "dpkg-buildpackage failed; $work/build.log has all"; }
say "built in $(($(date +%s) - start)) s"
for package in glint libglint0 libglint-dev; do
  [ -f "$(echo "$work/${package}_$packaged"_*.deb)" ] || fail "no package $package"
done

lintian --allow-root --fail-on error "$work"/*.changes > "$work/lintian.log" 2>&1 ||
  { cat "$work/lintian.log"; fail 'lintian found errors'; }
cat "$work/lintian.log"
say "lintian: no errors, $(grep -c '^W: ' "$work/lintian.log" || true) warnings"

# What tests/debian_installed.sh needs becomes the throwaway root's /tmp/glint.
rm -rf "$work/glint"
mkdir "$work/glint"
cp "$work"/*.deb examples/tiny/tiny.glint tests/debian_installed.sh "$work/glint"
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root" "$work/glint"' EXIT

# A fresh Debian: its own libraries, its own compiler.
check_in_debootstrap() {
  debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian \
    > "$work/debootstrap.log" 2>&1 ||
    { tail -5 "$work/debootstrap.log"; fail 'debootstrap failed'; }
  cp -r "$work/glint" "$root/tmp"
  depends=$(dpkg-deb -f "$work/glint_${packaged}"_*.deb Depends | sed 's/([^)]*)//g; s/,/ /g')
  # Splitting the list is meant. g++: the C++ library, which the static library needs.
  # shellcheck disable=SC2086
  chroot "$root" apt-get install -q=2 -y --no-install-recommends $depends libutf8proc-dev g++ \
    pkg-config make > "$work/apt.log" 2>&1 ||
    { tail -5 "$work/apt.log"; fail 'apt-get failed'; }
  chroot "$root" sh /tmp/glint/debian_installed.sh /tmp/glint
}

# Whether this machine's system can be layered over.
make_layer='mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir upper work all &&
  mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" all'
can_layer() { unshare -m sh -eu -c "$make_layer" sh "$root" 2>/dev/null; }

# What is written lies in memory and goes with the name space of mounts. What is new and no record of
# dpkg's, log or cache was left by the packages.
check_over_this_machine() {
  unshare -m sh -eu -c "$make_layer"'
    mount -t proc proc all/proc
    touch all/dev/null && mount --bind /dev/null all/dev/null
    rm -rf all/tmp/glint
    cp -r "$2" all/tmp
    chroot all sh /tmp/glint/debian_installed.sh /tmp/glint
    cd upper
    find . \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./tmp -o \
      -path ./dev -o -path ./etc/ld.so.cache \) -prune -o -print | while read -r path; do
        [ -d "/$path" ] || echo "debian_package: left after the purge: $path"
      done > ../left
    cat ../left && [ ! -s ../left ]' sh "$root" "$work/glint" || fail 'see above'
}

if [ -n "${GLINT_DEBOOTSTRAP:-}" ]; then
  check_in_debootstrap
  say 'installed, run and purged in a fresh minimal Debian'
elif [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && ! can_layer; then
  sh tests/debian_installed.sh "$work/glint"
  say 'installed, run and purged in this system'
else
  can_layer || fail 'a layer over this machine takes root and overlayfs (or GLINT_DEBOOTSTRAP=1)'
  check_over_this_machine
  say "installed, run and purged in a layer over this machine's system"
fi
