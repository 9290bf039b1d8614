#!/usr/bin/env bats
# What a person sees: colour, widths, progress, the screen of top, and that no name or value steers the terminal. By script(1), and by
# tmux where a screen is looked at as it stands.
# ctest: TIMEOUT 600
load support/program
load support/damage

teardown() {
  kill_writer
  tmux -L "$socket" kill-server 2> /dev/null || true
}
socket=pagestore-$$

# What steers a terminal is in ./out as bytes. Allowed: colours and their end, carriage returns, and of a bar the clearing of its line.
steers() { sed 's/\x1b\[[01]\?m//g; s/\x1b\[K//g; s/[\r\n]//g' out | grep -qP '[\x00-\x08\x0b-\x1f\x7f]'; }

# ---- colour and units ------------------------------------------------------------------------------------------------

@test "headings in bold and units beside numbers, on a terminal alone" {
  store
  typed "$program ls s"; out '131072 \(128 KiB\)' $'\e\\[1mNAME'
  want 0 ls s; no_out $'\e' KiB
}

@test "NO_COLOR and TERM=dumb: no colour, the same words" {
  store
  export NO_COLOR=1; typed "$program ls s"; out '\(128 KiB\)'; no_out $'\e'
  export NO_COLOR=; typed "$program ls s"; out $'\e'
  unset NO_COLOR
  TERM_WANTED=dumb typed "$program ls s"; out '\(128 KiB\)'; no_out $'\e'
}

@test "every listing on a terminal has the lines of the one in a pipe" {
  store
  for command in 'ls s' 'stat s' 'stat s alpha' 'log s alpha' 'show s alpha' 'diff s alpha' 'snapshot list s alpha' 'check s' 'debug s rows' 'help' 'help top'; do
    got=0
    # shellcheck disable=SC2086
    "$program" $command > piped || got=$?
    [ $got -le 1 ] || die "failed: $command"
    typed "$program $command" || [ $? = 1 ] || die "failed: $command"
    [ "$(wc -l < out)" = "$(wc -l < piped)" ] || die "other lines on a terminal"
    ! steers || die "something steers the terminal"
  done
}

@test "doctor keeps to the width of the terminal, and breaks nothing in a pipe" {
  store
  typed "stty cols 90; $program doctor s" || [ $? = 1 ] || die "failed"
  tr -d '\r' < out | sed 's/\x1b\[[01]\?m//g' > plain
  [ "$(awk '{ if (length($0) > most) most = length($0) } END { print most }' plain)" -le 90 ] || die "wider than the terminal"
  got=0; "$program" doctor s > out || got=$?; [ $got -le 1 ] || die "failed"
  [ "$(awk '{ if (length($0) > most) most = length($0) } END { print most }' out)" -gt 90 ] || die "broken in a pipe"
}

# ---- what names and values contain --------------------------------------------------------------------------------------

@test "paths and words with control characters are escaped" {
  store
  for word in $'\e[2J' $'a\rb' $'a\nb' $'\x07' $'\xc2\x9b31m' $'\xff\xfe'; do
    for command in "ls" "stat s" "dump s alpha" "log s"; do
      # shellcheck disable=SC2086
      got=0; "$program" $command "$word" > out 2>&1 || got=$?
      [ $got = 3 ] || [ $got = 2 ] || die "ended with $got"
      ! steers || die "$command: $(cat -v out)"
      ! grep -q $'\xc2\x9b' out || die "$command: a control character of two bytes"
    done
  done
}

@test "metadata: values with control characters, in tables, JSON and alone" {
  store
  typed "$program show s alpha large"; ! steers || die "a value steers the terminal"
  out '\\x00\\x00'
  typed "$program show s alpha module.globals"; out '^12345678'
  typed "$program show s alpha"; ! steers || die "a value steers the terminal"
  want 0 show s alpha large; [ "$(wc -c < out)" = 5000 ] || die "not the exact bytes in a pipe"
}

@test "a memory's bytes: hex on a terminal, raw ones are refused there" {
  store
  typed "$program dump s alpha main"; out ' first'; ! steers || die "bytes steer the terminal"
  ! typed "$program dump --raw s alpha main" || die "raw bytes on a terminal"
  out 'not for a terminal'
  ! typed "$program export s alpha main -" || die "an image on a terminal"
  out 'not for a terminal'
}

# ---- progress ------------------------------------------------------------------------------------------------------------

# A memory that takes a while to move.
long() {
  [ -d "$BATS_FILE_TMPDIR/long" ] || {
    head -c 300M /dev/zero | tr '\0' x > "$BATS_FILE_TMPDIR/long.image"
    "$program" import -c --max-pages 10000 "$BATS_FILE_TMPDIR/long" a m "$BATS_FILE_TMPDIR/long.image" > out
  }
  long=$BATS_FILE_TMPDIR/long
}

