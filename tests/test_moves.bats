#!/usr/bin/env bats
# What leaves a store and comes into one: export, import, send, receive; files, pipes, holes, damage, pieces, progress.
# ctest: TIMEOUT 300
load support/program

bytes() { sha256sum < "$1"; }

# ---- export and import -----------------------------------------------------------------------------------------------------

@test "export: a file, a pipe, dump --raw: the same bytes; nothing over a file" {
  store
  want 0 export s alpha main main.img
  [ "$(stat -c %s main.img)" = $((3 * 65536)) ] || die "the image has another size"
  [ "$(bytes main.img)" = "$("$program" dump --raw s alpha main | sha256sum)" ] || die "export and dump --raw differ"
  [ "$(bytes main.img)" = "$(image s alpha main)" ] || die "file and pipe differ"
  [ "$(image s alpha main --snapshot one)" != "$(bytes main.img)" ] || die "a snapshot is the present"
  want 3 export s alpha main main.img; err 'there already'
  want 3 export s alpha main /no/such/place; err 'may write to'
  want 3 export s alpha none none.img; err "no memory 'none' in 'alpha'"
  [ ! -e none.img ] && [ -z "$(ls ./*.partial* 2> /dev/null)" ] || die "a failed export left a file"
}

@test "import: what came in is what went out; the rest is zeros" {
  store
  "$program" export s alpha main main.img
  want 3 import s alpha main nowhere; err 'nowhere'
  want 2 import s alpha main main.img; err "memory 'main' of 'alpha' has 3 pages" '--yes'
  want 3 import elsewhere a m main.img; err 'elsewhere'
  want 0 import --create elsewhere a m main.img; out "^memory 'm' of 'a' has 3 pages at version 1$"
  [ "$(image elsewhere a m)" = "$(bytes main.img)" ] || die "what came in is not what went out"
  head -c 100000 /dev/urandom > odd
  want 0 import -y elsewhere a m odd; out 'has 3 pages at version 2'
  { cat odd; head -c $((3 * 65536 - 100000)) /dev/zero; } > padded
  [ "$(image elsewhere a m)" = "$(bytes padded)" ] || die "the rest of the memory is not zeros"
  "$program" import elsewhere a piped - < <(cat main.img) > out || die "a pipe was not read"
  [ "$(image elsewhere a piped)" = "$(bytes main.img)" ] || die "the pipe's bytes differ"
}

@test "import: 64-bit memories, memories that survive upgrades, limits" {
  head -c 100000 /dev/urandom > odd
  want 2 import -c --memory64 elsewhere a big odd; err '--max-pages'
  want 0 import -c --memory64 --max-pages 1000 --keep elsewhere a big odd; want 0 stat elsewhere a; out '^big +64 yes|^big .* 64 yes'
  want 3 import elsewhere a small --max-pages 1 odd; err '--max-pages'
  want 0 ls elsewhere; no_out small
}

@test "a hole of gigabytes costs nothing in the file, nor in the store it goes to" {
  truncate -s 20G holes; printf end >> holes
  want 0 import -c --memory64 --max-pages 400000 elsewhere a holes holes
  want 0 export elsewhere a holes holes.back
  [ "$(stat -c %s holes.back)" = $(( (20 * 1024 * 1024 * 1024 / 65536 + 1) * 65536 )) ] || die "the image has lost its size"
  [ "$(stat -c %b holes.back)" -lt 2048 ] || die "the image has lost its hole"
  [ "$(tail -c 65536 holes.back | head -c 3)" = end ] || die "the bytes behind the hole are gone"
  rm holes holes.back
}

# ---- send and receive ----------------------------------------------------------------------------------------------------------

