#!/bin/sh
# Every public header compiles alone, as C11 and as C++17, strictly, with each compiler that is here.
set -eu
include=${SOURCE:-$(dirname "$0")/..}/include
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
strict="-Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only -I$include"
count=0

try() {  # try COMPILER STANDARD LANGUAGE FILE [OPTION...]
  compiler=$1 standard=$2 language=$3 file=$4
  shift 4
  command -v "$compiler" > /dev/null || return 0
  "$compiler" -std="$standard" -x "$language" $strict "$@" "$file" || { echo "$compiler -std=$standard: $file"; exit 1; }
  count=$((count + 1))
}

everywhere() {
  for compiler in gcc clang; do try $compiler c11 c "$@"; done
  for compiler in g++ clang++; do try $compiler c++17 c++ "$@"; done
}

echo '#include <pagestore.h>' > "$out/api.c"
everywhere "$out/api.c"
for header in stable module; do
  echo "#include <pagestore/$header.h>" > "$out/$header.c"
  everywhere "$out/$header.c"
done
if echo '#include <wasm-rt.h>' | ${CC:-cc} -E -x c - > /dev/null 2>&1; then
  echo '#include <pagestore/wasm2c.h>' > "$out/wasm2c.c"
  printf '#include <pagestore/wasm2c_ic0.h>\nstruct Z_ic0_instance_t { pagestore_stable *calls; };\nPAGESTORE_WASM2C_IC0(ic0->calls)\n' > "$out/wasm2c_ic0.c"
  printf '#define PAGESTORE_WASM2C_IMPLEMENTATION\n#include <pagestore/wasm2c.h>\n' > "$out/wasm2c_runtime.c"
  everywhere "$out/wasm2c.c"
  everywhere "$out/wasm2c_ic0.c"
  everywhere "$out/wasm2c_runtime.c" -D_GNU_SOURCE
  everywhere "$out/wasm2c_runtime.c" -D_GNU_SOURCE -DWASM_RT_MEMCHECK_SIGNAL_HANDLER=0
fi
wasmtime=${BUILD:-$(dirname "$0")/../build}/wasmtime/include
[ -n "${WASMTIME_ROOT:-}" ] && wasmtime=$WASMTIME_ROOT/include
if [ -f "$wasmtime/wasmtime.h" ]; then
  echo '#include <pagestore/wasmtime.h>' > "$out/wasmtime.c"
  printf '#define PAGESTORE_WASMTIME_IMPLEMENTATION\n#include <pagestore/wasmtime.h>\n' > "$out/wasmtime_runtime.c"
  everywhere "$out/wasmtime.c" -isystem "$wasmtime"
  everywhere "$out/wasmtime_runtime.c" -D_GNU_SOURCE -isystem "$wasmtime"
fi
# clang++ without a C++ library is as good as not there; at least the C compiler must have looked.
[ "$count" -gt 0 ] || { echo "no compiler"; exit 1; }
echo "$count compilations"
