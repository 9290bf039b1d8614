#!/usr/bin/env bats
# What `pagestore recover` makes of a damaged store: what is whole, what is lost, what replaces it, the sandbox, and that it touches
# nothing else.
# ctest: TIMEOUT 600
load support/program
load support/damage

# same STORE: all that can be read is as in s
same() {
  local line
  for line in 'ls %' 'log % alpha' 'stat % alpha' 'dump --raw % alpha main' 'dump --raw --snapshot one % alpha main' \
    'dump --raw --snapshot two % alpha main' 'dump --raw --page 0 % alpha heap'; do
    # shellcheck disable=SC2086
    want 0 ${line//%/s}; mv out wanted
    # shellcheck disable=SC2086
    want 0 ${line//%/$1}; cmp -s wanted out || die "differs from the store: $line"
  done
}
# pages REGEX: the number of each LMDB page behind the meta pages whose byte 8 (or the byte $2) --explain tells so
pages() {
  local at
  for at in $(seq $((8192 + ${2:-8})) 4096 "$(stat -c %s s/data.mdb)"); do
    ! is_told "$at" "$1" || echo $((at / 4096))
  done
}
# zero STORE PAGE [COUNT]: zeros
zero() { dd if=/dev/zero of="$1/data.mdb" bs=4096 seek="$2" count="${3:-1}" conv=notrunc status=none; }

# ---- a whole one ---------------------------------------------------------------------------------------------------------

@test "whole: all of it, clean, and again from what was made" {
  store
  want 0 recover s r; out '^r: recovered whole: 2 instances, 4 pages saved, 0 lost'; same r
  want 0 check --deep r; out 'clean: 2 instances, 2 snapshots'
  want 0 recover r again; same again
}

@test "whole: a host writes on in it" {
  store
  want 0 recover s r
  "$host" hold r > said < /dev/null || die "the new store cannot be written"
  want 0 check --deep r; out 'clean'
}

@test "whole: in the sandbox, as JSON with progress" {
  store
  want 0 recover --untrusted s r; same r
  rm -r r
  shown="recover --json --progress=json s r"
  timeout 60 "$program" recover --json --progress=json s r > out 2> err || die "ended with $?"
  out '"verdict": "whole"' '"pages_saved": 4' '"lost": \[\]'; err '"progress": "recover"'
}

@test "wrong operands, no store, and not over what is there" {
  store
  want 0 recover s r
  want 2 recover s r; err 'r exists'
  want 2 recover s
  want 2 recover s a b
  want 3 recover none new; err 'data.mdb'
}

# ---- a lost page ------------------------------------------------------------------------------------------------------------

@test "a lost block: told, and damaged in the new store; the rest is whole" {
  store
  fresh; spoil d
  want 1 recover d r
  out '^r: recovered with LOSSES: 2 instances, 3 pages saved, 1 lost' \
    "^lost: instance 'alpha', memory 'main': 1 pages damaged, .*versions 2 to 2" \
    "^damage: instance 'alpha', memory 'main', page 1, version 2, 1 of its blocks are lost .*next: .*--older.*--zero"
  want 1 dump r alpha main; err 'page 1, version 2 is damaged'
  want 0 dump --page 0 r alpha main
  want 0 dump --snapshot one r alpha main
  want 1 check --deep r; out "memory 'main', page 1, version 2"
}

@test "a lost block, as JSON and in the sandbox" {
  store
  fresh; spoil d
  want 1 recover --json d r; out '"verdict": "losses"' '"pages_damaged": 1' '"instance": "alpha"'
  rm -r r
  want 1 recover --untrusted d r; out '1 lost'
  want 1 dump r alpha main
}

@test "a lost block: --zero puts zeros in its place" {
  store
  fresh; spoil d
  want 1 recover --zero d r; out 'zeros are in their place' '0 pages damaged, 1 replaced'
  want 0 check --deep r
  want 0 dump --page 1 r alpha main; [ "$(grep -c '0000 0000 0000 0000 0000 0000 0000 0000' out)" = 4096 ] || die "not zeros"
}

@test "a lost block of which there is no older one: --older leaves it damaged" {
  store
  fresh; spoil d
  want 1 recover --older d r; out '1 pages damaged'
  want 1 dump r alpha main
}

@test "a lost block of the log: --older puts an older version's bytes in its place" {
  local at block=
  store
  for at in $(offsets third); do
    ! is_told "$at" 'of the log' || block=$at
  done
  [ -n "$block" ] || die "no block of the log"
  fresh; poke d "$block" '\001\002\003'
  want 1 recover d r; want 1 dump --page 0 r alpha main
  rm -r r
  want 1 recover --older d r; out "an older version's bytes are in their place"
  want 0 dump --page 0 r alpha main; out '^00000000: 6669 7273 7400'; no_out 7468
}

# ---- tree pages, meta pages, cut off ------------------------------------------------------------------------------------------

@test "a meta page of zeros: nothing is lost" {
  store
  for page in 0 1; do
    fresh; zero d $page
    want 0 recover d r; same r
  done
}

@test "both meta pages without their roots: nothing is lost" {
  store
  fresh
  for at in 100 4196 128 4224; do poke d $at '\377\377\377\377\377\377'; done
  want 1 check d
  want 0 recover d r; same r; want 0 check --deep r
}

@test "each leaf of the tree damaged: nothing is lost" {
  local tried=0
  store
  for page in $(pages 'leaf page|of a .*record of table|node .* in a'); do
    fresh; poke d $((page * 4096)) '\377\377\377'
    want 0 recover d r; same r
    tried=$((tried + 1))
  done
  [ "$tried" -ge 5 ] || die "only $tried leaves"
}

@test "a damaged name of a table, flags of a table that no store has: nothing is lost" {
  local named=0
  store
  for at in $(offsets pages); do
    is_told "$at" 'leaf page of table main' || continue
    fresh; poke d $((at + 3)) x
    want 1 check d; out '^d: DAMAGED: 1 findings' "the name of the table 'pages' is damaged: 'pagxs'"
    want 0 recover d r; same r; want 0 check --deep r
    for flag in 4 5; do # of the table's record: with any of them the library refuses the store
      fresh; poke d $((at + 5 + flag)) '\200'
      want 1 check d; out 'flags that are never used'; want 0 recover d r; same r
    done
    named=$((named + 1))
  done
  [ "$named" = 1 ] || die "not one page that names the tables: $named"
}

@test "a file that was cut off: what is left, and the same in the sandbox" {
  store
  fresh; truncate -s 200000 d/data.mdb
  want 1 recover d r; out 'LOSSES'; cp out lost
  want 0 ls r
  rm -r r
  want 1 recover --untrusted d r; cmp -s <(grep -v '^note' lost) <(grep -v '^note' out) || die "the sandbox makes another store"
}

@test "a foreign file: nothing is made of it" {
  store
  fresh; head -c 65536 /dev/zero | tr '\0' x > d/data.mdb
  want 3 recover d r; err 'restore a backup'; [ ! -e r ] || die "made of nothing"
  want 3 recover --untrusted d r; [ ! -e r ] || die "made of nothing"
}

# ---- a log ---------------------------------------------------------------------------------------------------------------------------

@test "the log: its leaves and the headers of its records: the catalog knows the same, nothing is lost" {
  local tried=0
  store
  for page in $(pages 'table log|of the header of record [0-9]* of the log'); do
    fresh; poke d $((page * 4096 + 40)) '\377'
    want 0 recover d r; same r; want 0 check --deep r
    tried=$((tried + 1))
  done
  [ "$tried" -ge 4 ] || die "only $tried pages of the log"
}

@test "the log: a record of zeros, its blocks are lost" {
  store
  first=$(pages 'header of record [0-9]* of the log' 80 | tail -n 1)
  [ -n "$first" ] || die "no record of the log"
  fresh; zero d "$first" 17
  want 1 recover d r; out "instance 'alpha', memory 'main', page 0, version 3, 1 of its blocks are lost"
  want 1 dump --page 0 r alpha main
  want 0 dump --page 1 r alpha main
  want 0 dump --raw --snapshot one r alpha main
  rm -r r
  want 1 recover --json d r; out '"pages_damaged": 1'
  rm -r r
  want 1 recover --zero d r; want 0 check --deep r
}

# ---- beside a writer -----------------------------------------------------------------------------------------------------------------

@test "beside a writer: refused; behind it nothing is left beside the new store" {
  store live
  hold live
  want 3 recover live r; err 'open for writing'; [ ! -e r ] || die "made beside a writer"
  let_go
  want 0 recover live r
  [ -z "$(ls -d .new* r.new* 2> /dev/null)" ] || die "something was left behind"
}
