#!/bin/bash
# What `pagestore recover` makes of a damaged store: what is whole, what is lost, what replaces it, the sandbox, and that it touches nothing else.
# ctest: TIMEOUT 600
#
#   want CODE argument...   runs the program; its output is in $scratch/out and $scratch/err
#   out, err REGEX...       each must match a line of it
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${BUILD:-$source/build}
program=$build/tools/pagestore host=$build/tests/program_host
[ -x "$program" ] && [ -x "$host" ] || { echo "no $program or $host: libsmartcols-dev or libjansson-dev was missing when they were built"; exit 77; }

scratch=$(mktemp -d)
writer=
finish() { [ -n "$writer" ] && kill "$writer" 2> /dev/null; rm -rf "$scratch"; }
trap finish EXIT
cd "$scratch" || exit 1
export LC_ALL=C.UTF-8
count=0 shown=

die() { echo "$*"; echo "--- pagestore $shown"; head -n 30 out err; exit 1; }
want() {
  local code=$1 got
  shift
  shown="$*"
  timeout 120 "$program" "$@" > out 2> err < /dev/null
  got=$?
  [ "$got" = "$code" ] || die "ended with $got instead of $code"
  [ "$code" -lt 2 ] || [ -s err ] || die "failed without a word"
  count=$((count + 1))
}
out() { local r; for r; do grep -qE -- "$r" out || die "no line like: $r"; done; }
err() { local r; for r; do grep -qE -- "$r" err || die "no complaint like: $r"; done; }
poke() { printf "$3" | dd of="$1/data.mdb" bs=1 seek="$2" conv=notrunc status=none; }
fresh() { rm -rf d r; cp -r s d; }
# same STORE: all that can be read is as in s
same() {
  local line
  for line in 'ls %' 'log % alpha' 'stat % alpha' 'dump --raw % alpha main' 'dump --raw --snapshot one % alpha main' \
    'dump --raw --snapshot two % alpha main' 'dump --raw --page 0 % alpha heap'; do
    want 0 ${line//%/s}; sed -i '/^ *[0-9].* - /s/ [0-9]*$//' out; cp out wanted
    want 0 ${line//%/$1}; sed -i '/^ *[0-9].* - /s/ [0-9]*$//' out; cmp -s wanted out || die "differs from the store: $line"
  done
}

"$host" make s || { echo "no store to look into"; exit 1; }
block=$(grep -obUa ZZZZZZZZZZZZZZZZ s/data.mdb | cut -d: -f1)

# ---- a whole one ---------------------------------------------------------------------------------------------------------

want 0 recover s r; out '^r: recovered whole: 2 instances, 4 pages saved, 0 lost'; same r
want 0 check --deep r; out 'clean: 2 instances, 2 snapshots'
cp -r r again; want 0 recover again again2; same again2
"$host" hold r > said < /dev/null || die "the new store cannot be written"
want 0 check --deep r; out 'clean'
want 2 recover s r; err 'r exists'
want 2 recover s; want 2 recover s a b
want 3 recover none new; err 'data.mdb'
rm -rf r; want 0 recover --untrusted s r; same r
rm -rf r; want 0 recover --json --progress=json s r; out '"verdict": "whole"' '"pages_saved": 4' '"lost": \[\]'; err '"progress": "recover"'

# ---- a lost page ------------------------------------------------------------------------------------------------------------

fresh
for at in $block; do poke d "$at" '\001'; done
want 1 recover d r
out '^r: recovered with LOSSES: 2 instances, 3 pages saved, 1 lost' "^lost: instance 'alpha', memory 'main': 1 pages damaged, .*versions 2 to 2" \
  "^damage: instance 'alpha', memory 'main', page 1, version 2, 1 of its blocks are lost .*next: .*--older.*--zero"
want 1 dump r alpha main; err 'page 1, version 2 is damaged'
want 0 dump --page 0 r alpha main
want 0 dump --snapshot one r alpha main
want 1 check --deep r; out "memory 'main', page 1, version 2"
rm -rf r; want 1 recover --json d r; out '"verdict": "losses"' '"pages_damaged": 1' '"instance": "alpha"'
rm -rf r; want 1 recover --untrusted d r; out '1 lost'; want 1 dump r alpha main
rm -rf r; want 1 recover --zero d r; out 'zeros are in their place' '0 pages damaged, 1 replaced'
want 0 check --deep r; want 0 dump --page 1 r alpha main; [ "$(grep -c '0000 0000 0000 0000 0000 0000 0000 0000' out)" = 4096 ] || die "not zeros"
rm -rf r; want 1 recover --older d r; out '1 pages damaged'; want 1 dump r alpha main
at=$(for at in $(grep -obUa third s/data.mdb | cut -d: -f1); do
  "$program" check --explain "$at" s | grep -q 'of the log' && echo "$at"
done | tail -n 1)
[ -n "$at" ] || die "no block of the log"
fresh; poke d "$at" '\001\002\003'
want 1 recover d r; want 1 dump --page 0 r alpha main
rm -rf r; want 1 recover --older d r; out "an older version's bytes are in their place"
want 0 dump --page 0 r alpha main; out '^00000000: 6669 7273 7400'; ! grep -q 7468 out || die "not the older bytes"

# ---- tree pages, meta pages, cut off ------------------------------------------------------------------------------------------

for page in 0 1; do
  fresh; dd if=/dev/zero of=d/data.mdb bs=4096 seek=$page count=1 conv=notrunc status=none
  want 0 recover d r; same r
done
fresh; poke d 100 '\377\377\377\377\377\377'; poke d 4196 '\377\377\377\377\377\377'; poke d 128 '\377\377\377\377\377\377'; poke d 4224 '\377\377\377\377\377\377'
want 1 check d; want 0 recover d r; same r; want 0 check --deep r
for at in $(seq 8200 4096 "$(stat -c %s s/data.mdb)"); do
  "$program" check --explain "$at" s | grep -qE 'leaf page|of a .*record of table|node .* in a' || continue
  fresh; poke d "$((at / 4096 * 4096))" '\377\377\377'
  want 0 recover d r; same r
done
named=0
for at in $(grep -obUa pages s/data.mdb | cut -d: -f1); do
  "$program" check --explain "$at" s | grep -q 'leaf page of table main' || continue
  fresh; poke d $((at + 3)) x
  want 1 check d; out '^d: DAMAGED: 1 findings' "the name of the table 'pages' is damaged: 'pagxs'"
  want 0 recover d r; same r; want 0 check --deep r
  for flag in 4 5; do # of the table's record: with any of them the library refuses the store
    fresh; poke d $((at + 5 + flag)) '\200'
    want 1 check d; out 'flags that are never used'; want 0 recover d r; same r
  done
  named=$((named + 1))
done
[ "$named" = 1 ] || die "no page that names the tables"
fresh; truncate -s 200000 d/data.mdb
want 1 recover d r; out 'LOSSES'; cp out lost
want 0 ls r; rm -rf r
want 1 recover --untrusted d r; cmp -s <(grep -v '^note' lost) <(grep -v '^note' out) || die "the sandbox makes another store"
fresh; head -c 65536 /dev/zero | tr '\0' x > d/data.mdb
want 3 recover d r; err 'restore a backup'; [ ! -e r ] || die "made of nothing"
want 3 recover --untrusted d r; [ ! -e r ] || die "made of nothing"

# ---- a log ---------------------------------------------------------------------------------------------------------------------------

for at in $(seq 8200 4096 "$(stat -c %s s/data.mdb)"); do # its leaves, and headers of its records: the catalog knows the same
  "$program" check --explain "$at" s | grep -qE 'table log|of the header of record [0-9]* of the log' || continue
  fresh; poke d "$((at / 4096 * 4096 + 40))" '\377'
  want 0 recover d r; same r; want 0 check --deep r
done
first=$(for at in $(seq 8272 4096 "$(stat -c %s s/data.mdb)"); do
  "$program" check --explain "$at" s | grep -q 'header of record [0-9]* of the log' && echo "$((at / 4096))"
done | tail -n 1)
fresh; dd if=/dev/zero of=d/data.mdb bs=4096 seek="$first" count=17 conv=notrunc status=none
want 1 recover d r; out "instance 'alpha', memory 'main', page 0, version 3, 1 of its blocks are lost"
want 1 dump --page 0 r alpha main; want 0 dump --page 1 r alpha main; want 0 dump --raw --snapshot one r alpha main
rm -rf r; want 1 recover --json d r; out '"pages_damaged": 1'
rm -rf r; want 1 recover --zero d r; want 0 check --deep r; rm -rf r

# ---- beside a writer -----------------------------------------------------------------------------------------------------------------

cp -r s live; mkfifo in
"$host" hold live < in > said 2> held & writer=$!
exec 9> in
for _ in $(seq 200); do grep -q ready said && break; sleep 0.05; done
want 3 recover live r; err 'open for writing'; [ ! -e r ] || die "made beside a writer"
exec 9>&-
wait "$writer"; writer=
want 0 recover live r
[ "$(ls -d .new* r.new* 2> /dev/null)" = "" ] || die "something was left behind"
echo "$count runs"
