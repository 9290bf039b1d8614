#!/usr/bin/env bats
# `pagestore new-example`, and a newcomer's first minutes with it: make, run twice, a trap, killed, looked at, drawn.
# ctest: TIMEOUT 300
load support/program

# build make-arguments...: as a newcomer does, but against this build
build() {
  make "$@" PAGESTORE_CFLAGS="-I$source/include" PAGESTORE_LIBS="$build/libpagestore.a -llmdb -lxxhash -lpthread" > log 2>&1 ||
    { cat log; die "the example does not build"; }
}

# In the example's folder: it counts on, over restarts, traps and kills.
ten_minutes() {
  local last now run
  [ "$(./host my.store 1)" = "1, version 2" ] || die "the first run"
  [ "$(./host my.store 5)" = "6, version 3" ] || die "it does not count on"
  ! ./host my.store 1000 2> err || die "the trap was not seen"
  grep -q 'nothing of it stays' err || die "the trap was not told"
  "$program" snapshot create my.store counter before > /dev/null || die "no snapshot"
  last=6
  for run in $(seq 20); do
    ./host my.store 1 > told 2>&1 3>&- & writer=$!
    sleep "0.0$((RANDOM % 9))"
    kill -9 $writer 2> /dev/null || true
    wait $writer 2> /dev/null || true
    now=$("$program" export --trust my.store counter heap - 2> /dev/null | wc -c)
    [ "$now" = $((2 * 65536)) ] || die "the memory cannot be read after kill $run"
    [ -s told ] && last=$(cut -d, -f1 told)
  done
  writer=
  now=$(./host my.store 1 | cut -d, -f1)
  [ "$now" -gt "$last" ] && [ "$now" -le 27 ] || die "after the kills it counts $now, told was $last"
  want 0 check --deep my.store
  want 0 log my.store counter; out ' before '
  want 1 diff my.store counter; out '^heap '
  want 1 diff --hex my.store counter; out '^@@ heap, page '
  ! command -v gnuplot > /dev/null || want 0 plot my.store counter -o my.svg
}

@test "new-example wasm2c: builds, counts on over restarts, traps and kills" {
  needs make clang wasm-ld wasm2c
  wabt=$(dirname "$(find /usr/include /usr/share/wabt /usr/local/include -name wasm-rt.h 2> /dev/null | head -n 1)")
  [ -f "$wabt/wasm-rt.h" ] || skip "no wasm-rt.h of wabt"
  want 0 new-example wasm2c counter; out 'read its README.md'
  cd counter
  build WABT_CFLAGS="-I$wabt"
  ten_minutes
}

@test "new-example wasmtime: builds, counts on over restarts, traps and kills" {
  needs make clang wasm-ld
  for wasmtime in "${WASMTIME_ROOT:-}" "$build/wasmtime" "$source/build/wasmtime" none; do
    [ -f "$wasmtime/include/wasmtime.h" ] && break
  done
  [ "$wasmtime" != none ] || skip "no Wasmtime: tests/fetch_wasmtime, or give WASMTIME_ROOT"
  want 0 new-example wasmtime counter; out 'read its README.md'
  cd counter
  build WASMTIME="$wasmtime"
  ten_minutes
}

@test "new-example: refused over a directory, and for an engine that is none" {
  mkdir counter
  for engine in wasm2c wasmtime; do want 3 new-example $engine counter; err 'new directory'; done
  [ -z "$(ls -A counter)" ] || die "something was written"
  want 2 new-example abacus other; err "no example for 'abacus'" 'wasm2c'
  [ ! -e other ] || die "a refused example left a directory"
}
