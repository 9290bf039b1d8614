# damage.bash - for bats files that damage a store: where what lies in the store s, and copies of it to spoil. Loaded behind program.bash.
#
#   fresh                   a copy of the store s, as d, and nothing named r
#   poke STORE AT BYTES     these bytes, written as for printf, from this offset of its data file on
#   offsets TEXT            where the text is in the data file of s
#   is_told AT REGEX        `check --explain` of that byte of s has a line that matches
#   place BYTE REGEX        the offset of that byte of the first LMDB page of which --explain says this of it
#   spoil STORE             every copy of alpha's page 1 of main, version 2: one of its blocks does not match any more
# shellcheck shell=bash

fresh() {
  rm -rf d r
  cp -r s d
}
# shellcheck disable=SC2059
poke() { printf "$3" | dd of="$1/data.mdb" bs=1 seek="$2" conv=notrunc status=none; }
offsets() { grep -obUa -- "$1" s/data.mdb | cut -d: -f1; }
is_told() { "$program" check --explain "$1" s | grep -qE -- "$2"; }
place() {
  local at
  for at in $(seq $((8192 + $1)) 4096 "$(stat -c %s s/data.mdb)"); do
    ! is_told "$at" "^offset.*$2" || { echo "$at"; return; }
  done
  echo "no page has: $2" >&2
  return 1
}
spoil() {
  local at
  for at in $(grep -obUa ZZZZZZZZZZZZZZZZ "$1/data.mdb" | cut -d: -f1); do poke "$1" "$at" '\001'; done
}
