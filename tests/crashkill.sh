#!/bin/bash
# A thousand kills by SIGKILL, at random times, at system calls, in the fault handler and in the flusher, over stores that a script
# decides byte for byte: nothing acknowledged is lost, nothing is there in part. tests/host_kill.sh shows the promise with the
# installed library and the public header alone; this one searches.
# ctest: TIMEOUT 900
set -u
build=${BUILD:-$(dirname "$0")/../build}
[ -x "$build/fuzz/crashkill" ] || { echo "build/fuzz/crashkill is not built"; exit 77; }
"$build/fuzz/crashkill" ${PAGESTORE_SEED:+--seed "$PAGESTORE_SEED"} > "$TMPDIR/said" 2>&1
status=$?
cat "$TMPDIR/said"
kills=$(tail -n 1 "$TMPDIR/said" | sed -nE 's/.*kills=([0-9]+).*/\1/p')
[ $status = 0 ] && [ -n "${PAGESTORE_FAULT_ROWS:-}" ] && echo "KILL ${kills:-0} crashkill" >> "$PAGESTORE_FAULT_ROWS"
exit $status
