#!/bin/bash
# fuzz/run itself, on the programs of this build: each target for two seconds, a findings report, the canary found to fail; and what it
# says to a wrong engine, target and number.
#
# ctest: TIMEOUT 600
set -u
cd "$SOURCE" || exit 1
[ -x "$BUILD/fuzz/fuzz_canary" ] || { echo "the fuzz targets were not built"; exit 77; }
out=$(BUILD=$BUILD fuzz/run --engine driver --seconds 2) || { echo "$out"; exit 1; }
echo "$out"
for target in fuzz/fuzz_*.c; do
  name=${target#fuzz/fuzz_}
  name=${name%.c}
  [ -x "$BUILD/fuzz/fuzz_$name" ] || continue
  grep -qE "^$name +[1-9][0-9]* executions" <<< "$out" || { echo "nothing about $name"; exit 1; }
done
grep -q "it crashes, as it must" <<< "$out" || { echo "nothing about the canary's crash"; exit 1; }
grep -qE "^fuzz: [0-9]+ targets under driver for 2 seconds each, [0-9]+ executions, 0 findings, 0 that" <<< "$(tail -n 1 <<< "$out")" || { echo "no summary"; exit 1; }
for wrong in "--engine none" "--seconds none" "none"; do
  fuzz/run $wrong > /dev/null 2>&1
  [ $? = 2 ] || { echo "fuzz/run $wrong is not refused"; exit 1; }
done
