#!/bin/bash
# What `pagestore check` says: of a clean store, of damage in each kind of place, of cut-off and foreign files, beside a writer, in the sandbox.
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
# fresh: a copy of the store s, as d
fresh() { rm -rf d; cp -r s d; }
# place BYTE REGEX: the offset of that byte of the first LMDB page of which --explain says this
place() {
  local at
  for at in $(seq $((8192 + $1)) 4096 480000); do
    "$program" check --explain "$at" s | grep -qE "^offset.*$2" && { echo "$at"; return; }
  done
  echo none
}

"$host" make s || { echo "no store to look into"; exit 1; }
size=$(stat -c %s s/data.mdb)

# ---- a clean one ---------------------------------------------------------------------------------------------------------

want 0 check s; out '^s: clean: 2 instances, 2 snapshots, 3 pages, 3 records of the log, headers only'; [ "$(wc -l < out)" = 1 ] || die "more than the verdict"
want 0 check --deep s; out '^s: clean: .*every block'
want 0 check --deep --untrusted s; out '^s: clean: .*every block'
want 0 check --json --deep s; out '"verdict": "clean"' '"damages": 0' '"deep": true' '"lmdb_pages_lost": 0' '"findings": \[\]'
want 0 check --deep --progress=json s; err '"progress": "check", "bytes": 417696'
want 0 check --deep --progress=never s; [ ! -s err ] || die "progress though never"
want 2 check --progress=often s; err 'auto, never or json'
want 2 check; want 2 check s s; want 2 check --explain x s
want 0 help check; out 'verdict'
want 3 check none; err 'data.mdb'
mkdir odd; mkfifo odd/data.mdb; want 3 check odd; err 'not a regular file'
if command -v script > /dev/null; then
  TERM=xterm script -qc "$program check --deep s" /dev/null > out; out 'clean'
fi

# ---- damage, told by its place ---------------------------------------------------------------------------------------------

fresh
for at in $(grep -obUa ZZZZZZZZZZZZZZZZ s/data.mdb | cut -d: -f1); do
  "$program" check --explain "$at" s | grep -q 'of block 2 of page 1, version 2' && block=$at
done
for at in $(grep -obUa ZZZZZZZZZZZZZZZZ s/data.mdb | cut -d: -f1); do poke d "$at" '\001'; done
want 1 check --deep d
out '^d: DAMAGED: 1 findings' "^damage: instance 'alpha', memory 'main', page 1, version 2, 1 of its blocks do not match .*: 2 .LMDB page [0-9]+, offset [0-9]+.; next: .*recover"
want 0 check d; out 'headers only'
want 1 check --json --deep d; out '"verdict": "damaged"' '"instance": "alpha"' '"memory": "main"' '"page": 1,' '"version": 2,' '"next": '
want 1 check --untrusted --deep d; out "^damage: instance 'alpha', memory 'main', page 1"
want 1 check --deep --explain "$block" d; out "^offset $block: LMDB page .* of block 2 of page 1, version 2, of memory 1 in layer 1; instance 'alpha', memory 'main'"

out '1 notes' '^note: record 2 of the log, and do not match their checksums'
at=$(place 64 'of the header of page 0, version 1')
fresh; poke d "$at" '\377'
want 1 check d; out "page 0, version 1, the page's header does not match"

# the log: record 3 has the first block of the present's page 0, of record 1 and 2 nobody reads any more
third=$(grep -obUa third s/data.mdb | cut -d: -f1)
want 0 check --explain "$third" s
out "^offset.* byte 16 of block 0 in record 3 of the log: block 0 of page 0, version 3, .*; instance 'alpha', memory 'main'"
fresh; poke d "$third" x
want 1 check --deep d
out '^d: DAMAGED: 1 findings, 0 notes' \
  "^damage: instance 'alpha', memory 'main', page 0, version 3, its blocks 0 are in record 3 of the log, and do not match .*; next: .*recover"
