#!/bin/bash
# pagestore bench seed: every way on every engine gives the same result (the program fails where not), once; the JSON document and
# the figures are there, wrong use is told. Times are not judged.
# ctest: TIMEOUT 300
set -eu
build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
[ -x "$build/tools/bench-seed" ] && [ -x "$build/tools/pagestore" ] || { echo "bench-seed is not built: clang, lld or wabt is missing"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export TMPDIR=$out
bench() { "$build/tools/pagestore" bench "$@"; }

[ "$(bench | grep -c '^seed$')" = 1 ] || { echo "the list lacks it"; exit 1; }
bench seed --repetitions 1 --json > "$out/json"
python3 - "$out/json" <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
engines = {r['engine'] for r in d['rows']}
workloads = {r['workload'] for r in d['rows']}
ways = {'heap', 'direct', 'native', 'hostcall', 'tuned'}
assert len(d['rows']) == len(engines) * len(workloads) * 5 and len(workloads) >= 6, len(d['rows'])
assert 'wasm2c' in engines and {r['way'] for r in d['rows']} == ways
for r in d['rows']:
    assert r['guest_ns'] > 0 and r['messages'] * r['count'] > 0, r
    assert (r['boundary_ns'] > 100_000) or r['way'] == 'heap', r  # all others are kept
    assert r['way'] != 'heap' or r['over_heap'] == 1, r
assert set(d['figures']) == {'engine', 'native_over_hostcall', 'native_over_tuned', 'direct_over_heap'}
P
bench seed --repetitions 1 --only 'vector push' > "$out/text"
tail -n 1 "$out/text" | grep -qE '^figure: native_over_hostcall=[0-9.]+ direct_over_heap=[0-9.]+ \((wasmtime|wasm2c), ' || { tail -n 1 "$out/text"; exit 1; }
[ "$(grep -cE '(heap|direct|native|hostcall|tuned) +[0-9.]+ +[0-9]+%' "$out/text")" -ge 5 ] || { cat "$out/text"; exit 1; }
if command -v gnuplot > /dev/null; then
  bench seed --repetitions 1 --only 'vector push' --plot "$out/ratios.png" > /dev/null
  head -c 8 "$out/ratios.png" | grep -q PNG || { echo "no picture"; exit 1; }
fi
for wrong in "--repetitions 0" "--repetitions x" "--only nothing" "--nonsense"; do
  if bench seed $wrong > /dev/null 2> "$out/errors"; then echo "$wrong is accepted"; exit 1; fi
  [ -s "$out/errors" ] || { echo "$wrong is refused without a word"; exit 1; }
done
