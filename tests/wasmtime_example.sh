#!/bin/bash
# README's host for Wasmtime counts over three runs; where README shows it, it shows this very text.
set -eu
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
[ -x "$build/tests/wasmtime_example" ] || { echo "Wasmtime is missing: tests/fetch_wasmtime"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
awk '/^```c$/ { inside = 1; text = ""; next } /^```$/ { if (text ~ /wasmtime.h/) printf "%s", text; inside = 0 } inside { text = text $0 "\n" }' \
  "$source/README.md" > "$out/readme"
if [ -s "$out/readme" ]; then
  [ "$(wc -l < "$out/readme")" -le 40 ] || { echo "README.md's program has $(wc -l < "$out/readme") lines"; exit 1; }
  tail -n +2 "$source/tests/wasmtime_example.c" | diff - "$out/readme" || { echo "README.md shows another program"; exit 1; }
fi
cd "$out"
for run in 1 2 3; do
  said=$("$build/tests/wasmtime_example")
  [ "$said" = "$run, version $run" ] || { echo "run $run said: $said"; exit 1; }
done
