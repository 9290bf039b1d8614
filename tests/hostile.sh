#!/bin/bash
# Store files from elsewhere: 20,000 damaged ones, checksums repaired in half of them, looked at as the tools do and written to; and some
# more through the programs themselves. No crash, no hang. --all: five times as many. The last line counts. Under AddressSanitizer the
# same runs as fuzz_store and fuzz_store_programs.
#
# ctest: TIMEOUT 900
set -eu
target=$BUILD/fuzz/fuzz_store
[ -x "$target" ] || { echo "fuzz_store was not built"; exit 77; }
stores=20000 programs=40
[ "${PAGESTORE_TESTS_LONG:-no}" = no ] || { stores=100000 programs=400; }
cd "${TMPDIR:-/tmp}"
seed=${PAGESTORE_SEED:-$(date +%s)}
counts=$(FUZZ_COUNTS=1 "$target" --random $stores --seed "$seed")
programs=$(FUZZ_PROGRAMS=1 FUZZ_COUNTS=1 "$target" --random $programs --seed "$seed")
# number TEXT NAME
number() { sed -nE "s/.*\b$2=([0-9]+).*/\1/p" <<< "$1" | tail -n 1; }
for what in stores opened views pages damaged diffs commits; do
  [ "$(number "$counts" $what)" -gt 0 ] || { echo "not one of: $what"; exit 1; }
done
[ "$(number "$programs" programs)" -gt 0 ] || { echo "no program was run"; exit 1; }
[ "$(number "$counts" stores)" -ge $((stores * 9 / 10)) ] || { echo "only $(number "$counts" stores) of $stores stores were tried"; exit 1; }
echo "seed $seed, in one process: $(tail -n 1 <<< "$counts")"
echo "seed $seed, with programs: $(tail -n 1 <<< "$programs")"
