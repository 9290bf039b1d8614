#!/bin/bash
# `pagestore new-example`, and a newcomer's first minutes with it: make, run twice, a trap, killed, looked at.
#
# ctest: TIMEOUT 300
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$(dirname "$0")/../build}
program=$build/tools/pagestore
[ -x "$program" ] || { echo "no $program"; exit 77; }
for tool in make clang wasm-ld wasm2c; do command -v $tool > /dev/null || { echo "no $tool: the example cannot be built"; exit 77; }; done
wabt=$(dirname "$(find /usr/include /usr/share/wabt /usr/local/include -name wasm-rt.h 2> /dev/null | head -n 1)")
[ -f "$wabt/wasm-rt.h" ] || { echo "no wasm-rt.h of wabt"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
die() { echo "$*"; exit 1; }

"$program" new-example wasm2c counter > out || die "the example was not made"
"$program" new-example wasm2c counter 2> err && die "an example was made over another"
"$program" new-example abacus other 2> err && die "there is an example for an abacus"
[ ! -e other ] || die "a refused example left a directory"
cd counter || exit 1
make WABT_CFLAGS="-I$wabt" PAGESTORE_CFLAGS="-I$source/include" PAGESTORE_LIBS="$build/libpagestore.a -llmdb -lxxhash -lpthread" > log 2>&1 ||
  { cat log; die "the example does not build"; }
[ "$(./host my.store 1)" = "1, version 2" ] || die "the first run"
[ "$(./host my.store 5)" = "6, version 3" ] || die "it does not count on"
./host my.store 1000 2> err && die "the trap was not seen"
grep -q 'nothing of it stays' err || die "the trap was not told"
"$program" snapshot create my.store counter before > /dev/null || die "no snapshot"
last=6
for _ in $(seq 20); do
  ./host my.store 1 > told 2>&1 & host=$!
  sleep "0.0$((RANDOM % 9))"
  kill -9 $host 2> /dev/null
  wait $host 2> /dev/null
  now=$("$program" export --trust my.store counter heap - 2> /dev/null | wc -c)
  [ "$now" = $((2 * 65536)) ] || die "the memory cannot be read after a kill"
  [ -s told ] && last=$(cut -d, -f1 told)
done
now=$(./host my.store 1 | cut -d, -f1)
[ "$now" -gt "$last" ] && [ "$now" -le 27 ] || die "after the kills it counts $now, told was $last"
"$program" log my.store counter | grep -q before || die "no log"
"$program" diff my.store counter > out; [ $? = 1 ] || die "nothing differs from the snapshot"
echo "counts to $now"
