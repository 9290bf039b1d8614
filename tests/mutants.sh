#!/bin/bash
# The crash simulator against libraries that were broken on purpose: with the durability mode weakened it fails loudly, each of the twelve
# mutants is caught, the library as it is passes with the same seed; and a mutant whose text is not in its file does not build.
# ctest: TIMEOUT 900
set -u
SOURCE=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} BUILD=${BUILD:-$SOURCE/build}
programs=$BUILD/fuzz
scratch=$(mktemp -d "${TMPDIR:-/tmp}/mutants.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAIL: $1"; exit 1; }
[ -x "$programs/crashsim" ] || { echo "no crash simulator in this build"; exit 77; }
seed=${PAGESTORE_SEED:-$$}
echo "PAGESTORE_SEED=$seed"

# ---- durability weakened: MDB_NOSYNC --------------------------------------------------------------------------------------------
"$programs/mutants/crashsim-nosync" --seed "$seed" --commits 15 --states 200 --keep "$scratch" > "$scratch/nosync" 2>&1
status=$?
[ $status = 1 ] || fail "the simulator with MDB_NOSYNC ended with status $status: $(tail -n 3 "$scratch/nosync")"
grep -qE '^VIOLATION .*: I2 at event [0-9]+: a meta page is written' "$scratch/nosync" || fail "the proof does not see MDB_NOSYNC: $(cat "$scratch/nosync")"
grep -qE '^VIOLATION .* state [0-9]+' "$scratch/nosync" || fail "no crash state sees MDB_NOSYNC: $(cat "$scratch/nosync")"
tail -n 1 "$scratch/nosync" | grep -qE '^crashsim: .* violations=[1-9]' || fail "its last line does not say so: $(tail -n 1 "$scratch/nosync")"
echo "nosync: $(grep -c '^VIOLATION ' "$scratch/nosync") violations printed; $(tail -n 1 "$scratch/nosync")"

# ---- the twelve -----------------------------------------------------------------------------------------------------------------
"$programs/crashsim" --seed "$seed" --commits 30 --states 400 --keep "$scratch" --mutants > "$scratch/mutants" 2>&1
status=$?
cat "$scratch/mutants"
[ $status = 0 ] || fail "status $status"
tail -n 1 "$scratch/mutants" | grep -q ' violations=0 mutants_caught=12/12$' || fail "not all twelve were caught, or the library as it is was"

# ---- a substitution that does not fit -------------------------------------------------------------------------------------------
source=$SOURCE/pagestore/group.c
refused() {
  printf '0. A test.\n== pagestore/group.c\n%s\n==\nx\n' "$2" > "$scratch/$1.txt"
  said=$(cmake -DMUTANT="$scratch/$1.txt" -DSOURCE="$source" -DOUT="$scratch/$1.c" -P "$SOURCE/tools/packaging/mutants.cmake" 2>&1) &&
    fail "a text that is in the file $1 is replaced"
  case $said in *"$1.txt"*"exactly once"*) ;; *) fail "the mutant is not named: $said" ;; esac
  [ ! -e "$scratch/$1.c" ] || fail "a file was written all the same"
}
refused never 'this text; [is] not "there"'
refused twice '#include '
