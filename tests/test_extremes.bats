#!/bin/bash
# Every command on a store that is not as usual: empty, of 10,000 instances, with 100 GiB of memory, damaged, in use, not there, not
# ours, on a full disk. Each ends as documented, says in one line what to do next, and leaves nothing half made.
# ctest: TIMEOUT 900
set -u
. "${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}/tests/support/program.bash"

as=() skipped=
# The commands, STORE standing for the store: those that look, those that make something else, those that change it.
looks='ls STORE
ls --json STORE
stat STORE
stat STORE alpha
stat --openmetrics STORE
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

# try CODES STORE COMMAND...: one of these exit codes; a failure says in one line why and what next, and leaves nothing.
try() {
  local codes=$1 got
  shown="${*:3}" shown=${shown//STORE/$2}
  rm -rf new
  mkdir -m 777 new
  # shellcheck disable=SC2086
  timeout 120 "${as[@]}" "$program" $shown > out 2> err < /dev/null
  got=$?
  case " $codes " in *" $got "*) ;; *) die "ended with $got, not with one of: $codes" ;; esac
  if [ "$got" = 3 ]; then
    [ "$(wc -l < err)" = 1 ] || die "a failure is one line"
    grep -qE '^pagestore: .{10,}[;:,] .{5,}' err || die "a failure without what to do next"
    [ -z "$(ls -A new)" ] || die "a failure left $(ls -A new)"
  fi
  [ "$got" != 0 ] || [ ! -s err ] || die "complained, and ended with 0"
  [ -z "$(find . -name '*.partial-*' -o -name '*.new-*')" ] || die "half made: $(find . -name '*.partial-*' -o -name '*.new-*')"
  count=$((count + 1))
}
# each CODES STORE LIST: all commands of a list. fresh: on a new copy of the store s each
each() { local line; while read -r line; do try "$1" "$2" "$line"; done <<< "$3"; }
fresh() { local line; while read -r line; do rm -rf "$2"; cp -r s "$2"; ${prepare:-true} "$2"; try "$1" "$2" "$line"; done <<< "$3"; }
image() { "$program" export "$@" - 2> /dev/null | sha256sum; }
sum() { sha256sum < "$1/data.mdb"; }
all="$looks
$makes
$changes"

"$host" make s || { echo "no store"; exit 1; }
{ "$program" export s alpha main image && "$program" send s alpha one -o stream && "$program" check s; } > out || exit 1

# ---- as usual: the lists are right ------------------------------------------------------------------------------------------

each '0 1' s "$looks"
each 0 s "$makes"
fresh 0 changed "$changes"

# ---- no store, or something else ---------------------------------------------------------------------------------------------

mkdir hollow rubbish
head -c 300000 /dev/urandom > rubbish/data.mdb
head -c 5000 s/data.mdb > file
for store in nowhere hollow rubbish file /dev/null; do
  each '1 3' $store "$all"
done
[ ! -e nowhere ] && [ -z "$(ls -A hollow)" ] && [ "$(ls rubbish)" = data.mdb ] || die "something was made"

# ---- an empty one ---------------------------------------------------------------------------------------------------------------

"$host" many empty 0 || die "no empty store"
before=$(sum empty)
each '0 3' empty "$looks"
each '0 3' empty "$makes"
for command in 'ls' 'ls --json' 'stat' 'stat --openmetrics' 'prune --keep 1' 'check --deep' 'upgrade-format' 'debug'; do
  # shellcheck disable=SC2086
  set -- $command; [ "$1" != debug ] || set -- debug empty records; [ "$1" = debug ] || set -- "$@" empty
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
[ "$(sum empty)" = "$before" ] || die "looking changed it"
want 0 compact empty; want 0 check empty
want 0 receive empty alpha stream; want 0 import empty alpha more image

# ---- 10,000 instances ------------------------------------------------------------------------------------------------------------

"$host" many many 10000 || die "no large store"
want 0 ls many; lines 10001
want 0 ls --json many; out '"name": "instance-09999"'
want 0 stat many; out '^instances +10000$'
want 0 stat --openmetrics many; out '^pagestore_instances 10000$'
want 0 stat many instance-05000; want 0 log many instance-05000; want 0 dump many instance-05000 memory; lines 1
want 0 prune --dry-run --keep 1 many
want 0 prune -y --keep 1 many
want 0 check many; out '10000 instances'
want 0 doctor many
want 0 fork many instance-05000 five; want 0 snapshot create many five x; want 0 prune -y --keep 0 many; out '^five +x '
want 0 delete -y many five
want 0 compact many
want 0 recover many many.again; out 'whole: 10000 instances, 10000 pages saved'
rm -rf many many.again

# ---- 100 GiB ------------------------------------------------------------------------------------------------------------------------

