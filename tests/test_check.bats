#!/usr/bin/env bats
# What `pagestore check` says: of a clean store, of damage in each kind of place, of cut-off and foreign files, beside a writer, in the
# sandbox.
# ctest: TIMEOUT 600
load support/program
load support/damage
main="instance 'alpha', memory 'main'"

# ---- a clean one ---------------------------------------------------------------------------------------------------------

@test "clean: one line, headers only or every block" {
  store
  want 0 check s; lines 1; out '^s: clean: 2 instances, 2 snapshots, 3 pages, 3 records of the log, headers only'
  want 0 check --deep s; out '^s: clean: .*every block'
  want 0 check --deep --untrusted s; out '^s: clean: .*every block'
}

@test "clean, as JSON" {
  store
  want 0 check --json --deep s; out '"verdict": "clean"' '"damages": 0' '"deep": true' '"lmdb_pages_lost": 0' '"findings": \[\]'
}

@test "progress: as JSON, never, and a word that is none" {
  store
  shown="check --progress=json"
  timeout 60 "$program" check --deep --progress=json s > out 2> err || die "ended with $?"
  err '"progress": "check", "bytes": 417696'
  want 0 check --deep --progress=never s
  want 2 check --progress=often s; err 'auto, never or json'
}

@test "wrong operands, and help" {
  store
  want 2 check
  want 2 check s s
  want 2 check --explain x s
  want 0 help check; out 'verdict'
}

@test "no store, and a data file that is no file" {
  want 3 check none; err 'data.mdb'
  mkdir odd
  mkfifo odd/data.mdb
  want 3 check odd; err 'not a regular file'
}

@test "on a terminal" {
  store
  typed "$program check --deep s" || die "failed"
  out 'clean'
}

# ---- damage, told by its place ---------------------------------------------------------------------------------------------

@test "a damaged block: found by --deep alone, with its page and what to do" {
  store
  fresh; spoil d
  want 1 check --deep d
  out '^d: DAMAGED: 1 findings' \
    "^damage: $main, page 1, version 2, 1 of its blocks do not match .*: 2 .LMDB page [0-9]+, offset [0-9]+.; next: .*recover"
  want 0 check d; out 'headers only'
}

@test "a damaged block, as JSON and in the sandbox" {
  store
  fresh; spoil d
  want 1 check --json --deep d; out '"verdict": "damaged"' '"instance": "alpha"' '"memory": "main"' '"page": 1,' '"version": 2,' '"next": '
  want 1 check --untrusted --deep d; out "^damage: $main, page 1"
}

@test "--explain: whose byte it is; a record of the log that nobody reads is a note" {
  local at block=
  store
  for at in $(offsets ZZZZZZZZZZZZZZZZ); do
    ! is_told "$at" 'of block 2 of page 1, version 2' || block=$at
  done
  [ -n "$block" ] || die "no block 2 of page 1"
  fresh; spoil d
  want 1 check --deep --explain "$block" d
  out "^offset $block: LMDB page .* of block 2 of page 1, version 2, of memory 1 in layer 1; $main" \
    '1 notes' '^note: record 2 of the log, and do not match their checksums'
}

@test "a damaged page header" {
  store
  at=$(place 64 'of the header of page 0, version 1')
  fresh; poke d "$at" '\377'
  want 1 check d; out "page 0, version 1, the page's header does not match"
}

# Record 3 has the first block of the present's page 0; of records 1 and 2 nobody reads any more.
@test "a damaged block of the log: the present has lost it, a snapshot has not" {
  store
  third=$(offsets third)
  want 0 check --explain "$third" s
  out "^offset.* byte 16 of block 0 in record 3 of the log: block 0 of page 0, version 3, .*; $main"
  fresh; poke d "$third" x
  want 1 check --deep d
  out '^d: DAMAGED: 1 findings, 0 notes'
  out "^damage: $main, page 0, version 3, its blocks 0 are in record 3 of the log, and do not match .*; next: .*recover"
  want 1 check --deep --untrusted d; out "page 0, version 3, its blocks 0"
  want 0 check d
  want 1 dump d alpha main; err "$main, page 0"
  want 0 dump --snapshot one d alpha main
}

@test "a damaged header in the log, of a record that is read" {
  store
  at=$(place 64 'of the header of record 3 of the log')
  fresh; poke d "$at" '\377'
  want 1 check d; out "page 0, version 3, its blocks 0 are in record 3 of the log, whose header does not match"
}

@test "a damaged header in the log, of a record that nobody reads: a note" {
  store
  at=$(place 64 'of the header of record 1 of the log: no reader')
  fresh; poke d "$at" '\377'
  want 0 check d; out '1 notes' '^note: record 1 of the log, whose header does not match'
  want 0 dump d alpha main
  want 1 debug d log; err 'record 1 of the log, at [0-9]+: its header is damaged'
}

