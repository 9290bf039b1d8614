# program.bash - for scripts that run the program: a folder of their own, and what they ask of a run. To be sourced.
#
#   want CODE argument...   runs the program; its output is in $scratch/out and $scratch/err
#   out, err REGEX...       each must match a line of it
#   no_out REGEX...         none may
#   lines N                 so many lines are in out
# shellcheck shell=bash disable=SC2034
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${BUILD:-$source/build}
program=$build/tools/pagestore host=$build/tests/program_host
[ -x "$program" ] && [ -x "$host" ] || { echo "no $program or $host: libsmartcols-dev or libjansson-dev was missing when they were built"; exit 77; }

scratch=$(mktemp -d)
writer=
finish() { [ -n "$writer" ] && kill "$writer" 2> /dev/null; rm -rf "$scratch"; }
trap finish EXIT
cd "$scratch" || exit 1
export LC_ALL=C.UTF-8
count=0 shown=

die() { echo "$*"; echo "--- pagestore $shown"; head -n 30 out err; exit 1; }

want() {
  local code=$1 got
  shift
  shown="$*"
  timeout 60 "$program" "$@" > out 2> err < /dev/null
  got=$?
  [ "$got" = "$code" ] || die "ended with $got instead of $code"
  [ "$code" -lt 2 ] || [ -s err ] || die "failed without a word"
  [ "$code" != 0 ] || [ ! -s err ] || die "complained, and ended with 0"
  count=$((count + 1))
}
out() { local r; for r; do grep -qE -- "$r" out || die "no line like: $r"; done; }
err() { local r; for r; do grep -qE -- "$r" err || die "no complaint like: $r"; done; }
no_out() { local r; for r; do ! grep -qE -- "$r" out || die "a line like: $r"; done; }
lines() { [ "$(wc -l < out)" = "$1" ] || die "not $1 lines"; }