@test "progress: a bar with rate and time left, cleared at the end" {
  long
  typed "$program export $long a m image"
  grep -q $'\rexport \[#*\.*\] [0-9.]* [KMG]iB, [0-9.]* [KMG]iB/s' out || die "no bar"
  grep -q ' s left' out || die "no time left"
  [ "$(tr '\r' '\n' < out | tail -n 1 | sed 's/\x1b\[K//g')" = "" ] || die "the bar stays"
  ! steers || die "more than a bar"
  typed "$program backup $long copy"; tr '\r' '\n' < out | tail -n 1 > last; grep -q 'copy is there' out || die "no word at the end"
}

@test "progress: none on a dumb terminal, with never, and in a pipe" {
  long
  TERM_WANTED=dumb typed "$program export $long a m dumb"; [ ! -s out ] || die "a bar on a dumb terminal"
  typed "$program export --progress=never $long a m never"; [ ! -s out ] || die "a bar nobody wants"
  want 0 export $long a m piped; [ ! -s out ] || die "a bar in a pipe"
}

@test "progress: a complaint clears the bar first" {
  long
  cp -r "$long" damaged
  poke damaged $(( $(stat -c %s damaged/data.mdb) / 2 )) yyyyyyyy
  typed "$program export damaged a m image" && die "a damaged page was exported"
  ! tr '\r' '\n' < out | grep -q 'left.*pagestore:' || die "a complaint behind a bar"
  out 'pagestore: .*damaged'
  [ ! -e image ] || die "an image with a hole"
}

# ---- top -----------------------------------------------------------------------------------------------------------------

screen() { tmux -L "$socket" capture-pane -p > out; }
# see REGEX...: the screen shows them within ten seconds
see() {
  local r tries
  for r; do
    for tries in $(seq 100); do
      screen
      ! grep -qE -- "$r" out || continue 2
      sleep 0.1
    done
    die "the screen does not show: $r"
  done
}
start() {
  needs tmux
  shown="$*"
  tmux -L "$socket" -f /dev/null new-session -d -x 100 -y 20 "$* ; got=\$?; stty -a | tr ';' '\n' > $PWD/stty; echo ended with \$got; sleep 100" 3>&-
}

@test "top: a screen that follows, fits, and ends with q" {
  store
  busy s
  start "$program top -i 1 s"
  see '^s  20' 'versions +[1-9][0-9.]*/s in [1-9]' 'flush +[0-9.]+ ms' '^ +VERSION +VERSIONS/S +MS EACH' ' [1-9][0-9.]* .* alpha$' ' 0\.0 +- .* béta$'
  if grep -q 'process' out; then see "program_host, process $writer"; fi
  [ "$(head -n 1 out | wc -c)" -le 101 ] || die "wider than the screen"
  tmux -L "$socket" resize-window -x 50 -y 9
  see '^s  20.*'
  [ "$(awk '{ if (length($0) > most) most = length($0) } END { print most }' out)" -le 50 ] || die "wider than the small screen"
  tmux -L "$socket" send-keys x; sleep 0.3; screen; no_out 'ended with'
  tmux -L "$socket" send-keys q
  see 'ended with 0'
  no_out VERSIONS
  grep -qE '(^| )icanon' stty && grep -qE '(^| )echo( |$)' stty || die "the terminal is not as it was: $(cat stty)"
}

@test "top: Ctrl-C and SIGTERM give the terminal back" {
  store
  start "$program top s"
  see '^s  20'
  tmux -L "$socket" send-keys C-c
  see 'ended with 0'
  tmux -L "$socket" kill-server
  socket+=-again # the old server may still be going
  start "exec $program top s"
  see '^s  20'
  pid=$(tmux -L "$socket" list-panes -F '#{pane_pid}')
  kill "$pid"
  for _ in $(seq 50); do kill -0 "$pid" 2> /dev/null || return 0; sleep 0.1; done
  die "it goes on after SIGTERM"
}

@test "top: no colour with NO_COLOR, lines on a dumb terminal" {
  store
  typed "$program top -i 1 -c 1 s"; out $'\e\\[1m'
  export NO_COLOR=1
  typed "$program top -i 1 -c 1 s"; ! grep -qP '\x1b\[[0-9;]+m' out || die "a colour"
  TERM_WANTED=dumb typed "$program top -i 1 -c 1 s"; out '^TIME +VERSIONS/S'; ! grep -q $'\e' out || die "something steers a dumb terminal"
}
