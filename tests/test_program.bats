#!/usr/bin/env bats
# What `pagestore` prints and how it ends: every command that looks, JSON, wrong use, no store, a live writer beside it, damage, a
# closed pipe.
# ctest: TIMEOUT 300
load support/program
load support/damage

# ---- the program itself ------------------------------------------------------------------------------------------------

@test "version and help" {
  want 0 version; out '^pagestore [0-9]+\.[0-9]+\.[0-9]+$'
  want 0 --version; out '^pagestore '
  want 0 help; out '^  ls STORE ' '^  dump STORE INSTANCE MEMORY ' '^Exit codes: 0 .* 1 .* 2 .* 3 '
  want 0 --help; out '^Commands:'
}

@test "help of every command, and the same by --help" {
  for command in $("$program" help --manual); do
    want 0 help $command; out "^usage: pagestore $command" '^Options:' '^Exit codes:'
    mv out by-help
    want 0 $command --help; cmp -s by-help out || die "help $command and $command --help differ"
  done
  [ "$("$program" help --manual | wc -l)" -ge 30 ] || die "commands are missing"
}

@test "an unknown command, and the one that was meant" {
  want 2; err 'which command'
  want 2 frobnicate; err "'frobnicate' is no command" 'pagestore help'
  want 2 help frobnicate; err 'no command'
  for pair in stta:stat sned:send chekc:check dif:diff imports:import lss:ls recovr:recover tpo:top; do
    want 2 ${pair%:*}; err "did you mean '${pair#*:}'\?$"
  done
  for word in frobnicate x '' $'\e[31m' aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; do
    want 2 "$word"; ! grep -q 'did you' err || die "a suggestion for $word"; ! grep -q $'\e' err || die "a control character"
  done
  want 2 help stats; err "did you mean 'stat'"
}

@test "wrong operands and options" {
  want 2 ls; err 'operands are missing' '^usage: pagestore ls STORE'
  want 2 ls a b; err "'b' is one operand too many"
  want 2 ls --frob a; err '--frob is not an option'
  want 2 ls -Z a; err '-Z is not an option'
  want 2 dump a b c --page; err '--page needs an argument'
  want 2 dump a b c --json; err '--json is not an option'
}

@test "no store: what next, one line, no control characters, nothing made" {
  want 3 ls nowhere; err '^pagestore: .*nowhere.*: ' 'data.mdb'
  mkdir empty; want 3 stat empty; err 'empty'
  want 3 log "$BATS_TEST_FILENAME" x; err 'not a directory'
  want 3 ls $'no\e[31m\nwhere'; err '^pagestore: '; ! grep -q $'\e' err || die "a control character got through"
  [ "$(wc -l < err)" = 1 ] || die "a name broke the line"
  [ "$(ls)" = "$(printf '%s\n' empty err out)" ] || die "something was made: $(ls)"
}

# ---- what is in a store ---------------------------------------------------------------------------------------------------

@test "ls" {
  store
  want 0 ls s; lines 3
  out '^NAME +VERSION +PAGES' '^alpha +3 +4 +2 +131072 +abcdef0{58}$' '^béta +1 +1 +0 +0 +abcdef'
  want 0 ls --json s; out '"instances": \[' '"name": "alpha"' '"name": "béta"' '"stored_bytes": 131072'
}

@test "names alone, for scripts" {
  store
  want 0 ls --names s; [ "$(cat out)" = $'alpha\nbéta' ] || die "not the names"
  want 0 ls -1 s; lines 2
  want 0 snapshot list --names s alpha; [ "$(cat out)" = $'one\ntwo' ] || die "not the names"
  want 0 snapshot list --names s béta; lines 0
  want 2 ls --names --json s; err 'exclude each other'
}

