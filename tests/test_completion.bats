#!/usr/bin/env bats
# What `pagestore completion` makes bash and zsh offer: by real shells on a terminal of their own, which are typed at.
# ctest: TIMEOUT 300
load support/program

setup() {
  begin
  mkdir here shell
  cd here
}

# offers SHELL: each line of stdin is "what is typed|what is there behind all that is offered", without the program's name
offers() {
  local typed want got
  needs zsh
  zsh -fc 'zmodload zsh/zpty zsh/zselect' 2> /dev/null || skip "zsh has no zpty"
  cat > ../lines
  sed 's/|.*//; s/^/pagestore /' ../lines > ../typed
  PATH=$build/tools:$PATH HOME=$PWD timeout -k 5 100 zsh -f "$source/tests/support/complete.zsh" "$1" "$PWD/../shell" \
    < ../typed > ../answers 2> ../err 3>&- || die "$1: $(cat ../err)"
  [ "$(wc -l < ../answers)" = "$(wc -l < ../lines)" ] || die "$1: not every line is answered"
  while IFS='|' read -r typed want && IFS= read -r got <&4; do
    [ "$(sed 's/ *$//' <<< "$got")" = "pagestore $want" ] || die "$1: '$typed' gives '$got'"
  done < ../lines 4< ../answers
}

# ---- scripts -------------------------------------------------------------------------------------------------------------

@test "each is a script of its shell, and has every command" {
  want 0 completion bash; bash -n out || die "bash cannot read it"
  for command in $("$program" help --manual); do out "^  $command\) options="; done
  want 0 completion zsh; ! command -v zsh > /dev/null || zsh -n out || die "zsh cannot read it"
  for command in $("$program" help --manual); do out "^ +$command\) _arguments"; done
  want 2 completion fish; err 'neither bash nor zsh'
}

# ---- what both offer -----------------------------------------------------------------------------------------------------

# words SHELL: commands, words, instances, snapshots, files
words() {
  store
  touch image
  offers "$1" <<L
|$("$program" help --manual | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')
sna|snapshot
to|top
frob|frob
help snap|help snapshot
stat s |stat s alpha béta
log s b|log s béta
dump s |dump s alpha béta
dump --page 1 s a|dump --page 1 s alpha
dump --page=1 s a|dump --page=1 s alpha
dump -p1 s a|dump -p1 s alpha
restore s alpha |restore s alpha one two
snapshot |snapshot create drop list
snapshot drop s |snapshot drop s alpha béta
snapshot drop s alpha t|snapshot drop s alpha two
diff s alpha o|diff s alpha one
diff s alpha one t|diff s alpha one two
debug s m|debug s metas
wasm |wasm inspect native
new-example |new-example wasm2c wasmtime
completion |completion bash zsh
import s alpha main i|import s alpha main image
plot --output i|plot --output image
bench none i|bench none image
stat nowhere |stat nowhere
ls nowhere i|ls nowhere i
version |version
L
}

@test "bash: commands, words, instances, snapshots, files" { words bash; }
@test "zsh: commands, words, instances, snapshots, files" { words zsh; }

# names SHELL: they are quoted, and nothing of a name is run
names() {
  store
  for name in '$(touch pwned)' '`touch pwned`' 'two words' a:bc=d; do want 0 fork s alpha "$name"; done
  want 0 snapshot create s 'two words' 'my own'
  rm out err
  mkdir 'my stores'
  cp -r s 'my stores/x'
  offers "$1" <<'L'
stat s |stat s \$\(touch\ pwned\) \`touch\ pwned\` a:bc=d alpha béta two\ words
stat s two\ w|stat s two\ words
restore s two\ words |restore s two\ words my\ own
restore s "two words" |restore s "two words" my\ own
stat my\ stores/x b|stat my\ stores/x béta
stat "my stores/x" b|stat "my stores/x" béta
stat ~/s b|stat ~/s béta
stat s a:|stat s a:bc=d
stat s a:bc=|stat s a:bc=d
stat s a:b|stat s a:bc=d
L
  [ ! -e pwned ] || die "$1 has run what is in a name"
}

@test "bash: names with spaces and with what a shell would run" { names bash; }
@test "zsh: names with spaces and with what a shell would run" { names zsh; }

# ---- what each offers in its own way -------------------------------------------------------------------------------------

@test "bash: options, stores, nothing behind the last operand, no name that would be run in quotes" {
  store
  want 0 fork s alpha '$(touch pwned)'
  rm out err
  offers bash <<'L'
top --int|top --interval
ls |ls s
ls s |ls s
doctor s |doctor s
stat s "$|stat s "$
stat s $|stat s \$\(touch\ pwned\)
L
}

@test "zsh: options and their words, stores" {
  store
  offers zsh <<'L'
top --int|top --interval=
ls |ls s/
wasm native --stable-bits |wasm native --stable-bits 32 64
L
}
