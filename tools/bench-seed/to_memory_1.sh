#!/bin/sh
# to_memory_1.sh IN.wasm OUT.wasm - the same module with every access, growth and segment at memory 1; memory 0 is imported as
# "bench" "other" and never touched. clang can address one memory only. WASM2WAT and WAT2WASM name wabt's programs.
set -eu
${WASM2WAT:-wasm2wat} "$1" -o "$2.wat"
sed -E -e 's/\b([if](32|64)\.(load|store)[0-9_su]*)/\1 1/' -e 's/\bmemory\.(grow|size|fill)/memory.\1 1/' \
  -e 's/\bmemory\.copy/memory.copy 1 1/' -e 's/\(data (\$[^ ]+ )?\(i32/(data \1(memory 1) (i32/' \
  -e 's/^( *)\(import "env" "memory"/\1(import "bench" "other" (memory 1))\n&/' "$2.wat" > "$2.1.wat"
${WAT2WASM:-wat2wasm} --enable-multi-memory "$2.1.wat" -o "$2"
