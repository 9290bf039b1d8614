#!/bin/bash
# `pagestore wasm inspect` and `native`: what they print and write, how they refuse; what they write is valid to wabt.
#
#   want CODE argument...   runs `pagestore wasm`; its output is in $scratch/out and $scratch/err
#   out, err REGEX...       each must match a line of it
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${BUILD:-$source/build}
program=$build/tools/pagestore
[ -x "$program" ] || { echo "no $program: libsmartcols-dev or libjansson-dev was missing when it was built"; exit 77; }
command -v wat2wasm > /dev/null || { echo "no wabt: apt-get install wabt"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export LC_ALL=C.UTF-8
count=0 shown=

die() { echo "$*"; echo "--- pagestore wasm $shown"; head -n 40 out err; exit 1; }
want() {
  local code=$1 got
  shift
  shown="$*"
  timeout 60 "$program" wasm "$@" > out 2> err < /dev/null
  got=$?
  [ "$got" = "$code" ] || die "ended with $got instead of $code"
  [ "$code" = 0 ] || [ -s err ] || die "failed without a word"
  [ "$code" != 0 ] || [ ! -s err ] || die "complained, and ended with 0"
  count=$((count + 1))
}
out() { local r; for r; do grep -qE -- "$r" out || die "no line like: $r"; done; }
err() { local r; for r; do grep -qE -- "$r" err || die "no complaint like: $r"; done; }
valid() { local f; for f; do wasm-validate --enable-multi-memory "$f" || die "$f is not valid"; done; }
# module NAME TEXT: NAME.wasm
module() { printf '%s\n' "$2" > "$1.wat"; wat2wasm --enable-multi-memory --enable-threads "$1.wat" -o "$1.wasm" || die "$1.wat"; }

# ---- looking ---------------------------------------------------------------------------------------------------------------------

wat2wasm "$source/tests/canisters/startup.wat" -o startup.wasm || exit 1
module full '(module (import "ic0" "stable64_read" (func (param i64 i64 i64))) (import "ic0" "msg_reply" (func))
  (import "env" "base" (global i32)) (table 3 9 funcref) (memory 2 5) (global (mut i32) (i32.const 1)) (global (export "sp") (mut i64) (i64.const 2))
  (data (i32.const 8) "abc") (data "passive"))'
want 0 inspect full.wasm
out '^functions +2$' '^imported functions +2$' '^start +-$' '^native +yes$' '^ +0 no +32 +2 +5 no$' '^stable64_read +\(i64 i64 i64\) -> \(\) +[0-9]+$' \
  '^msg_reply +\(\) -> \(\)' '^ +0 yes +3 ' '^ +1 no +7 ' '^ +1 i32 +yes +no +-$' '^ +2 i64 +yes +no +sp$' '^ +0 funcref +no +32 +3 +9$' '^memory +- '
want 0 inspect --json full.wasm
out '"bytes": [0-9]+' '"native": true' '"memories": \[' '"index_bits": 32' '"max_pages": 5' '"ic0": \[' '"type": "\(i64 i64 i64\) -> \(\)"' '"data": \[' '"active": false' \
  '"globals": \[' '"exported": "sp"' '"tables": \[' '"max_elements": 9' '"sections": \[' '"start": null'
# Each member that the help tells is there.
"$program" help wasm > help
for member in bytes types functions imported_functions element_segments start data_count native memories ic0 data globals tables sections; do
  grep -qE "^  \"$member\":" out || die "no $member in the document"
  grep -qE "\\b$member\\b" help || die "no $member in the help"
done
want 0 inspect startup.wasm; out '^start +1$' '^data count +3$'
want 0 inspect -j startup.wasm; out '"start": 1'

# ---- rewriting --------------------------------------------------------------------------------------------------------------------

