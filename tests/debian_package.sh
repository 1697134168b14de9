#!/bin/sh
# debian_package.sh [FOLDER]: builds the Debian packages of .ci/debian in FOLDER (default: build-debian),
# has lintian look at them, and installs them into a throwaway root, where the program and a program in C
# must run. With GLINT_DEBOOTSTRAP=1 that root is a fresh minimal Debian, filled over the network; else it
# is an empty folder with a copy of this machine's package database, so that dpkg checks the dependencies,
# and this machine's libraries are used. With GLINT_CACHED=1 the compiler gets the flags of the developers'
# build with warnings as errors (the linker Debian's), so that a compiler cache which has seen that build has
# it all; else both get Debian's, as for packages that are to be given away. Needs debhelper and lintian. The
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
git ls-files -z -co --exclude-standard | xargs -0 -r ls -d 2>/dev/null | tar cf - -T - | tar xf - -C "$tree"
rm -rf "$tree/.ci"
cp -r .ci/debian "$tree/debian"

# No network while it builds, where that can be had. debhelper gives the build a home of its own, so the
# compiler cache is named. Debug packages are left out: they would double the time.
offline=
unshare -n true 2>/dev/null && offline='unshare -n'
export CCACHE_DIR="${CCACHE_DIR:-$HOME/.cache/ccache}" CCACHE_NOHASHDIR=1
export DEB_BUILD_OPTIONS="noautodbgsym parallel=${GLINT_JOBS:-$(nproc)}" DEB_CXXFLAGS_STRIP=-g
if [ -n "${GLINT_CACHED:-}" ]; then
  export DEB_CFLAGS_SET= DEB_CXXFLAGS_SET= DEB_CPPFLAGS_SET= MESON_OPTIONS='-Doptimization=3 -Dwerror=true'
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

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
question='What is the capital of Japan?'
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)

# A fresh Debian: its own libraries, its own compiler.
check_in_debootstrap() {
  debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian > "$work/debootstrap.log" 2>&1 ||
    { tail -5 "$work/debootstrap.log"; fail 'debootstrap failed'; }
  cp "$work"/*.deb "$root/tmp/"
  cp examples/tiny/tiny.glint "$root/tmp/"
  chroot "$root" sh -c 'cd /tmp && apt-get install -q=2 -y --no-install-recommends ./*.deb >/dev/null' ||
    fail 'apt cannot install the packages'
  reply=$(echo "$question" | chroot "$root" glint chat --temp 0)
  [ "$reply" = 'The capital of Japan is Tokyo.' ] || fail "glint replied: $reply"
  chroot "$root" apt-get install -q=2 -y --no-install-recommends gcc libc6-dev pkg-config make >/dev/null
  chroot "$root" sh -ec 'cp -r /usr/share/doc/libglint-dev/examples/make /tmp/make && cd /tmp/make
    make hello && ./hello /tmp/tiny.glint "$1" | grep . && glint generate /tmp/tiny.glint -p "$1" --temp 0' \
    sh "$question" > "$work/replies"
  [ "$(sort -u "$work/replies" | wc -l)" = 1 ] || fail "hello and glint differ: $(cat "$work/replies")"
}

# dpkg unpacks into the folder; the dependencies are those that this machine has installed. Triggers
# (ldconfig, the index of man pages) would need a whole system there.
dpkg_here() { dpkg --root="$root" --force-not-root --force-script-chrootless --no-triggers "$@"; }
check_in_folder() {
  mkdir -p "$root/var/lib" "$root/etc"
  cp -r /var/lib/dpkg "$root/var/lib/"
  dpkg_here -i "$work"/*.deb > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail 'dpkg -i failed'; }
  libs=$root/usr/lib/$multiarch
  reply=$(echo "$question" | "$root/usr/bin/glint" chat --temp 0)
  [ "$reply" = 'The capital of Japan is Tokyo.' ] || fail "glint replied: $reply"
  cp -r "$root/usr/share/doc/libglint-dev/examples/make" "$work/make"
  # glint.pc names the system's folders, which these two stand for.
  C_INCLUDE_PATH="$root/usr/include" LIBRARY_PATH="$libs" PKG_CONFIG_PATH="$libs/pkgconfig" \
    make -s -C "$work/make" hello
  LD_LIBRARY_PATH="$libs" "$work/make/hello" examples/tiny/tiny.glint "$question" > "$work/replies"
  "$root/usr/bin/glint" generate examples/tiny/tiny.glint -p "$question" --temp 0 >> "$work/replies"
  rm -r "$work/make"
  [ "$(sort -u "$work/replies" | wc -l)" = 1 ] || fail "hello and glint differ: $(cat "$work/replies")"
  dpkg_here --purge glint libglint-dev libglint0 > "$work/dpkg.log" 2>&1 || fail 'dpkg --purge failed'
  left=$(find "$root" -path "$root/var" -prune -o -type f -print)
  [ -z "$left" ] || fail "left after removal: $left"
}

if [ -n "${GLINT_DEBOOTSTRAP:-}" ]; then
  check_in_debootstrap
  say 'installed and run in a fresh minimal Debian'
else
  check_in_folder
  say "installed by dpkg into an empty root, run with this machine's libraries, and removed"
fi