@test "debug: the log as it is in a whole store" {
  store
  want 0 debug s log; out '^ *3 +0 +1 +1 +0 +0 +3 '
  want 0 debug s records; out '^log .* 1 blocks, the first: layer 1 memory 1 page 0 version 3 block 0'
}

@test "each magic and name in the catalog: a change is noticed, but where no reader looks" {
  local noticed=0
  store
  for at in $(offsets 'PGSR\|alpha\|béta'); do
    fresh; poke d "$at" '\125'
    shown="check --explain $at d" got=0
    timeout 60 "$program" check --explain "$at" d > out 2> err < /dev/null || got=$?
    case $got in
      0) grep -q '^offset.* no reader looks there' out || die "byte $at of the catalog changed without notice" ;;
      1) out 'does not match its checksum and key|out of order'; noticed=$((noticed + 1)) ;;
      *) die "byte $at of the catalog: ended with $got" ;;
    esac
  done
  [ "$noticed" -ge 8 ] || die "only $noticed changes in the catalog were noticed"
}

@test "tree pages: a leaf with another page's number" {
  store
  at=$(place 4 'header of a leaf page of table pages')
  fresh; poke d "$at" '\377'
  want 1 check d; out "table pages: it has another page's number"
}

@test "tree pages: what is in a free one is no matter" {
  store
  at=$(place 4 'free since')
  fresh; poke d "$at" '\377\377'
  want 0 check --deep d
}

# ---- meta pages ---------------------------------------------------------------------------------------------------------------

# newest: the meta page that readers take, txn: its transaction
metas() {
  newest=1
  ! is_told 10 newest || newest=0
  txn=$("$program" check --json s | sed -n 's/.*"transaction": \([0-9]*\).*/\1/p')
  [ "$txn" -gt 2 ] || die "transaction $txn"
}

@test "meta pages: without the magic, and with another root" {
  store
  for which in 0 1; do
    fresh; poke d $((which * 4096 + 16)) x
    want 1 check d; out "meta page $which of data.mdb is damaged .no LMDB magic"
    fresh; poke d $((which * 4096 + 150)) x
    want 1 check d; out 'DAMAGED'
  done
}

@test "meta pages: the newest says an older transaction than what it leads to" {
  store
  metas
  fresh; poke d $((newest * 4096 + 144)) "\\$(printf %03o $((txn - 2)))"
  want 1 check d; out "meta page $newest says transaction $((txn - 2)), but leads to what transaction $txn wrote"
}

@test "meta pages: the superseded one says a newer transaction than was flushed" {
  store
  metas
  fresh; poke d $(((1 - newest) * 4096 + 144)) "\\$(printf %03o $((txn + 1)))"
  want 1 check d; out "the store's last flush was $((txn - 1))"
}

@test "meta pages: a superseded one that is damaged is a note" {
  store
  metas
  fresh; poke d $(((1 - newest) * 4096 + 88 + 40)) '\377'
  want 0 check d; out 'clean.* 1 notes' '^note: the superseded meta page'
}

# ---- cut off, foreign ------------------------------------------------------------------------------------------------------------

@test "a file that was cut off is damaged, in the sandbox too" {
  store
  size=$(stat -c %s s/data.mdb)
  for at in 0 1 100 4096 8191 8192 40000 $((size / 2)) $((size - 1)); do
    fresh; truncate -s "$at" d/data.mdb
    want 1 check --deep d; out '^d: DAMAGED: '
    want 1 check --deep --untrusted d; out '^d: DAMAGED: '
  done
}

@test "a foreign file" {
  store
  fresh; head -c 65536 /dev/zero | tr '\0' x > d/data.mdb
  want 3 check d; err 'no LMDB file'
}

# ---- what looks into it ends well ---------------------------------------------------------------------------------------------------

@test "a byte changed anywhere: what looks into it ends well" {
  store
  for at in $(seq 8192 1031 "$(stat -c %s s/data.mdb)"); do
    fresh; poke d "$at" '\252'
    for line in "check --deep d" "ls d" "stat d" "stat d alpha" "log d alpha" "dump d alpha main" "diff d alpha one"; do
      shown="$line, byte $at" got=0
      # shellcheck disable=SC2086
      timeout 60 "$program" $line > out 2> err < /dev/null || got=$?
      [ "$got" -le 3 ] && [ "$got" != 2 ] || die "ended with $got"
    done
  done
}

# ---- beside a writer -----------------------------------------------------------------------------------------------------------------

@test "beside a writer that commits all the time: clean each time, no sandbox; clean behind it" {
  "$host" wide live
  busy live
  before=$(tail -n 1 said)
  for _ in $(seq 40); do
    want 0 check live
    want 0 check --deep live
  done
  for _ in $(seq 20); do want 0 check --json --deep live; done
  [ "$(tail -n 1 said)" != "$before" ] || die "the writer stood still: nothing was tried"
  want 3 check --untrusted live; err 'open for writing'
  kill -0 "$writer" || die "the writer ended: $(cat held)"
  kill_writer
  want 0 check --deep live
}
