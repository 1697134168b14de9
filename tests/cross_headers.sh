# cross_headers.sh: read by cross_*.sh with $deps set: of the host's /usr/include a cross compiler may see the
# header-only libraries and nothing else.
mkdir -p "$deps/include" "$deps/pkgconfig" "$deps/lib"
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
