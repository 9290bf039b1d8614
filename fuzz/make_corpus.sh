#!/bin/sh
# make_corpus.sh [BUILD] - writes the small seeds of the fuzz targets into fuzz/corpus, where files of their own names are replaced and
# all others (inputs that crashed once) stay. The walker's seed is too large for that and is made at each run.
set -eu
build=${1:-build}
corpus=$(dirname "$0")/corpus
for target in canary records receive module stable; do
  mkdir -p "$corpus/$target"
  "$build/fuzz/fuzz_$target" --write "$corpus/$target"
done
du -sb "$corpus"
