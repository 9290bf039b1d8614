#!/bin/bash
# tests/host_kill.sh [ROUNDS] - the promise in short: a host program is killed at random times, and no version that it was told is
# durable is lost; what is there is one whole version, never an older one than the last round's.
#
# The host is tests/host_kill.c, written against the public header alone and linked with the library as it is installed. Each round
# goes on in the same store. Needs SOURCE and BUILD (set by ctest and tests/run); PAGESTORE_SEED repeats a run's times.
set -u
rounds=${1:-100}
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${BUILD:-$source/build}
library=$build/libpagestore.a
[ -f "$library" ] || { echo "not run: no $library"; exit 77; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/pagestore-kill.XXXXXX")
trap 'rm -rf "$folder"' EXIT
seed=${PAGESTORE_SEED:-$$}
RANDOM=$seed
echo "PAGESTORE_SEED=$seed"

"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Werror -I"$source/include" -o "$folder/host" "$source/tests/host_kill.c" "$library" -llmdb -lxxhash -lpthread ||
  { echo "the host does not build"; exit 1; }

broken() {
  echo "round $round: $*"
  cat "$folder/errors"
  exit 1
}

last=0 lost=0 more=0 silent=0
for ((round = 1; round <= rounds; round++)); do
  "$folder/host" "$folder/store" run > "$folder/acknowledged" 2> "$folder/errors" &
  host=$!
  sleep "0.0$((RANDOM % 90 + 10))"
  kill -9 "$host" || broken "the host had ended by itself"
  wait "$host" 2> /dev/null
  acknowledged=$(tail -n 1 "$folder/acknowledged")
  [ -n "$acknowledged" ] || { acknowledged=$last; silent=$((silent + 1)); }
  found=$("$folder/host" "$folder/store" check 2> "$folder/errors") || broken "the store is not whole"
  [ "$found" -ge "$acknowledged" ] || broken "version $acknowledged was acknowledged, $found is there"
  [ "$found" -ge "$last" ] || broken "version $last was there, $found is now"
  [ "$found" = "$acknowledged" ] || more=$((more + 1))
  last=$found
done
echo "$rounds rounds, $last versions, none lost; $more times a newer one than acknowledged was there; $silent rounds before the first"
[ "$last" -gt "$rounds" ] || { echo "too few versions for a proof"; exit 1; }
