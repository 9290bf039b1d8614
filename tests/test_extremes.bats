#!/usr/bin/env bats
# Every command on a store that is not as usual: empty, of 10,000 instances, with 100 GiB of memory, damaged, in use, not there, not
# ours, on a full disk. Each ends as documented, says in one line what to do next, and leaves nothing half made.
# ctest: TIMEOUT 900
load support/program

# The commands, STORE standing for the store: those that look, those that make something else, those that change it.
looks='ls STORE
ls --json STORE
stat STORE
stat STORE alpha
stat --openmetrics STORE
stat --watch 1 --count 1 STORE
top --interval 1 --count 1 --json STORE
log STORE alpha
show STORE alpha
show STORE alpha large
dump STORE alpha main
dump --raw STORE alpha main
diff STORE alpha one two
diff STORE alpha
snapshot list STORE alpha
restore --dry-run STORE alpha one
prune --dry-run --keep 1 STORE
plot STORE alpha main -o -
doctor STORE
debug STORE metas
debug STORE tables
debug STORE records
debug STORE rows
debug STORE log
debug STORE free
check STORE
check --deep STORE
upgrade-format STORE'
makes='export STORE alpha main new/image
send STORE alpha -o new/stream
backup STORE new/store
copy STORE new/store
copy --compact STORE new/store
recover STORE new/store'
changes='snapshot create STORE alpha three
snapshot drop -y STORE alpha one
restore -y STORE alpha one
fork STORE alpha twin
import -y STORE alpha main image
receive STORE other stream
prune -y --keep 1 STORE
delete -y STORE alpha
compact STORE'
all="$looks
$makes
$changes"
as=()

setup_file() {
  load support/program
  [ -x "$program" ] && [ -x "$host" ] || return 0
  cd "$BATS_FILE_TMPDIR" || exit 1
  "$host" make made
  "$program" export made alpha main image && "$program" send made alpha one -o stream
}

setup() {
  begin
  cp "$BATS_FILE_TMPDIR/image" "$BATS_FILE_TMPDIR/stream" .
  store
}

teardown() {
  kill_writer
  ! mountpoint -q small 2> /dev/null || umount small
}

# try CODES STORE COMMAND...: one of these exit codes; a failure says in one line why and what next, and leaves nothing.
try() {
  local codes=$1 got=0
  shown="${*:3}" shown=${shown//STORE/$2}
  rm -rf new
  mkdir -m 777 new
  # shellcheck disable=SC2086
  timeout 120 "${as[@]}" "$program" $shown > out 2> err < /dev/null || got=$?
  case " $codes " in *" $got "*) ;; *) die "ended with $got, not with one of: $codes" ;; esac
  if [ "$got" = 3 ]; then
    [ "$(wc -l < err)" = 1 ] || die "a failure is one line"
    grep -qE '^pagestore: .{10,}[;:,] .{5,}' err || die "a failure without what to do next"
    [ -z "$(ls -A new)" ] || die "a failure left $(ls -A new)"
  fi
  [ "$got" != 0 ] || [ ! -s err ] || die "complained, and ended with 0"
  [ -z "$(find . -name '*.partial-*' -o -name '*.new-*')" ] || die "half made: $(find . -name '*.partial-*' -o -name '*.new-*')"
}
# each CODES STORE LIST: all commands of a list. fresh: on a new copy of the store s each, prepared by $prepare
each() { local line; while read -r line; do try "$1" "$2" "$line"; done <<< "$3"; }
fresh() {
  local line
  while read -r line; do
    rm -rf "$2"
    cp -r s "$2"
    ${prepare:-true} "$2"
    try "$1" "$2" "$line"
  done <<< "$3"
}

# ---- as usual: the lists are right ------------------------------------------------------------------------------------------

@test "as usual: commands that look" { each '0 1' s "$looks"; }
@test "as usual: commands that make something" { each 0 s "$makes"; }
@test "as usual: commands that change the store" { fresh 0 changed "$changes"; }

# ---- no store, or something else ---------------------------------------------------------------------------------------------

@test "no store: every command" { each '1 3' nowhere "$all"; [ ! -e nowhere ] || die "something was made"; }
@test "an empty directory: every command" { mkdir hollow; each '1 3' hollow "$all"; [ -z "$(ls -A hollow)" ] || die "something was made"; }
@test "a file instead of a directory: every command" { head -c 5000 s/data.mdb > file; each '1 3' file "$all"; }
@test "a device instead of a directory: every command" { each '1 3' /dev/null "$all"; }
@test "rubbish in data.mdb: every command" {
  mkdir rubbish
  head -c 300000 /dev/urandom > rubbish/data.mdb
  each '1 3' rubbish "$all"
  [ "$(ls rubbish)" = data.mdb ] || die "something was made"
}

# ---- an empty one ---------------------------------------------------------------------------------------------------------------

