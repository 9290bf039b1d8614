#!/bin/bash
# The crash simulator on three seeds, with at least 100,000 crash states; and that nothing which can change a file goes by it.
# ctest: TIMEOUT 1500
set -u
cd "$SOURCE" || exit 1
program=$BUILD/fuzz/crashsim
bad=0
fail() { echo "$1"; bad=1; }

# ---- what is wrapped: every function of libc that the library or LMDB calls and that can change a file -------------------------
changers='^(open|creat|close|p?writev?|p?write(v)?(2|64|v64)?|f?truncate|(posix_)?fallocate|fsync|fdatasync|sync|msync|mmap|rename(at)?2?|unlink(at)?|rmdir|mkdir(at)?|link(at)?|symlink(at)?|mknod(at)?|mkfifo|mkstemp|mkdtemp|sendfile|splice|vmsplice|tee|copy_file_range|io_submit|aio_write|fopen|freopen|fwrite|fputs|fputc|remove|tmpfile|dprintf)(at)?(64)?$'
wrapped=" $(sed -n '/^set(crashsim_wraps/,/)/p' tools/packaging/crashsim.cmake | tr -d '()') "
wrapped=$(echo $wrapped)
called=$(nm -u "$BUILD/core/libpagestore_core.a" "$(${CC:-cc} -print-file-name=liblmdb.a)" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u)
[ "$(echo "$called" | wc -l)" -gt 100 ] || fail "only few functions were found that the library calls: the search is wrong"
seen=0
for name in $(echo "$called" | grep -E "$changers"); do
  seen=$((seen + 1))
  case " $wrapped " in *" $name "*) ;; *) fail "$name is called, but not wrapped: tools/packaging/crashsim.cmake, fuzz/crashsim/wraps.c" ;; esac
done
[ "$seen" -ge 10 ] || fail "only $seen calls that change files were found: the search is wrong"
[ $bad = 0 ] || exit 1

# ---- three seeds -----------------------------------------------------------------------------------------------------------------
states=0
for seed in 1 2 3; do
  "$program" --seed $seed --commits 75 --states 28000 > "$TMPDIR/out" 2>&1
  status=$?
  cat "$TMPDIR/out"
  last=$(tail -n 1 "$TMPDIR/out")
  [ $status = 0 ] && [[ $last == *" violations=0"* ]] || fail "seed $seed: status $status"
  [[ $last =~ \ states=([0-9]+)\ recovery_states=([0-9]+) ]] && states=$((states + BASH_REMATCH[1] + BASH_REMATCH[2]))
  grep -E '^seen: ' "$TMPDIR/out" >> "$TMPDIR/seen"
done
[ $states -ge 100000 ] || fail "only $states states"

# ---- what must have happened in them: each at least once in one of the seeds -----------------------------------------------------
sed 's/^seen: //; s/, /\n/g' "$TMPDIR/seen" | awk '{ n = $NF; $NF = ""; sum[$0] += n } END { for (k in sum) if (sum[k] == 0) { print k "never happened"; bad = 1 } exit bad }' || bad=1
echo "$states crash states"
[ $bad = 0 ] && [ -n "${PAGESTORE_FAULT_ROWS:-}" ] && echo "TORN $states crashsim" >> "$PAGESTORE_FAULT_ROWS"
exit $bad
