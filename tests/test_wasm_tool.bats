#!/usr/bin/env bats
# `pagestore wasm inspect` and `native`: what they print and write, how they refuse; what they write is valid to wabt.
# ctest: TIMEOUT 120
load support/program

setup() {
  begin
  needs wat2wasm wasm-validate wasm-objdump
}

# module NAME TEXT: NAME.wasm
module() {
  printf '%s\n' "$2" > "$1.wat"
  wat2wasm --enable-multi-memory --enable-threads "$1.wat" -o "$1.wasm" || die "wat2wasm refuses $1.wat"
}
full() {
  module full '(module (import "ic0" "stable64_read" (func (param i64 i64 i64))) (import "ic0" "msg_reply" (func))
    (import "env" "base" (global i32)) (table 3 9 funcref) (memory 2 5)
    (global (mut i32) (i32.const 1)) (global (export "sp") (mut i64) (i64.const 2))
    (data (i32.const 8) "abc") (data "passive"))'
}
startup() { wat2wasm "$source/tests/canisters/startup.wat" -o startup.wasm || die "wat2wasm refuses startup.wat"; }
valid() { local f; for f; do wasm-validate --enable-multi-memory --enable-memory64 "$f" || die "$f is not valid"; done; }

# ---- looking ---------------------------------------------------------------------------------------------------------------------

@test "inspect: a table of each kind of thing" {
  full
  want 0 wasm inspect full.wasm
  out '^functions +2$' '^imported functions +2$' '^start +-$' '^native +yes$' '^ +0 no +32 +2 +5 no$' \
    '^stable64_read +\(i64 i64 i64\) -> \(\) +[0-9]+$' '^msg_reply +\(\) -> \(\)' '^ +0 yes +3 ' \
    '^ +1 no +7 ' '^ +1 i32 +yes +no +-$' '^ +2 i64 +yes +no +sp$' '^ +0 funcref +no +32 +3 +9$' '^memory +- '
}

@test "inspect --json: the same, and each member that the help tells" {
  full
  want 0 wasm inspect --json full.wasm
  out '"bytes": [0-9]+' '"native": true' '"memories": \[' '"index_bits": 32' '"max_pages": 5' '"ic0": \[' \
    '"type": "\(i64 i64 i64\) -> \(\)"' '"data": \[' '"active": false' '"globals": \[' '"exported": "sp"' '"tables": \[' \
    '"max_elements": 9' '"sections": \[' '"start": null'
  "$program" help wasm > help
  for member in bytes types functions imported_functions element_segments start data_count native memories ic0 data globals tables \
    sections; do
    grep -qE "^  \"$member\":" out || die "no $member in the document"
    grep -qE "\\b$member\\b" help || die "no $member in the help"
  done
}

@test "inspect: a start function and a data count" {
  startup
  want 0 wasm inspect startup.wasm; out '^start +1$' '^data count +3$'
  want 0 wasm inspect -j startup.wasm; out '"start": 1'
}

# ---- rewriting --------------------------------------------------------------------------------------------------------------------

# native BITS WHO: with both ways to copy
native() {
  local bits=$1 who=$2 how
  startup
  for how in loop bulk; do
    if [ "$who" = module ]; then want 0 wasm native startup.wasm -o native.wasm -m module -b "$bits" -c $how
    else want 0 wasm native startup.wasm -o native.wasm --shim shim.wasm --memories "$who" --stable-bits "$bits" --copy $how; fi
    [ ! -e native.wasm.new ] || die "something is left"
    valid native.wasm
    [ "$who" = module ] || valid shim.wasm
    want 0 wasm inspect native.wasm
    out '^start +-$' '^native +no$' "^native reason +section export.*'pagestore_install'.*reserved" " +1 (yes|no) +$bits +0 +[0-9]+ no"
  done
}

@test "native: memories of the host, 32-bit" { native 32 host; }
@test "native: memories of the host, 64-bit" { native 64 host; }
@test "native: memories of the shim, 32-bit" { native 32 shim; }
@test "native: memories of the shim, 64-bit" { native 64 shim; }
@test "native: memories of the module, 32-bit" { native 32 module; }
@test "native: memories of the module, 64-bit" { native 64 module; }

