#!/bin/bash
# Installs into a fresh prefix and builds an outside program against it: pkg-config shared and static, and find_package both ways.
# The libraries give away no name but pagestore_*.
# ctest: TIMEOUT 300
set -eu
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${BUILD:-$source/build}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cmake --install "$build" --prefix "$out/usr" > "$out/log" || { cat "$out/log"; exit 1; }
lib=$(dirname "$(find "$out/usr" -name libpagestore.a)")

names=$(nm -g --defined-only "$lib/libpagestore.a" | awk 'NF == 3 { print $3 }' | grep -v '^pagestore_' || true)
[ -z "$names" ] || { echo "libpagestore.a gives away: $names"; exit 1; }
names=$(nm -D --defined-only "$lib/libpagestore.so" | awk '{ print $3 }' | grep -vE '^(pagestore_.*@@PAGESTORE_0\.1|PAGESTORE_0\.1)$' || true)
[ -z "$names" ] || { echo "libpagestore.so gives away: $names"; exit 1; }
objdump -p "$lib/libpagestore.so" | grep -q 'SONAME *libpagestore.so.0$' || { echo "wrong soname"; exit 1; }

cp "$source/tests/install/outside.c" "$out/"
export PKG_CONFIG_PATH=$lib/pkgconfig
flags="--define-variable=prefix=$out/usr"  # the file says where cmake would have installed to
${CC:-cc} -std=c11 "$out/outside.c" $(pkg-config $flags --cflags --libs pagestore) -o "$out/shared"
LD_LIBRARY_PATH=$lib "$out/shared" "$out/store-1"
${CC:-cc} -std=c11 -static "$out/outside.c" $(pkg-config $flags --cflags --libs --static pagestore) -o "$out/static" 2> "$out/log" ||
  { cat "$out/log"; exit 1; }
"$out/static" "$out/store-2"

mkdir "$out/project"
cp "$source/tests/install/outside.c" "$source/tests/install/CMakeLists.txt" "$out/project/"
cmake -S "$out/project" -B "$out/project/build" -G Ninja -DCMAKE_C_COMPILER="${CC:-cc}" -DCMAKE_PREFIX_PATH="$out/usr" > "$out/log" 2>&1 &&
  cmake --build "$out/project/build" >> "$out/log" 2>&1 || { cat "$out/log"; exit 1; }
LD_LIBRARY_PATH=$lib "$out/project/build/outside_shared" "$out/store-3"
"$out/project/build/outside_static" "$out/store-4"
echo "pkg-config and find_package, shared and static"