for bits in 32 64; do
  for who in host shim module; do
    for how in loop bulk; do
      if [ $who = module ]; then want 0 native startup.wasm -o native.wasm -m $who -b $bits -c $how
      else want 0 native startup.wasm -o native.wasm --shim shim.wasm --memories $who --stable-bits $bits --copy $how; fi
      [ ! -e native.wasm.new ] || die "something is left"
      if [ $bits = 32 ]; then valid native.wasm; [ $who = module ] || valid shim.wasm; fi
      want 0 inspect native.wasm; out '^start +-$' '^native +no$' "^native reason +section export.*'pagestore_install'.*reserved" " +1 (yes|no) +$bits +0 +[0-9]+ no"
    done
  done
done
want 0 native startup.wasm -o native.wasm --stable-max 77; want 0 inspect native.wasm; out '^ +1 yes +64 +0 +77 no$'
want 3 native native.wasm -o again.wasm; err "'pagestore_install' has a name that is reserved"
[ ! -e again.wasm ] || die "a refused module was written"
wasm-objdump -x native.wasm > dump || exit 1
for line in 'memory\[0\] pages: initial=2 <- pagestore.heap' 'memory\[1\] pages: initial=0 max=77 i64 <- pagestore.stable' 'passive' '"pagestore_global_0"' '"pagestore_global_1"'; do
  grep -q -- "$line" dump || { shown="objdump"; die "no $line: $(cat dump)"; }
done
! grep -qE '^Start|init i' <(sed -n '/^Data/,$p' dump) || die "an active segment is left"

# ---- refusing ---------------------------------------------------------------------------------------------------------------------

module none '(module (func))'
module two '(module (memory 1) (memory 2))'
module shared '(module (memory 1 2 shared))'
module reference '(module (memory 1) (global (mut externref) (ref.null extern)))'
module taken '(module (memory (export "pagestore_x") 1))'
module source '(module (import "pagestore" "f" (func)) (memory 1))'
refused() { want 3 native "$1.wasm" -o "$1.out"; err "^pagestore: section $2, offset 0x[0-9a-f]+: .*$3"; [ ! -e "$1.out" ] || die "it was written"; want 0 inspect "$1.wasm"; out '^native +no$' "$3"; }
refused none memory 'has no memory'
refused two memory 'has 2 memories'
refused shared memory 'is shared'
refused reference global 'global 0 is mutable and holds a reference'
refused taken export "'pagestore_x' has a name that is reserved"
refused source import 'is reserved'
head -c 40 full.wasm > cut.wasm
want 3 native cut.wasm -o x; err '^pagestore: section [a-z]+, offset 0x[0-9a-f]+: .*cut off'
want 3 inspect full.wat; err 'section head, offset 0x0: this is not a Wasm module'
want 3 inspect nowhere.wasm; err 'nowhere.wasm.*No such file'
want 3 inspect .; err 'Is a directory'
: > empty.wasm
want 3 inspect empty.wasm; err 'offset 0x0'
want 2 native full.wasm; err 'Give -o OUT'
want 2 frob full.wasm; err "'frob': it is either inspect or native"
want 2 native full.wasm -o x -b 16; err 'is 32 or 64'
want 2 native full.wasm -o x -m nobody; err '--memories nobody is none of its words'
want 2 native full.wasm -o x -c slowly; err '--copy slowly'
want 2 native full.wasm -o x -x 0; err 'at least 1'
want 2 native full.wasm -o x --json; err '--json is for inspect'
want 2 native full.wasm -o x -m module -s y; err '--memories module excludes --shim'
want 2 inspect full.wasm -o x; err '--output is for native'
want 3 native full.wasm -o x -b 32 -x 65537; err 'stable_max_pages is at most 65536'
want 3 native full.wasm -o nowhere/x; err 'nowhere/x.*cannot be written'
[ ! -e x ] || die "something was written"
if [ -w /dev/full ]; then ln -s /dev/full full.new; want 3 native full.wasm -o full; err 'cannot be written'; rm -f full.new; fi
echo "$count runs"
