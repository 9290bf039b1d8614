#!/bin/bash
# Modules from elsewhere: 20,000 mutated ones through the reader and the rewriter of the library, and 20,000 through `pagestore wasm inspect`,
# `inspect --json` and `native`; a part of the mutations keeps sections whole. Seeds are small modules of every shape and every module that
# the build has compiled; MODULES names a folder of more. No crash, no hang; under AddressSanitizer, with the programs of such a build:
#
#   BUILD=build/asan tests/hostile_modules.sh
#
# PAGESTORE_SEED repeats a run. The last lines count.
#
# ctest: TIMEOUT 900
set -eu
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
fuzz=$(cd "${BUILD:-$source/build}" && pwd)/fuzz
modules=20000
for target in fuzz_module fuzz_wasm; do
  [ -x "$fuzz/$target" ] || { echo "$target was not built"; exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
seed=${PAGESTORE_SEED:-$(date +%s)}
mkdir seeds

# The byte of options in front: who defines the memories.
count=0
for file in "$fuzz"/../wasm/*.wasm ${MODULES:+"$MODULES"/*.wasm}; do
  [ -f "$file" ] && [ "$(stat -c %s "$file")" -lt 4000000 ] || continue
  for options in 000 001 002; do
    { printf "\\$options"; cat "$file"; } > "seeds/$count-$options"
  done
  count=$((count + 1))
done

"$fuzz/fuzz_module" --random $((modules * 51 / 50)) --seed "$seed" seeds > log || { cat log; exit 1; }
echo "$count modules of the build or given; library: $(tail -n 1 log)"
FUZZ_COUNTS=1 "$fuzz/fuzz_wasm" --random $((modules * 51 / 50)) --seed "$seed" seeds > log || { cat log; exit 1; }
counts=$(tail -n 1 log)
echo "program: seed=$seed $counts"
for word in inspected native refused; do
  [[ "$counts" =~ (^| )$word=[1-9] ]] || { echo "not one of: $word"; exit 1; }
done
[[ "$counts" =~ modules=([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge $modules ] || { echo "less than $modules modules"; exit 1; }