@test "stat of a store, as tables, JSON and OpenMetrics" {
  store
  want 0 stat s
  out '^format +1$' "^file bytes +$(stat -c %s s/data.mdb)\$" '^free bytes +[0-9]+$' '^instances +2$' '^snapshots +2$' '^id +[0-9a-f]{32}$' '^stored bytes +131072$' '^amplification +3\.[0-9]+$' '^transaction +[0-9]+$'
  want 0 stat -j s; out '"format": 1,' '"instances": 2,' '"trash_pending": false'
  want 0 stat --json s; out '"log_bytes": 208848' '"log_records": 3' '"log_budget_bytes": 4194304' '"features_incompatible": 1'
  want 0 stat --openmetrics s; out '^pagestore_log_bytes 208848$' '^pagestore_instances 2$' '^pagestore_transaction [0-9]+$' '^pagestore_instance_version\{instance="alpha"\} 3$' '^# EOF$' '^# UNIT pagestore_file_bytes bytes$'
  want 2 stat --openmetrics --json s; err 'exclude'
}

@test "stat of an instance" {
  store
  want 0 stat s alpha
  out '^instance +alpha$' '^version +3$' '^zero pages +2$' '^heap +64 +yes +1 +1000 +0 +0$' '^main +32 +no +3 +10 +2 +131072$' '^large +5000$' \
    '^module.globals +8$' '^one +1 +20[0-9-]+T[0-9:.]+Z +[0-9]+$' '^two +2 '
  want 0 stat --json s alpha; out '"memory": "heap"' '"index_bits": 64' '"keep": true' '"metadata": "large"' '"snapshot": "two"' '"retained_bytes": [0-9]+'
  want 0 stat s béta; out '^m\\n +32 '
  want 0 stat --json s béta; out '"memory": "m\\\\n"'
  want 3 stat s ''; err 'empty'
}

@test "log, the newest first" {
  store
  want 0 log s alpha; lines 4
  [ "$(awk 'NR > 1 { print $1 }' out | tr '\n' ' ')" = "3 2 1 " ] || die "not the newest first"
  out '^ +3 +20[0-9T:.Z-]+ - +4 +2 +- ' '^ +2 .* two +3 +2 +[0-9]+ '
  want 0 log --json s alpha; out '"snapshot": null' '"snapshot": "one"'
}

@test "show: metadata, and one value" {
  store
  want 0 show s alpha; out '^large +5000 hex +00' '^module.globals +8 text +'
  want 0 show --json s alpha; out '"key": "large"'
  want 0 show s alpha large; [ "$(wc -c < out)" = 5000 ] || die "the value has another length"
  want 3 show s alpha none; err 'lists the keys'
  want 3 show s none; err 'pagestore ls STORE'
}

@test "debug: raw views" {
  store
  want 0 debug s metas; lines 3; out '^ +[01] yes +yes '
  want 0 debug s tables; out '^catalog ' '^pages ' '^log '
  want 0 debug s records; out '^store +0 ' '^name +0 alpha ' '^snapshot +[0-9]+ one ' '^layer .* depth 1,'
  want 0 debug s rows; out ' page ' ; want 0 debug --layer 999 s rows; lines 0
  want 0 debug s log; out '^ *3 +0 +1 +1 +0 +0 +3 '; want 0 debug --layer 999 s log; lines 0
  want 0 debug s records; out '^log +1 .* 1 blocks, the first: layer 1 memory 1 page 0 version 1 block 0'
  want 0 debug s free
  want 0 debug --json s metas; out '"metas": \['
  root=$("$program" debug --json s tables | grep -A1 '"catalog"' | grep -o '[0-9]*')
  want 0 debug s page -p "$root"; out '^kind +leaf$' ' store 0 '
  want 0 debug s page -x -p 0; lines 256
  want 3 debug s page -p 1000000; err 'smaller number'
  want 2 debug s page; err '--page N'
  want 2 debug s soup; err "'soup' is none of"
  want 3 debug nowhere metas; err nowhere
}

