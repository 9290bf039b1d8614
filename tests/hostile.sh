#!/bin/bash
# Store files from elsewhere: 20,000 damaged ones, checksums repaired in half of them, opened as the tools do, read whole and compared, some
# written to; a part of them under every command of the pagestore program; some under the built program. No crash, no hang. --all: five
# times as many, all under every command. Under AddressSanitizer the same runs as fuzz_store, fuzz_commands and fuzz_commands_programs.
# PAGESTORE_SEED repeats a run. The last lines count.
#
# ctest: TIMEOUT 3600
set -eu
fuzz=$BUILD/fuzz
for target in fuzz_store fuzz_commands; do
  [ -x "$fuzz/$target" ] || { echo "$target was not built"; exit 77; }
done
stores=20000 commands=1000 programs=25
[ "${PAGESTORE_TESTS_LONG:-no}" = no ] || { stores=100000 commands=20000 programs=300; }
cd "${TMPDIR:-/tmp}"
seed=${PAGESTORE_SEED:-$(date +%s)}
export FUZZ_COUNTS=1

# hostile WHAT LEAST TARGET MUST...: the counts of that many stores, each of MUST at least once.
hostile() {
  local what=$1 least=$2 target=$3 counts word
  shift 3
  counts=$("$fuzz/$target" --random $((least * 51 / 50 + 10)) --seed "$seed" | tail -n 1)
  echo "seed $seed, $what: $counts"
  for word in "$@"; do
    [[ "$counts" =~ (^| )$word=[1-9] ]] || { echo "not one of: $word"; exit 1; }
  done
  [[ "$counts" =~ stores=([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge "$least" ] || { echo "less than $least stores"; exit 1; }
}
hostile "opened and read" $stores fuzz_store opened views pages damaged diffs commits
hostile "all commands" $commands fuzz_commands commands done found failed
FUZZ_PROGRAMS=1 hostile "the built program" $programs fuzz_commands commands done
