#!/bin/bash
# pagestore bench track, boundary, commit, restore, views, endurance, many and scale: each runs in small, ends with its figures, all of them numbers, as text and
# as JSON; it leaves nothing in its scratch folder, also when it is interrupted; wrong use is told. Times are not judged.
# ctest: TIMEOUT 600
set -eu
build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
[ -x "$build/tools/bench" ] && [ -x "$build/tools/pagestore" ] || { echo "bench is not built"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir "$out/scratch"
export TMPDIR=$out/scratch
bench() { "$build/tools/pagestore" bench "$@"; }
fail() { echo "$*"; exit 1; }
nothing_left() { [ -z "$(ls -A "$out/scratch")" ] || fail "$1 leaves $(ls -A "$out/scratch")"; }

declare -A figures=(
  [track]="ic_over_auto"
  [boundary]="pause_us_16_64MiB floor_us_16 growth_64MiB_to_8GiB ic_over_ours"
  [commit]="pipelined_over_lmdb_uniform pipelined_over_lmdb_skewed marked_over_lmdb_uniform marked_over_lmdb_skewed \
            groups64_over_lmdb sync_latency_over_lmdb written_per_dirty_uniform written_per_dirty_skewed sync_p99_ms_at_500"
  [restore]="open_ms_4GiB open_ms_32GiB seq_over_eager random_us_per_page"
  [views]="view_open_ms_4GiB snapshot_over_empty_commit restore_over_empty_commit delete_over_empty_commit fork_over_map \
           open_close_over_map"
  [endurance]="file_over_live file_over_live_compact max_commit_ms max_disk_ms"
  [many]="open_us_per_instance idle_kib_per_instance"
  [scale]="growth_by_size growth_by_instances"
)
list=$(bench)
for name in "${!figures[@]}"; do
  grep -qx "$name" <<< "$list" || fail "the list lacks $name"
  bench "$name" --quick --peers > "$out/text" 2> "$out/errors" || fail "$name: $(cat "$out/errors")"
  [ ! -s "$out/errors" ] || fail "$name complains: $(cat "$out/errors")"
  line=$(tail -n 1 "$out/text")
  for figure in ${figures[$name]}; do
    # Where the kernel cannot note writes by itself there is no floor, and a note says so.
    [ "$figure" = floor_us_16 ] && grep -q '^note: .*no floor' "$out/text" && continue
    grep -qE "^figure:.* $figure=[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?( |$)" <<< "$line" || fail "$name: no $figure in: $line"
  done
  for part in processor kernel memory "file system" libraries; do
    grep -qE "^$part +[^ ]" "$out/text" || fail "$name: its head lacks $part"
  done
  nothing_left "$name"
done

bench views --quick --json --repetitions 3 > "$out/json"
python3 - "$out/json" ${figures[views]} <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
assert d['name'] == 'views' and d['quick'] is True and 'processor' in d['machine'], d.keys()
assert set(d['figures']) == set(sys.argv[2:]), d['figures']
assert len(d['rows']) >= 15
for r in d['rows']:
    assert r['median'] > 0 and r['spread'] >= 0 and r['samples'] >= 2, r
assert sum(r['samples'] == 3 for r in d['rows']) >= 10
assert any('ratio' in r and r['ratio'] > 0 for r in d['rows'])
P
if command -v gnuplot > /dev/null; then
  for name in restore scale; do # bars, and curves
    bench $name --quick --plot "$out/$name.png" > /dev/null
    head -c 8 "$out/$name.png" | grep -q PNG || fail "no picture of $name"
  done
  bench commit --quick --plot "$out/commit.svg" > /dev/null
  grep -q 'ours, pipelined, uniform<' "$out/commit.svg" || fail "no drawing of commit"
fi
nothing_left "--json or --plot"

# The largest needs time enough to be interrupted; the folder must be there before, and gone after.
"$build/tools/bench" commit --quick --repetitions 1000 > /dev/null 2>&1 &
victim=$!
for _ in $(seq 600); do [ -z "$(ls -A "$out/scratch")" ] || break; sleep 0.1; done
[ -n "$(ls -A "$out/scratch")" ] || fail "no scratch folder after a minute"
kill -TERM $victim
! wait $victim || fail "interrupted, and calls itself well"
nothing_left "what was interrupted"

bench endurance --quick --commits 300 > "$out/text"
grep -q '^note: 300 commits' "$out/text" || fail "--commits is not heeded"
nothing_left "--commits"

for wrong in "endurance --commits 0" "track --repetitions 0" "track --repetitions x" "views --nonsense" "nothing" "commit left over" "track --store $out/missing"; do
  if bench $wrong > /dev/null 2> "$out/errors"; then fail "$wrong is accepted"; fi
  [ -s "$out/errors" ] || fail "$wrong is refused without a word"
done
