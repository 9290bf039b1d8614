#!/bin/bash
# A library that was built where sys/sdt.h is has the probes of base/probe.h.
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$source/build}
command -v readelf > /dev/null || { echo "readelf is missing: apt-get install binutils"; exit 77; }
echo '#include <sys/sdt.h>' | ${CC:-cc} -E - > /dev/null 2>&1 || { echo "sys/sdt.h is missing: apt-get install systemtap-sdt-dev"; exit 77; }

files=$(find "$build/CMakeFiles/pagestore_objects.dir" -name '*.o')
[ -n "$files" ] || { echo "no objects of the library in $build"; exit 1; }
# shellcheck disable=SC2086
notes=$(readelf -n $files 2> /dev/null)
wanted=$(sed -n 's/^ \*   \([a-z_]*\)  .*/\1/p' "$source/pagestore/base/probe.h" | sort)
found=$(sed -n '/Provider: pagestore/{n;s/.*Name: //p}' <<< "$notes" | sort -u)
[ -n "$wanted" ] && [ "$wanted" = "$found" ] || { printf 'in the header:\n%s\nin the library:\n%s\n' "$wanted" "$found"; exit 1; }
echo "$(wc -l <<< "$found") probes"