@test "plot: a cell a page, and a picture by gnuplot" {
  store
  want 2 plot s alpha; err '--output'
  want 0 plot s alpha main -o -; out '^set terminal svg' '^plot .* with image' '^0 0 [1-9]'
  [ "$(grep -c '^[0-9]* [0-9]* [0-9]*$' out)" = 16 ] || die "a cell is missing"
  out "^set title 'stored'" '^plot .* with linespoints'
  want 3 plot s alpha none -o -; err "no memory 'none'"
  if command -v gnuplot > /dev/null; then
    want 0 plot s alpha -o p.svg; grep -q '</svg>' p.svg || die "the picture is not whole"
    want 0 plot s alpha -o p.png; head -c 4 p.png | grep -q PNG || die "this is no PNG"
  fi
}

@test "doctor" {
  store
  got=0; timeout 60 "$program" doctor s > out 2> err < /dev/null || got=$?; [ $got -le 1 ] || die "doctor failed"
  out '^trackers +mprotect' '^file system +[a-z0-9]' '^LMDB +LMDB 0\.' '^format +1 ' '^auto takes +' '^vm.max_map_count +' '^address space' '^wasmtime +' '^wasm2c +'
  want 3 doctor nowhere; err 'data.mdb'
}

@test "top and stat --watch: lines and objects in a pipe, beside an idle and a busy writer" {
  store
  want 0 stat --watch 1 --count 2 s; lines 3; out '^TIME +VERSIONS/S' '^20.* 0\.0 +2 '
  want 0 top -i 1 -c 1 s; lines 2; out '^TIME +VERSIONS/S +INSTANCES +FLUSHES/S' '^20.* 0\.0 +2 +0\.0 +- +- +- '
  want 2 stat --watch 0 s; err '1 to 86400'
  want 2 top --interval 0 s; err '1 to 86400'
  want 2 top --interval x s; err 'is not a number'
  want 2 stat --watch 1 s alpha; err 'whole store'
  want 2 stat --watch 1 --openmetrics s; err 'exclude'
  want 3 top nowhere; err 'data.mdb'
  busy s
  want 0 top -i 1 -c 2 --json s; lines 2
  python3 - "$writer" <<'P' || die "not what a busy writer does"
import json, sys
for line in open("out"):
    d = json.loads(line)
    busy, idle = d["instances"]
    assert busy["instance"] == "alpha" and idle["versions_per_second"] == 0 and idle["milliseconds_per_version"] is None, d
    assert 0 < d["versions_per_second"] <= d["flushes_per_second"] * 1.5 + 2, d
    assert d["flushes_measured"] > 0 and 0 < d["flush_mean_milliseconds"] <= d["flush_max_milliseconds"], d
    assert d["writer"] is None or d["writer"] == "program_host" and d["writer_resident_bytes"] > 0, d
P
  want 0 stat --watch 1 -c 1 --json s; lines 1
}

@test "every key of JSON is told in help" {
  store
  while read -r line; do
    got=0
    # shellcheck disable=SC2086
    timeout 60 "$program" $line > document 2> err || got=$?
    [ $got -le 1 ] || die "failed: $line"
    shown=$line
    python3 -c 'import json, sys; json.load(open("document"))' || die "no JSON"
    want 0 help "${line%% *}"
    for key in $(grep -o '"[a-z_]*":' document | tr -d '":' | sort -u); do out "\b$key\b"; done
  done <<'L'
ls -j s
stat -j s
stat -j s alpha
log -j s alpha
show -j s alpha
diff -j s alpha one two
snapshot list -j s alpha
restore -n -j s alpha one
prune -n -j --keep 1 s
doctor -j s
check -j --deep s
recover -j s saved
top -j -i 1 -c 1 s
L
}

@test "-- ends the options, - is stdin and stdout" {
  store ./-s
  store
  want 0 ls -- -s; out '^alpha '
  want 2 ls -s; err '-s is not an option'
  want 0 export -- -s alpha main -img; cmp -s ./-img <("$program" dump --raw -- -s alpha main) || die "a name with a dash"
  "$program" send s alpha one | "$program" receive -c r copy - > out 2> err || die "receive - failed"
  "$program" send s alpha one -o - | cmp -s - <("$program" send s alpha one) || die "-o - is not stdout"
}