@test "an empty store: every command that looks or makes" {
  "$host" many empty 0 || die "no empty store"
  before=$(sum empty)
  each '0 3' empty "$looks"
  each '0 3' empty "$makes"
  [ "$(sum empty)" = "$before" ] || die "looking changed it"
}

@test "an empty store: what is of the store works, what is of an instance says how to list them" {
  "$host" many empty 0 || die "no empty store"
  for command in 'ls' 'ls --json' 'stat' 'stat --openmetrics' 'prune --keep 1' 'check --deep' 'upgrade-format' 'top -i 1 -c 1' 'debug empty records'; do
    # shellcheck disable=SC2086
    set -- $command; [ "$1" = debug ] || set -- "$@" empty
    want 0 "$@"
  done
  want 0 ls --json empty; out '"instances": \[\]'
  want 0 backup empty empty.backup; want 0 check empty.backup
  want 0 recover empty empty.again; out 'whole: 0 instances'; want 0 ls empty.again; lines 0
  for command in 'stat empty alpha' 'log empty alpha' 'dump empty alpha main' 'diff empty alpha' 'send empty alpha' 'export empty alpha main x' \
    'fork empty alpha beta' 'delete -y empty alpha' 'snapshot create empty alpha x' 'snapshot list empty alpha'; do
    # shellcheck disable=SC2086
    want 3 $command; err "no instance 'alpha'" 'pagestore ls'
  done
  want 0 compact empty; want 0 check empty
  want 0 receive empty alpha stream; want 0 import empty alpha more image
}

# ---- 10,000 instances ------------------------------------------------------------------------------------------------------------

@test "10,000 instances: looking, pruning, checking, compacting, recovering" {
  "$host" many many 10000 || die "no large store"
  want 0 ls many; lines 10001
  want 0 ls --json many; out '"name": "instance-09999"'
  want 0 stat many; out '^instances +10000$'
  want 0 stat --openmetrics many; out '^pagestore_instances 10000$'
  want 0 top -i 1 -c 1 many; out '^20.* 10000 '
  want 0 stat many instance-05000; want 0 log many instance-05000; want 0 dump many instance-05000 memory; lines 1
  want 0 prune --dry-run --keep 1 many
  want 0 prune -y --keep 1 many
  want 0 check many; out '10000 instances'
  got=0; "$program" doctor many > out 2> err < /dev/null || got=$?; [ $got -le 1 ] || die "doctor failed"
  want 0 fork many instance-05000 five; want 0 snapshot create many five x; want 0 prune -y --keep 0 many; out '^five +x '
  want 0 delete -y many five
  want 0 compact many
  want 0 recover many many.again; out 'whole: 10000 instances, 10000 pages saved'
  rm -rf many many.again
}

# ---- 100 GiB ------------------------------------------------------------------------------------------------------------------------

blocks() { du -s --block-size=1M "$1" | cut -f 1; }

# The memory m of a, 100 GiB with three pages: in the middle, at the end, and one that comes later.
large() {
  truncate -s 100G big
  printf middle | dd of=big bs=1 seek=53687091200 conv=notrunc status=none
  printf end | dd of=big bs=1 seek=107374182300 conv=notrunc status=none
  want 0 import --create --memory64 --max-pages 2000000 large a m big; out 'has 1638400 pages'
  want 0 snapshot create large a one
}

@test "100 GiB, sparse: import, export, dump, stat, log, diff" {
  large
  want 0 export large a m big.back
  [ "$(stat -c %s big.back)" = 107374182400 ] || die "the image has another size"
  [ "$(blocks big.back)" -lt 10 ] || die "the image takes room"
  for at in 0 53687091200 107374116864; do
    want 0 dump --raw --offset $at --length 64K large a m
    tail -c +$((at + 1)) big | head -c 65536 | cmp -s - out || die "another page at $at"
    tail -c +$((at + 1)) big.back | head -c 65536 | cmp -s - out || die "another page in the image at $at"
  done
  want 0 stat large a; out '^pages +1638400$' '^stored pages +2$'
  want 0 log large a; want 0 diff large a
  [ "$(blocks .)" -lt 1000 ] || die "$(blocks .) MiB on the disk"
}

@test "100 GiB, sparse: changed, sent since a snapshot, restored, forked, drawn, checked, recovered" {
  large
  printf again | dd of=big bs=1 seek=75161927680 conv=notrunc status=none
  want 0 import -y large a m big; want 1 diff large a; out '^m +75161927680 +4096'; no_out 53687091200
  want 0 snapshot create large a two
  want 0 send large a one -o large.stream; want 0 send --since one large a two -o large.more
  want 0 receive --create far a large.stream; want 0 receive far a large.more
  want 0 dump far a m; out '^c80000000: 6d69' '^1180000000: 6167' '^18ffffff90: .* 656e 64'; lines 3
  want 0 restore -y large a one; want 0 diff large a one; want 0 fork large a b; want 0 plot large a m -o -
  want 0 check --deep far; want 0 backup far far.backup; want 0 recover far far.again; want 0 compact far
  [ "$(blocks .)" -lt 1000 ] || die "$(blocks .) MiB on the disk"
}