want 1 check --deep --untrusted d; out "page 0, version 3, its blocks 0"
want 0 check d
want 1 dump d alpha main; err "instance 'alpha', memory 'main', page 0"
want 0 dump --snapshot one d alpha main
at=$(place 64 'of the header of record 3 of the log')
fresh; poke d "$at" '\377'
want 1 check d; out "page 0, version 3, its blocks 0 are in record 3 of the log, whose header does not match"
at=$(place 64 'of the header of record 1 of the log: no reader')
fresh; poke d "$at" '\377'
want 0 check d; out '1 notes' '^note: record 1 of the log, whose header does not match'
want 0 dump d alpha main
want 1 debug d log; err 'record 1 of the log, at [0-9]+: its header is damaged'
want 0 debug s log; out '^ *3 +0 +1 +1 +0 +0 +3 '
want 0 debug s records; out '^log .* 1 blocks, the first: layer 1 memory 1 page 0 version 3 block 0'
noticed=0
for at in $(grep -obUa 'PGSR\|alpha\|béta' s/data.mdb | cut -d: -f1); do
  fresh; poke d "$at" '\125'
  "$program" check --explain "$at" d > out 2> err
  case $? in
    0) grep -q '^offset.* no reader looks there' out || die "byte $at of the catalog changed without notice" ;;
    1) out 'does not match its checksum and key|out of order'; noticed=$((noticed + 1)) ;;
    *) die "byte $at of the catalog" ;;
  esac
done
[ "$noticed" -ge 8 ] || die "only $noticed changes in the catalog were noticed"
at=$(place 4 'header of a leaf page of table pages')
fresh; poke d "$at" '\377'
want 1 check d; out "table pages: it has another page's number"
at=$(place 4 'free since')
fresh; poke d "$at" '\377\377'
want 0 check --deep d

# ---- meta pages ---------------------------------------------------------------------------------------------------------------

newest=$("$program" check --explain 10 s | grep -q newest && echo 0 || echo 1)
for which in 0 1; do
  fresh; poke d $((which * 4096 + 16)) x
  want 1 check d; out "meta page $which of data.mdb is damaged .no LMDB magic"
  fresh; poke d $((which * 4096 + 150)) x
  want 1 check d; out 'DAMAGED'
done
txn=$("$program" check --json s | sed -n 's/.*"transaction": \([0-9]*\).*/\1/p')
fresh; poke d $((newest * 4096 + 144)) "\\$(printf %03o $((txn - 2)))"
want 1 check d; out "meta page $newest says transaction $((txn - 2)), but leads to what transaction $txn wrote"
fresh; poke d $(((1 - newest) * 4096 + 144)) "\\$(printf %03o $((txn + 1)))"
want 1 check d; out "the store's last flush was $((txn - 1))"
fresh; poke d $(((1 - newest) * 4096 + 88 + 40)) '\377'
want 0 check d; out 'clean.* 1 notes' '^note: the superseded meta page'

# ---- cut off, foreign ------------------------------------------------------------------------------------------------------------

for at in 0 1 100 4096 8191 8192 40000 $((size / 2)) $((size - 1)); do
  fresh; truncate -s "$at" d/data.mdb
  want 1 check --deep d; out '^d: DAMAGED: '
  want 1 check --deep --untrusted d; out '^d: DAMAGED: '
done
fresh; head -c 65536 /dev/zero | tr '\0' x > d/data.mdb
want 3 check d; err 'no LMDB file'

# ---- what looks into it ends well ---------------------------------------------------------------------------------------------------

for at in $(seq 8192 1031 "$size"); do
  fresh; poke d "$at" '\252'
  for line in "check --deep d" "ls d" "stat d" "stat d alpha" "log d alpha" "dump d alpha main" "diff d alpha one"; do
    shown="$line, byte $at"
    timeout 60 "$program" $line > out 2> err < /dev/null
    got=$?
    [ "$got" -le 3 ] && [ "$got" != 2 ] || die "ended with $got"
  done
done

# ---- beside a writer -----------------------------------------------------------------------------------------------------------------

"$host" wide live || exit 1
yes | "$host" hold live > said 2> held & writer=$!
for _ in $(seq 200); do [ -s said ] && break; sleep 0.05; done
[ -s said ] || { echo "the writer does not write: $(cat held)"; exit 1; }
before=$(tail -n 1 said)
for _ in $(seq 40); do
  want 0 check live
  want 0 check --deep live
done
for _ in $(seq 20); do want 0 check --json --deep live; done
[ "$(tail -n 1 said)" != "$before" ] || die "the writer stood still: nothing was tried"
want 3 check --untrusted live; err 'open for writing'
kill -0 "$writer" || die "the writer ended: $(cat held)"
kill "$writer"; wait "$writer" 2> /dev/null
writer=
want 0 check --deep live

echo "$count runs"
