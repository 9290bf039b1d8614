#!/bin/bash
# The demo on a file of its own: on a new store, again on the same, then with another file; each must find all as it must be.
# ctest: TIMEOUT 300
set -eu
build=${BUILD:-$(dirname "$0")/../build}
[ -x "$build/tools/demo-host" ] || { echo "wabt, clang or lld is missing"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for n in $(seq 300); do
  printf 'Package: package-%03d\nSection: section-%d\nDescription: record %d\n' "$n" $((n % 7)) "$n"
  for _ in $(seq $((n % 40))); do echo " a line of text that makes the record $n longer"; done
  echo
done > "$out/first"
sed 's/longer/other/; /package-2/,/^$/d' "$out/first" > "$out/second"
for input in first first second first; do
  "$build/tools/demo-host" --store "$out/store" --quiet "$out/$input" > "$out/log" 2>&1 || { cat "$out/log"; exit 1; }
  tail -n 1 "$out/log"
done
