#!/bin/bash
# Power cuts below ext4: no violation on a disk that keeps what it flushed, and violations on one that only says so. Root, FUSE, loop.
# ctest: LABELS long TIMEOUT 900
set -u
build=${BUILD:-$(dirname "$0")/../build}
[ -x "$build/fuzz/crashblock" ] || { echo "build/fuzz/crashblock is not built: libfuse3-dev is missing"; exit 77; }
seed=${PAGESTORE_SEED:-$RANDOM$RANDOM}
"$build/fuzz/crashblock" --seed "$seed" || exit
lying=$("$build/fuzz/crashblock" --seed "$seed" --ignore-flushes)
[ $? = 1 ] && printf '%s\n' "$lying" | tail -n 1 | grep -q 'violations=[1-9]' ||
  { printf '%s\n' "$lying"; echo "a disk that loses what it flushed was not found out"; exit 1; }
printf '%s\n' "$lying" | tail -n 1