blocks() { du -s --block-size=1M "$1" | cut -f 1; }
truncate -s 100G big
printf middle | dd of=big bs=1 seek=53687091200 conv=notrunc status=none
printf end | dd of=big bs=1 seek=107374182300 conv=notrunc status=none
want 0 import --create --memory64 --max-pages 2000000 large a m big; out 'has 1638400 pages'
want 0 snapshot create large a one
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
printf again | dd of=big bs=1 seek=75161927680 conv=notrunc status=none
want 0 import -y large a m big; want 1 diff large a; out '^m +75161927680 +4096'; no_out 53687091200
want 0 snapshot create large a two
want 0 send large a one -o large.stream; want 0 send --since one large a two -o large.more
want 0 receive --create far a large.stream; want 0 receive far a large.more
want 0 dump far a m; out '^c80000000: 6d69' '^1180000000: 6167' '^18ffffff90: .* 656e 64'; lines 3
want 0 restore -y large a one; want 0 diff large a one; want 0 fork large a b; want 0 plot large a m -o -
want 0 check --deep far; want 0 backup far far.backup; want 0 recover far far.again; want 0 compact far
[ "$(blocks .)" -lt 1000 ] || die "$(blocks .) MiB on the disk"
rm -rf big* large* far*

# ---- damage -------------------------------------------------------------------------------------------------------------------------

RANDOM=7 size=$(stat -c %s s/data.mdb)
# Runs of noise here and there; which store is hit where follows from RANDOM above.
harm() {
  local i
  for i in 1 2 3; do
    head -c $((1 + RANDOM % 64)) /dev/zero | tr '\0' "\\$(printf %o $((1 + RANDOM % 255)))" |
      dd of="$1/data.mdb" bs=1 seek=$(((RANDOM * 32768 + RANDOM) % size)) conv=notrunc status=none
  done
}
prepare=harm fresh '0 1 3' harmed "$all"
prepare=harm fresh '0 1 3' harmed "$all"
halve() { truncate -s $((size / 2)) "$1/data.mdb"; }
prepare=halve fresh '0 1 3' harmed "$all"

# ---- in use -------------------------------------------------------------------------------------------------------------------------

cp -r s live
mkfifo in
"$host" hold live < in > said 2> held & writer=$!
exec 9> in
for _ in $(seq 400); do grep -q '^ready' said && break; sleep 0.05; done
each '0 1' live "$looks"
each 0 live "$(grep -v recover <<< "$makes")"
try 3 live 'recover STORE new/store'
while read -r line; do try 3 live "$line"; err 'open|in use|runtime'; done <<< "$changes"
exec 9>&-
wait "$writer" || die "the writer failed: $(cat held)"
writer=
want 0 check --deep live

# ---- not ours --------------------------------------------------------------------------------------------------------------------------

if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
  own=$program
  cp "$program" ./pagestore
  program=$PWD/pagestore as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  chmod 755 .
  touch out err; chmod 666 out err
  cp -r s private; chmod 700 private
  cp -r s public; chmod -R a+rX public
  if "${as[@]}" "$program" version > /dev/null 2>&1; then
    each 3 private "$all"
    before=$(sum public)
    each '0 1 3' public "$looks"
    each '0 1 3' public "$makes"
    each 3 public "$changes"
    [ "$(sum public)" = "$before" ] || die "what is not ours was changed"
    mkdir -m 755 theirs
    try 3 public 'export STORE alpha main theirs/image'
    try 3 public 'backup STORE theirs/store'; try 3 theirs/store 'import -c STORE a m image'; [ -z "$(ls -A theirs)" ] || die "$(ls -A theirs)"
  else skipped+=' permissions (nobody cannot run the program)'; fi
  program=$own as=()
else skipped+=' permissions (not root)'; fi

# ---- a full disk --------------------------------------------------------------------------------------------------------------------------

mkdir small
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=448k none small 2> /dev/null; then
  finish() { [ -n "$writer" ] && kill "$writer" 2> /dev/null; umount small; cd /; rm -rf "$scratch"; }
  for command in 'export STORE alpha main small/image' 'send --level 0 STORE alpha -o small/stream' 'backup STORE small/store' \
    'copy -c STORE small/store' 'recover STORE small/store' 'import -c small/store a m image' 'receive -c small/store a stream'; do
    rm -rf small/*
    head -c 1M /dev/zero > small/filler 2> /dev/null
    try 3 s "$command"; err 'space|full|room'
    [ "$(ls -A small)" = filler ] || die "left in the full file system: $(ls -A small)"
  done
  rm small/filler
  cp -r s small/s
  head -c 1M /dev/zero > small/filler 2> /dev/null
  before=$(image small/s alpha main)
  for command in 'import -y STORE alpha new ../big' 'fork STORE alpha twin' 'compact STORE' 'snapshot create STORE alpha x'; do
    head -c 600000 /dev/urandom > big
    try '0 3' small/s "${command/..\//}"
  done
  want 3 import small/s alpha new big; err 'space|full|room'
  want 0 check small/s; [ "$(image small/s alpha main)" = "$before" ] || die "a full disk changed a memory"
else skipped+=' full disk (no mount)'; fi

echo "$count runs${skipped:+; not tried:$skipped}"