@test "native: a limit of pages, memories and globals exported, data passive, nothing runs at the start" {
  startup
  want 0 wasm native startup.wasm -o native.wasm --stable-max 77
  want 0 wasm inspect native.wasm; out '^ +1 yes +64 +0 +77 no$'
  wasm-objdump -x native.wasm > dump || die "wasm-objdump cannot read it"
  for line in 'memory\[0\] pages: initial=2 <- pagestore.heap' 'memory\[1\] pages: initial=0 max=77 i64 <- pagestore.stable' 'passive' \
    '"pagestore_global_0"' '"pagestore_global_1"'; do
    grep -q -- "$line" dump || die "no $line: $(cat dump)"
  done
  sed -n '/^Data/,$p' dump > data
  [ -s data ] || die "no data segments"
  ! grep -qE '^Start|init i' data || die "an active segment is left"
}

@test "native: a module that is native already is refused" {
  startup
  want 0 wasm native startup.wasm -o native.wasm --stable-max 77
  want 3 wasm native native.wasm -o again.wasm; err "'pagestore_install' has a name that is reserved"
  [ ! -e again.wasm ] || die "a refused module was written"
}

# ---- refusing ---------------------------------------------------------------------------------------------------------------------

# refused NAME SECTION REASON: nothing is written, and inspect says why
refused() {
  want 3 wasm native "$1.wasm" -o "$1.out"; err "^pagestore: section $2, offset 0x[0-9a-f]+: .*$3"
  [ ! -e "$1.out" ] || die "it was written"
  want 0 wasm inspect "$1.wasm"; out '^native +no$' "$3"
}

@test "refused: no memory, two memories, a shared one" {
  module none '(module (func))'
  module two '(module (memory 1) (memory 2))'
  module shared '(module (memory 1 2 shared))'
  refused none memory 'has no memory'
  refused two memory 'has 2 memories'
  refused shared memory 'is shared'
}

@test "refused: a mutable global that holds a reference" {
  module reference '(module (memory 1) (global (mut externref) (ref.null extern)))'
  refused reference global 'global 0 is mutable and holds a reference'
}

@test "refused: names that are ours" {
  module taken '(module (memory (export "pagestore_x") 1))'
  module source '(module (import "pagestore" "f" (func)) (memory 1))'
  refused taken export "'pagestore_x' has a name that is reserved"
  refused source import 'is reserved'
}

@test "no module: cut off, text, nothing, a directory, an empty file" {
  full
  head -c 40 full.wasm > cut.wasm
  want 3 wasm native cut.wasm -o x; err '^pagestore: section [a-z]+, offset 0x[0-9a-f]+: .*cut off'
  want 3 wasm inspect full.wat; err 'section head, offset 0x0: this is not a Wasm module'
  want 3 wasm inspect nowhere.wasm; err 'nowhere.wasm.*No such file'
  want 3 wasm inspect .; err 'Is a directory'
  : > empty.wasm
  want 3 wasm inspect empty.wasm; err 'offset 0x0'
  [ ! -e x ] || die "something was written"
}

@test "wrong operands and options" {
  full
  want 2 wasm native full.wasm; err 'Give -o OUT'
  want 2 wasm frob full.wasm; err "'frob': it is either inspect or native"
  want 2 wasm native full.wasm -o x -b 16; err 'is 32 or 64'
  want 2 wasm native full.wasm -o x -m nobody; err '--memories nobody is none of its words'
  want 2 wasm native full.wasm -o x -c slowly; err '--copy slowly'
  want 2 wasm native full.wasm -o x -x 0; err 'at least 1'
  want 2 wasm native full.wasm -o x --json; err '--json is for inspect'
  want 2 wasm native full.wasm -o x -m module -s y; err '--memories module excludes --shim'
  want 2 wasm inspect full.wasm -o x; err '--output is for native'
  want 3 wasm native full.wasm -o x -b 32 -x 65537; err 'stable_max_pages is at most 65536'
  [ ! -e x ] && [ ! -e y ] || die "something was written"
}

@test "what cannot be written: no directory" {
  full
  want 3 wasm native full.wasm -o nowhere/x; err 'nowhere/x.*cannot be written'
}

@test "what cannot be written: a full disk" {
  [ -w /dev/full ] || skip "no /dev/full"
  full
  ln -s /dev/full full.new
  want 3 wasm native full.wasm -o full; err 'cannot be written'
}