@test "quiet on a closed pipe, not on a full disk" {
  store
  for command in 'ls s' 'stat s' 'debug s rows' 'dump --page 0 s alpha main' 'help' 'top -i 1 s'; do
    # shellcheck disable=SC2086
    shown="$command to nobody"; { "$program" $command || true; } 2> err | true
    [ ! -s err ] || die "not quiet on a closed pipe"
  done
  shown="dump to a closed pipe"
  { got=0; "$program" dump --page 0 s alpha main || got=$?; echo $got > code; } 2> err | head -n 1 > out
  [ ! -s err ] && [ "$(cat code)" = 141 ] || die "not quiet on a closed pipe: $(cat code)"
  if [ -w /dev/full ]; then
    got=0; shown="ls to a full disk"; "$program" ls s > /dev/full 2> err || got=$?
    [ $got = 3 ] || die "a full disk went unnoticed"; err 'could not be written'
  fi
}

# ---- bytes ------------------------------------------------------------------------------------------------------------------

@test "dump: hex lines, pages, ranges, snapshots" {
  store
  want 0 dump s alpha main; lines 3
  out '^00000000: 6669 7273 7400 .*  first\.+$' '^00000010: 7468 6972 64' '^00012000: 5a5a 5a5a'
  want 0 dump s alpha heap; lines 0
  want 0 dump --snapshot one s alpha main; lines 1; out '^00000000: 6669'
  want 0 dump --page 1 s alpha main; lines 4096; out '^00010000: 0000' '^00012000: 5a5a' '^0001fff0: 0000'
  want 0 dump --offset 73732 --length 0x10 s alpha main; lines 2; out '^00012004: 5a5a 5a5a 5a5a 5a5a 5a5a 5a5a  +ZZZZZZZZZZZZ$' '^00012010: 0000 0000 +\.\.\.\.$'
}

@test "dump --raw: the exact bytes, and xxd -r of the hex ones" {
  store
  want 0 dump --raw s alpha main; [ "$(stat -c %s out)" = 196608 ] || die "not every byte"
  head -c 5 out | grep -q '^first$' || die "not the first bytes"
  [ "$(tail -c +73729 out | head -c 16)" = ZZZZZZZZZZZZZZZZ ] || die "not the bytes at 73728"
  mv out whole
  want 0 dump -r --offset 64K -l 64K s alpha main; tail -c +65537 whole | head -c 65536 | cmp -s - out || die "not the middle page"
  want 0 dump -r -p 2 s alpha main; tail -c 65536 whole | cmp -s - out || die "not the last page"
  want 0 dump s alpha main --raw -o 196608; lines 0
  if command -v xxd > /dev/null; then
    want 0 dump s alpha main --offset 0; xxd -r out | cmp -s - whole || die "xxd -r does not turn it back"
  fi
}

@test "dump: a range beyond the memory, numbers that are none" {
  store
  want 3 dump --page 3 s alpha main; err '196608 bytes \(3 pages'
  want 3 dump --offset 196609 s alpha main; err 'give a smaller one'
  want 3 dump --offset 1 --length 196608 s alpha main; err 'give a smaller one'
  want 2 dump --page 1 --length 1 s alpha main; err '--page and --block exclude'
  want 2 dump --raw --hex s alpha main; err 'exclude each other'
  for number in x 1x -1 '' 0x 99999999999999999999 16777216T; do
    want 2 dump --offset "$number" s alpha main; err 'is not a number'
  done
}

@test "dump of many pages with gaps, and of a hole of 16 GiB" {
  "$host" wide wide
  want 0 dump wide wide sparse; lines 2; out '^00000060: 0000 0000 6c6f 77' '^400000060: 0000 0000 6869 6768'
  want 0 dump --raw wide wide main; mv out whole
  want 0 dump --raw --offset 0x123456 --length 3M wide wide main
  tail -c +$((0x123456 + 1)) whole | head -c 3145728 | cmp -s - out || die "a range of many pages differs from the whole"
  if command -v xxd > /dev/null; then
    want 0 dump wide wide main; xxd -r out > back; truncate -s "$(stat -c %s whole)" back; cmp -s back whole || die "a dump lacks bytes"
  fi
}

