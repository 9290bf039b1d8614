#!/bin/bash
# The README's host program compiles as shown, and counts over two runs; the six files it sends a reader to are there.
set -eu
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit; inside = 0 } inside' "$source/README.md" > "$out/host.c"
[ -s "$out/host.c" ] || { echo "no program in README.md"; exit 1; }
${CC:-cc} -std=c11 -Wall -Wextra -Werror -I"$source/include" "$out/host.c" -o "$out/host" "$build/libpagestore.a" -llmdb -lxxhash -pthread
cd "$out"
[ "$(./host)" = "1, version 1" ] && [ "$(./host)" = "2, version 2" ] || { echo "it counts wrongly"; exit 1; }
for file in $(sed -nE 's/^[1-6]\. `([^`]*)`.*/\1/p' "$source/README.md"); do
  [ -f "$source/$file" ] || { echo "README.md names $file, which is not there"; exit 1; }
done