# ---- damage -------------------------------------------------------------------------------------------------------------------------

# Runs of noise here and there; which store is hit where follows from RANDOM.
harm() {
  local i
  for i in 1 2 3; do
    head -c $((1 + RANDOM % 64)) /dev/zero | tr '\0' "\\$(printf %o $((1 + RANDOM % 255)))" |
      dd of="$1/data.mdb" bs=1 seek=$(((RANDOM * 32768 + RANDOM) % $(stat -c %s s/data.mdb))) conv=notrunc status=none
  done
}
halve() { truncate -s $(($(stat -c %s s/data.mdb) / 2)) "$1/data.mdb"; }

@test "a damaged store: every command" { RANDOM=7; prepare=harm; fresh '0 1 3' harmed "$all"; }
@test "a damaged store, with other damage: every command" { RANDOM=11; prepare=harm; fresh '0 1 3' harmed "$all"; }
@test "a store cut in half: every command" { prepare=halve; fresh '0 1 3' harmed "$all"; }

# ---- in use -------------------------------------------------------------------------------------------------------------------------

@test "in use: looking and copying work, changing and recovering are refused" {
  mv s live
  hold live
  each '0 1' live "$looks"
  each 0 live "$(grep -v recover <<< "$makes")"
  try 3 live 'recover STORE new/store'
  while read -r line; do try 3 live "$line"; err 'open|in use|runtime'; done <<< "$changes"
  let_go
  want 0 check --deep live
}

@test "in use by a writer that commits all the time: looking and copying work" {
  mv s live
  busy live
  each '0 1' live "$looks"
  each 0 live "$(grep -v recover <<< "$makes")"
  kill -0 "$writer" || die "the writer ended: $(cat held)"
}

# ---- not ours --------------------------------------------------------------------------------------------------------------------------

# From here on commands are run as nobody.
as_nobody() {
  [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null || skip "not root: nobody else to be"
  cp "$program" ./pagestore
  program=$PWD/pagestore as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  local folder=$PWD
  while [ "$folder" != / ]; do chmod a+x "$folder"; folder=$(dirname "$folder"); [ "$folder" != "${TMPDIR:-/tmp}" ] || break; done
  touch out err; chmod 666 out err
  "${as[@]}" "$program" version > /dev/null 2>&1 || skip "nobody cannot run the program here"
}

@test "no permission to read: every command" {
  as_nobody
  chmod 700 s
  each 3 s "$all"
}

@test "no permission to write: looking may work, changing does not, and nothing changes" {
  as_nobody
  chmod -R a+rX s
  before=$(sum)
  each '0 1 3' s "$looks"
  each '0 1 3' s "$makes"
  each 3 s "$changes"
  [ "$(sum)" = "$before" ] || die "what is not ours was changed"
}

@test "no permission to make a file or a store" {
  as_nobody
  chmod -R a+rX s
  mkdir -m 755 theirs
  try 3 s 'export STORE alpha main theirs/image'
  try 3 s 'backup STORE theirs/store'
  try 3 theirs/store 'import -c STORE a m image'
  [ -z "$(ls -A theirs)" ] || die "$(ls -A theirs)"
}

# ---- a full disk --------------------------------------------------------------------------------------------------------------------------

small_disk() {
  mkdir small
  [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=600k none small 2> /dev/null || skip "not root, or mounting is not allowed"
}

@test "a full disk: nothing new is left on it" {
  small_disk
  for command in 'export STORE alpha main small/image' 'send --level 0 STORE alpha -o small/stream' 'backup STORE small/store' \
    'copy -c STORE small/store' 'recover STORE small/store' 'import -c small/store a m image' 'receive -c small/store a stream'; do
    rm -rf small/*
    head -c 1M /dev/zero > small/filler 2> /dev/null || true
    try 3 s "$command"; err 'space|full|room'
    [ "$(ls -A small)" = filler ] || die "left in the full file system: $(ls -A small)"
  done
}

@test "a store on a full disk: refused, and it stays what it was" {
  small_disk
  cp -r s small/s
  want 0 ls small/s  # the lock file has its room, as that of any store in use
  head -c 1M /dev/zero > small/filler 2> /dev/null || true
  before=$(image small/s alpha main)
  head -c 600000 /dev/urandom > big
  for command in 'import -y STORE alpha new big' 'fork STORE alpha twin' 'compact STORE' 'snapshot create STORE alpha x'; do
    try '0 3' small/s "$command"
  done
  each '0 1' small/s "$looks"
  want 3 import small/s alpha new big; err 'space|full|room'
  want 0 check small/s; [ "$(image small/s alpha main)" = "$before" ] || die "a full disk changed a memory"
}