@test "dump, show, export: a block, and a version by its number" {
  store
  want 0 dump --block 18 s alpha main; lines 256; out '^00012000: 5a5a'
  want 0 dump --page 1 --block 2 --raw s alpha main; [ "$(wc -c < out)" = 4096 ] || die "not a block"; [ "$(head -c 2 out)" = ZZ ] || die "another block"
  want 3 dump --block 48 s alpha main; err '196608 bytes'
  want 2 dump --page 1 --block 16 s alpha main; err '0 to 15'
  want 2 dump --block 1 --length 5 s alpha main; err '--page and --block exclude'
  for n in 1 2; do
    name=$([ $n = 1 ] && echo one || echo two)
    want 0 dump --raw --version $n s alpha main; cp out by-version
    want 0 dump --raw --snapshot $name s alpha main; cmp -s out by-version || die "version $n is not $name"
    want 0 export --version $n s alpha main image$n; cmp -s image$n by-version || die "another image of version $n"
  done
  want 0 dump --raw --version 3 s alpha main; [ "$(sha256sum < out)" = "$(raw s alpha main)" ] || die "version 3 is not the present"
  want 0 show --version 1 s alpha; no_out large
  want 3 dump --version 4 s alpha main; err "version 4 of 'alpha' is not kept" 'pagestore log'
  want 2 dump --version 1 --snapshot one s alpha main; err 'exclude each other'
}

@test "diff of an instance with its fork, and with a stranger" {
  store
  want 0 fork --snapshot one s alpha early
  want 1 diff --with early s alpha; out '^from +-$' '^main +0 +4096 ' '^main +73728 ' '^metadata +large +5000 bytes +-$'
  want 0 diff --with early s alpha one; no_out '^main'
  want 1 diff --hex --with alpha s early; out '^\+00012000: 5a5a'
  want 3 diff --with nobody s alpha; err "no instance 'nobody'"
  got=0; timeout 60 "$program" diff --with béta s alpha > out 2> err || got=$?
  [ $got = 3 ] || [ $got = 1 ] || die "ended with $got"
}

@test "the present beside a writer: for five seconds, longer with --hold and a warning; a snapshot for as long as wanted" {
  "$host" wide s && "$host" make other
  "$program" send other alpha | "$program" receive s alpha > out
  want 0 snapshot create s wide kept
  busy s
  shown="slow dump"
  got=0; { "$program" dump --raw s wide main || echo $? > code; } 2> err | { head -c 1M; sleep 6; cat; } > image
  [ "$(cat code)" = 3 ] || die "it went on: $(cat code)"; err 'longer makes the file of program_host .* grow' '--hold'
  rm code
  { "$program" dump --raw --hold s wide main || echo $? > code; } 2> err | { head -c 1M; sleep 6; cat; } > image
  [ ! -e code ] || die "ended with $(cat code)"; err 'grows meanwhile'; [ "$(wc -c < image)" = 85196800 ] || die "not all of it"
  { "$program" dump --raw --snapshot kept s wide main || echo $? > code; } 2> err | { head -c 1M; sleep 6; cat; } > snapshot
  [ ! -e code ] && [ ! -s err ] && cmp -s image snapshot || die "a snapshot is held up"
}

@test "unknown names: what lists the known ones" {
  store
  for line in 'stat s none' 'log s none' 'dump s none main' 'diff s none'; do
    want 3 $line; err "no instance 'none'" 'pagestore ls STORE'
  done
  want 3 dump s alpha none; err "no memory 'none' in 'alpha'" 'pagestore stat'
  want 3 dump --snapshot none s alpha main; err "no snapshot 'none' of 'alpha'" 'pagestore log'
  want 3 diff s alpha none; err "no snapshot 'none'" 'pagestore log'
  want 3 diff s béta; err "'béta' has no snapshot"
}

