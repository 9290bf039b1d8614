# program.bash - for bats files that run the program: a folder for each test, and what they ask of a run. Loaded by `load`.
#
#   want CODE argument...   runs the program; its output is in ./out and ./err. 0: without a complaint; 2 and above: with one
#   out, err REGEX...       each must match a line of it
#   no_out REGEX...         none may
#   lines N                 so many lines are in out
#   store [NAME]            a copy of the store that `program_host make` makes, made once a file; NAME is s if not given
#   hold STORE              a writer of STORE that has committed once; tell it to commit again by `echo >&9`; let_go ends it
#   busy STORE              a writer that commits all the time; kill_writer ends it
#   needs TOOL...           skips the test where one of them is not installed
#   typed COMMAND...        runs it on a terminal of script(1): what is seen is in ./out, with all that steers the terminal
# shellcheck shell=bash disable=SC2034
source=${SOURCE:-$(cd "$(dirname "$BATS_TEST_FILENAME")/.." && pwd)}
build=${BUILD:-$source/build}
program=$build/tools/pagestore host=$build/tests/program_host
export LC_ALL=C.UTF-8
unset NO_COLOR
writer='' shown=''

# Every test begins in a folder of its own, which goes with bats' temporary ones. A file with a setup of its own calls this first.
begin() {
  [ -x "$program" ] && [ -x "$host" ] || skip "no $program: libsmartcols-dev or libjansson-dev was missing when it was built"
  cd "$BATS_TEST_TMPDIR" || exit 1
}
setup() { begin; }
teardown() { kill_writer; }

needs() {
  local tool
  for tool; do
    command -v "$tool" > /dev/null || skip "no $tool: apt-get install $(package_of "$tool")"
  done
}
# package_of TOOL: what brings it on Debian
package_of() {
  case $1 in
    wat2wasm | wasm-validate | wasm-objdump | wasm2c) echo wabt ;;
    wasm-ld) echo lld ;;
    script) echo bsdutils ;;
    *) echo "$1" ;;
  esac
}

die() {
  echo "$*"
  echo "--- pagestore $shown"
  head -n 30 out err 2> /dev/null
  exit 1
}

want() {
  local code=$1 got=0
  shift
  shown="$*"
  timeout 60 "$program" "$@" > out 2> err < /dev/null || got=$?
  [ "$got" = "$code" ] || die "ended with $got instead of $code"
  [ "$code" -lt 2 ] || [ -s err ] || die "failed without a word"
  [ "$code" != 0 ] || [ ! -s err ] || die "complained, and ended with 0"
}
out() { local r; for r; do grep -qE -- "$r" out || die "no line like: $r"; done; }
err() { local r; for r; do grep -qE -- "$r" err || die "no complaint like: $r"; done; }
no_out() { local r; for r; do ! grep -qE -- "$r" out || die "a line like: $r"; done; }
lines() { [ "$(wc -l < out)" = "$1" ] || die "not $1 lines"; }

store() {
  local made=$BATS_FILE_TMPDIR/made
  [ -d "$made" ] || "$host" make "$made" || die "no store to look into"
  cp -r "$made" "${1:-s}"
}

# Descriptor 3 is bats' own: who keeps it open keeps bats waiting.
hold() {
  rm -f in
  mkfifo in
  "$host" hold "$1" < in > said 2> held 3>&- & writer=$!
  exec 9> in
  said
}
# said [VERSION]: waits until the writer says that it has committed
said() {
  local _
  for _ in $(seq 400); do
    ! grep -q "^ready ${1:-}" said || return 0
    sleep 0.05
  done
  die "the writer did not get to version ${1:-}: $(cat held)"
}
let_go() {
  exec 9>&-
  wait "$writer" || die "the writer failed: $(cat held)"
  writer=
}
busy() {
  : > said
  yes 3>&- 2> /dev/null | "$host" hold "$1" > said 2> held 3>&- & writer=$!
  said
}
kill_writer() {
  if [ -n "$writer" ]; then
    kill "$writer" 2> /dev/null || true
    wait "$writer" 2> /dev/null || true
  fi
  writer=
}

# Nobody types, and nobody hangs up, unless $KEYS names a file of what is typed: script(1) types an end of file behind that, and then
# may wait for somebody to read it.
typed() {
  needs script
  shown="on a terminal: $*"
  [ -p no-keys ] || mkfifo no-keys
  TERM=${TERM_WANTED:-xterm} timeout -k 5 100 script -qec "$*" /dev/null > out 2> err <> "${KEYS:-no-keys}" 3>&-
}
image() { "$program" export "$@" - 2> /dev/null | sha256sum; }
raw() { "$program" dump --raw "$@" 2> /dev/null | sha256sum; }
sum() { sha256sum < "${1:-s}/data.mdb"; }
