# complete.zsh - types lines into an interactive shell on a terminal of its own, and prints what completion makes of each.
#
#   zsh -f complete.zsh bash|zsh FOLDER < LINES
#
# Behind each line comes a TAB, with which all that is offered is inserted, then Ctrl-O, with which the shell writes the line to
# FOLDER/answer: FOLDER has all files of the two. `pagestore` is in PATH. Ends with 1 if the shell does not answer.
zmodload zsh/zpty zsh/zselect || exit 1
export FOLDER=$2

# zsh: a completer ahead of the usual one says that all matches are to be inserted.
pagestore completion zsh > $FOLDER/_pagestore
cat > $FOLDER/.zshrc <<'RC'
fpath=($FOLDER $fpath)
autoload -Uz compinit
compinit -u -D
_offer_all() { comppostfuncs+=(_insert_all); return 1 }
_insert_all() { compstate[insert]=all compstate[list]= }
zstyle ':completion:*' completer _offer_all _complete
answer() { print -r -- "$BUFFER" > $FOLDER/answer.new; mv $FOLDER/answer.new $FOLDER/answer; BUFFER= }
zle -N answer
bindkey '^I' complete-word '^O' answer
setopt no_beep
: > $FOLDER/ready
RC

# bash: insert-completions is a command of its line editor.
cat > $FOLDER/.bashrc <<'RC'
HISTFILE=
source <(pagestore completion bash)
answer() {
  printf '%s\n' "$READLINE_LINE" > "$FOLDER/answer.new"
  mv "$FOLDER/answer.new" "$FOLDER/answer"
  READLINE_LINE= READLINE_POINT=0
}
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind '"\t": insert-completions'
bind -x '"\C-o": answer'
: > "$FOLDER/ready"
RC

# await FILE: half a minute, reading meanwhile what the shell shows, lest it waits for that
await() {
  local tries shown
  for (( tries = 0; tries < 1500; tries++ )); do
    zpty -r -t shell shown 2> /dev/null
    [[ -e $1 ]] && return
    zselect -t 2
  done
  print -u 2 -r -- "the shell gives no answer: $typed"
  zpty -d shell
  exit 1
}

rm -f $FOLDER/ready $FOLDER/answer
typed='its start'
export TERM=vt100 INPUTRC=/dev/null ZDOTDIR=$FOLDER
case $1 in
  zsh) zpty -b shell zsh -d -i ;;
  bash) zpty -b shell bash --noprofile --rcfile $FOLDER/.bashrc -i ;;
esac
await $FOLDER/ready
while IFS= read -r typed; do
  rm -f $FOLDER/answer
  zpty -w -n shell "$typed"$'\t\017'
  await $FOLDER/answer
  print -r -- "$(< $FOLDER/answer)"
done
zpty -d shell