@test "diff between snapshots and the present: blocks, sizes, metadata, hex, JSON" {
  store
  want 1 diff s alpha; out '^from +two$' '^to version +3$' '^main +0 +4096 +0 +0 +0 +1$' '^memory +main +2 pages, 32-bit +3 pages'; no_out '73728' large
  want 1 diff s alpha one two; out '^main +73728 +4096 +1 +1 +2 +1$' '^metadata +large +- +5000 bytes$'; no_out '^main +0 '
  want 1 diff s alpha two one; out '^main +73728 ' '^metadata +large +5000 bytes +-$'
  want 1 diff s alpha - one; out '^from +-$' '^to +one$'
  want 0 diff s alpha one one; no_out '^main'
  want 0 diff s alpha - -
  want 1 diff --json s alpha one; out '"from": "one"' '"to": null' '"offset": 73728' '"what": "metadata"'
  want 1 diff --hex s alpha one
  out '^@@ main, page 1, 4096 bytes at 73728 @@$' '^-00012000: 0000' '^\+00012000: 5a5a' '^\+00000010: 7468'; no_out '^.00000000:'
  want 2 diff --hex --json s alpha; err 'exclude each other'
}

# ---- beside a writer -----------------------------------------------------------------------------------------------------------------

@test "beside a writer: what is durable is seen, version by version" {
  store live
  hold live
  said 4
  want 0 ls live; out '^alpha +4 '
  want 0 stat live alpha; out '^version +4$'
  want 0 dump live alpha main; out '^00000020: 6865 6c64 2030'
  echo again >&9; said 5
  want 0 dump --offset 32 --length 16 live alpha main; out '  held 4'
  want 1 diff live alpha; out '^to version +5$'
  want 0 log live alpha; lines 4
  let_go
}

@test "beside a writer that commits all the time" {
  store live
  busy live
  for _ in $(seq 20); do
    want 0 stat live alpha
    want 0 ls live
  done
}

# ---- damage --------------------------------------------------------------------------------------------------------------------------------

@test "a damaged page: told by its place, the others stay readable" {
  store damaged
  spoil damaged
  want 1 dump damaged alpha main; lines 2; out '^00000000: 6669' '^00000010: 7468'; err "memory 'main', page 1, version 2 is damaged" 'goes on'
  want 1 dump --raw damaged alpha main; [ "$(stat -c %s out)" = 196608 ] || die "damage shortened the dump"
  want 0 dump --page 0 damaged alpha main; lines 4096
  want 1 dump --page 1 damaged alpha main; lines 0; err 'page 1'
  want 0 dump --snapshot one damaged alpha main; lines 1
  want 1 diff damaged alpha one; out '^complete +no$' '^main +0 '; err "page 1, version 2 is damaged"
  want 0 stat damaged alpha
}

@test "damaged tree pages, a cut file, a foreign one" {
  store torn
  for at in $(seq 8192 128 60000); do poke torn "$at" '\377'; done
  want 1 ls torn; err 'is damaged'
  store short; truncate -s 40000 short/data.mdb
  want 1 ls short; err 'truncated'
  store foreign; head -c 65536 /dev/zero | tr '\0' x > foreign/data.mdb
  want 3 stat foreign; err 'no LMDB file'
}

@test "looking changes no byte of the data file" {
  store
  before=$(sum)
  while read -r line; do
    # shellcheck disable=SC2086
    timeout 60 "$program" $line > out 2> err < /dev/null || [ $? = 1 ] || die "failed: $line"
    [ "$(sum)" = "$before" ] || die "looking has changed the store: $line"
  done <<'L'
ls s
stat s
stat s alpha
stat --openmetrics s
top -i 1 -c 1 s
log s alpha
show s alpha
dump --raw s alpha main
diff --hex s alpha one
snapshot list s alpha
restore -n s alpha one
prune -n --keep 1 s
plot s alpha main -o -
export s alpha main image
send s alpha one -o stream
backup s other
doctor s
check --deep s
recover s saved
debug s rows
L
}