@test "send and receive: whole, then since a snapshot" {
  store
  want 0 send s alpha one -o one.stream
  want 0 receive -c d copy one.stream; out "^instance 'copy' is received$"
  [ "$(image d copy main)" = "$(image s alpha main --snapshot one)" ] || die "the received instance differs"
  want 3 receive d copy one.stream; err 'nothing was changed'
  "$program" send s alpha two --since one | "$program" receive d copy > /dev/null || die "the increment was refused"
  [ "$(image d copy main)" = "$(image s alpha main --snapshot two)" ] || die "the increment differs"
  want 0 snapshot list d copy; out '^one ' '^two '
  want 3 send s alpha none; err 'none'
  want 3 send s alpha two --since none; err 'none'
}

@test "receive: refused on a gap and on a divergence, nothing changed" {
  store
  want 0 snapshot create s alpha three
  want 0 send s alpha one -o one.stream
  want 0 send s alpha three --since two -o gap.stream
  want 0 receive -c d copy one.stream
  before=$(sum d)
  want 3 receive d copy gap.stream; err 'nothing was changed|snapshot'
  [ "$(sum d)" = "$before" ] || die "a gap changed the store"
  want 0 send s alpha two --since one -o two.stream
  head -c 70000 /dev/urandom > more
  want 0 import -y d copy main more
  before=$(sum d)
  want 3 receive d copy two.stream; err 'nothing was changed|since|commit'
  [ "$(sum d)" = "$before" ] || die "a divergence changed the store"
}

@test "send: levels of zstd" {
  store
  want 0 send --level 0 s alpha -o plain.stream
  want 0 receive -c d plain plain.stream; [ "$(image d plain main)" = "$(image s alpha main)" ] || die "the plain stream differs"
  want 0 send -l 19 s alpha -o tight.stream; [ "$(stat -c %s tight.stream)" -lt "$(stat -c %s plain.stream)" ] || die "19 is no smaller than 0"
  want 2 send -l 20 s alpha; err 'from 0'
}

@test "receive: a stream that was cut or changed, at every seventh byte" {
  store
  want 0 send s alpha one -o one.stream
  want 0 receive -c d copy one.stream
  want 0 send -l 19 s alpha -o tight.stream
  before=$(sum d)
  size=$(( $(stat -c %s tight.stream) - 4 ))  # without zstd's own checksum, which nobody waits for: the stream has better ones
  for length in 0 3 20 100 $((size - 1)); do
    head -c "$length" tight.stream > cut; want 3 receive d cut cut; err 'stream|incomplete'
  done
  for at in $(seq 0 7 $((size - 1))); do
    cp tight.stream flipped; printf '\xff' | dd of=flipped bs=1 seek="$at" conv=notrunc status=none
    cmp -s flipped tight.stream && continue
    want 3 receive d flipped flipped
  done
  [ "$(sum d)" = "$before" ] || die "a damaged stream changed the store"
}

@test "no bytes onto a terminal, none from one" {
  store
  ! typed "'$program' send s alpha" || die "bytes on a terminal"
  out 'not for a terminal'
  ! typed "'$program' receive s typed" || die "bytes from a terminal"
  out 'from a terminal'
}

# ---- a stream in pieces -----------------------------------------------------------------------------------------------------------

# pieces LEVEL: cut twice, put together by --skip and --spool
pieces() {
  local level=$1 size at
  "$host" wide w2 && "$program" snapshot create w2 wide a > out
  "$program" send -l "$level" w2 wide a > whole.stream && "$program" send -l "$level" w2 wide a | cmp -s - whole.stream || die "another stream at level $level"
  size=$(stat -c %s whole.stream)
  want 0 receive --spool spool --where in x; out '^0$'
  head -c $((size / 3)) whole.stream > piece
  want 3 receive -c --spool spool in x piece; err 'incomplete|stream'
  want 0 receive --spool spool --where in x; out "^$((size / 3))\$"
  got=0
  "$program" send -l "$level" --skip $((size / 3)) w2 wide a | head -c 1000 > piece
  want 3 receive --spool spool in x piece
  want 0 receive --spool spool --where in x; at=$(cat out); [ "$at" = $((size / 3 + 1000)) ] || die "$at bytes"
  "$program" send -l "$level" --skip "$at" w2 wide a | "$program" receive --spool spool in x > out 2> err || die "the pieces were refused"
  [ ! -e spool ] || die "the spool stayed"
  [ "$(image in x main)" = "$(image w2 wide main)" ] || die "the pieces make another memory"
}

@test "a stream in pieces, not compressed" { pieces 0; }
@test "a stream in pieces, level 3" { pieces 3; }
@test "a stream in pieces, level 19" { pieces 19; }

@test "a stream in pieces: what cannot be put together" {
  "$host" wide w2 && "$program" snapshot create w2 wide a > out
  "$program" send w2 wide a > whole.stream
  want 2 send --skip 1 w2 wide; err 'needs a SNAPSHOT'
  want 3 send --skip 1G w2 wide a -o none; err 'another one'; [ ! -e none ] || die "a file without a stream"
  { head -c 5000 whole.stream; tail -c +5002 whole.stream; } > gap
  want 0 receive -c in0 x whole.stream
  want 3 receive --spool spool in0 y gap; [ -s spool ] || die "the spool is gone"; want 0 ls in0; no_out '^y '
  want 2 receive --where in0 y; err '--spool'
}

# ---- how far it is ----------------------------------------------------------------------------------------------------------------

# follows LAST-LINE-REGEX COMMAND...: the last JSON line on stderr
follows() {
  local last=$1
  shift
  shown="$*"
  "$program" "$@" > out 2> err || die "failed"
  tail -n 1 err | grep -qE "^\{\"progress\": \"$1\", \"bytes\": $last, \"bytes_per_second\": [0-9]+, \"seconds_left\": [0-9a-z]+\}$" || die "no last line like $last"
}

@test "--progress=json of every long command ends with all bytes" {
  "$host" wide wide
  # without the two pages of the other memory
  stored=$(( ($("$program" stat --json wide wide | sed -n 's/.*"stored_pages": \([0-9]*\).*/\1/p' | head -n 1) - 2) * 65536 ))
  follows "$stored, \"total_bytes\": $stored" export -P json wide wide main wide.img
  follows "85196800, \"total_bytes\": 85196800" import -P json --create p w main wide.img
  follows "([0-9]+), \"total_bytes\": \1" send -P json wide wide -o wide.stream
  size=$(stat -c %s wide.stream)
  follows "$size, \"total_bytes\": $size" receive -P json p x wide.stream
  shown="receive of a pipe"; "$program" receive -P json p y < <(cat wide.stream) > out 2> err || die "failed"
  err "\"bytes\": $size, \"total_bytes\": $size, "
  for command in backup copy 'copy -c'; do
    # shellcheck disable=SC2086
    rm -rf other; follows "([0-9]+), \"total_bytes\": \1" $command --progress=json wide other
  done
  follows "([0-9]+), \"total_bytes\": \1" compact --progress=json wide
  [ "$(image wide wide main)" = "$(bytes wide.img)" ] || die "the compact store differs"
  follows "85196800, \"total_bytes\": 85196800" dump --raw -P json wide wide main
  follows "85196800, \"total_bytes\": 85196800" dump -P json wide wide main
  "$program" snapshot create wide wide before
  "$program" snapshot create wide wide again
  follows "([0-9]+), \"total_bytes\": \1" diff -P json wide wide
  follows "255590400, \"total_bytes\": 255590400" plot -P json -o p.gp wide wide main
}

@test "--progress of another word: wrong use, and nothing is made" {
  store
  "$host" wide wide
  "$program" export wide wide main wide.img; "$program" send wide wide -o wide.stream
  for command in 'export s alpha main n.img' 'import -c n a m wide.img' 'send s alpha -o n.stream' 'receive -c n a wide.stream' 'backup s n' 'compact s' \
    'dump s alpha main' 'diff s alpha' 'plot -o n.gp s alpha'; do
    want 2 ${command%% *} --progress=often ${command#* }; err 'auto, never or json'
  done
  [ ! -e n ] && [ ! -e n.img ] && [ ! -e n.stream ] && [ ! -e n.gp ] || die "wrong use left something"
}
