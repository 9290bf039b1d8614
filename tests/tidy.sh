#!/bin/bash
# The rules of the house: layers, one file for each outside world, sizes, file heads, thread rules, every public function tested.
set -u
cd "${SOURCE:-$(dirname "$0")/..}" || exit 1
bad=0
breach() { echo "$1"; bad=1; }
# forbid WHERE PATTERN WHY: no source under WHERE has a line that matches.
forbid() {
  local found
  found=$(grep -rnE --include='*.[ch]' "$2" $1 2>/dev/null | head -n 5)
  [ -z "$found" ] || breach "$3:
$found"
}
# only_in PATTERN FILE...: of all library files, just these may match.
only_in() {
  local pattern=$1 file
  shift
  for file in $(grep -rlE --include='*.[ch]' "$pattern" pagestore); do
    case " $* " in *" $file "*) ;; *) breach "$file: '$pattern' belongs into $*" ;; esac
  done
}
sources=$(find pagestore include tools fuzz tests -name '*.[ch]' | sort)
library=$(find pagestore -name '*.[ch]' | sort)

# ---- layers: a file includes only layers below its own ------------------------------------------------------------------
forbid pagestore/base '#include "(vm|storage)/|#include "[a-z_]+\.h"' "base/ includes only base/"
forbid pagestore/vm '#include "storage/|#include "[a-z_]+\.h"' "vm/ includes only vm/ and base/"
forbid pagestore/storage '#include "vm/|#include "[a-z_]+\.h"' "storage/ includes only storage/ and base/"
forbid pagestore/wasm '#include "(vm|storage)/' "wasm/ stands on the facade and base/"
forbid "pagestore/*.[ch] pagestore/base pagestore/vm pagestore/storage" '#include "wasm/' "wasm/ is above all other library code"
forbid "pagestore tools" '#include[ ]*[<"](wasm-rt|wasmtime|wasm)\.h' "engines are no dependency of library and tools"
for file in $(find tools/pagestore tools/demo-host -name '*.[ch]'); do
  case $(basename "$file") in dump*|check*|recover*|debug*|copy*|compact*|plot*) continue ;; esac
  grep -nE '#include "(storage|vm|base)/' "$file" >/dev/null && breach "$file: looks below the public header"
done

# ---- one file for each outside world ----------------------------------------------------------------------------------
only_in '#include *<lmdb\.h>' pagestore/storage/lmdb_env.h
only_in '\b(mmap|munmap|mprotect|madvise|mremap)\(' pagestore/vm/os.c
only_in 'UFFDIO_[A-Z]+|__NR_userfaultfd|SYS_userfaultfd|\bioctl\(' pagestore/vm/os.c
only_in '\bsigaction\(' pagestore/base/faults.c
only_in '\bflock\(' pagestore/storage/directory.c
only_in 'pthread_atfork\(' pagestore/storage/directory.c
only_in '"PGST|PGZ1' pagestore/storage/format.c pagestore/storage/format_log.c pagestore/storage/format_catalog.c pagestore/storage/format.h \
  pagestore/transfer.c pagestore/transfer_stream.c pagestore/transfer_stream.h
forbid pagestore '\b(printf|puts|fprintf|perror|abort|exit)\(' "the library never prints, never aborts"

# ---- sizes, heads, lines ------------------------------------------------------------------------------------------------
for file in $sources; do
  lines=$(wc -l < "$file")
  [ "$lines" -le 600 ] || breach "$file: $lines lines, at most 600"
  head -c 2 "$file" | grep -q '/\*' || breach "$file: begins without its contract"
done
for file in $library $(find tools -name '*.c'); do
  long=$(awk 'length($0) > 120 { n++ } END { print n + 0 }' "$file")
  [ "$long" = 0 ] || breach "$file: $long lines over 120 columns"
  awk -v file="$file" '
    /^[a-zA-Z].*\) \{$/ { start = NR }
    /^}/ && start { if (NR - start > 70) { print file ":" start ": a function of " NR - start " lines, at most 70"; bad = 1 } start = 0 }
    END { exit bad }' "$file" || bad=1
done

# ---- the public header: a thread rule for each function, a test that names it --------------------------------------------
header=include/pagestore.h
functions=$(grep -oE '\bpagestore_[a-z_]+\(' <(grep -E '^PAGESTORE_API' "$header") | tr -d '(' | sort -u)
[ "$(echo "$functions" | wc -l)" -ge 50 ] || breach "only $(echo "$functions" | wc -l) public functions were found: the search is wrong"
for name in $functions; do
  grep -rqE --include='*.c' "\b$name\(" tests || breach "$name: no test names it"
done
python3 - "$header" <<'P' || bad=1
import re, sys
text = open(sys.argv[1]).read()
bad = 0
# A rule stands in the comment before the declaration (of a run of declarations) or behind it.
for m in re.finditer(r'^PAGESTORE_API[^;]*?\b(pagestore_\w+)\([^;]*;([^\n]*(?:\n[ \t]+[^\n]*\*/)?)', text, re.M):
    name, behind = m.group(1), m.group(2)
    before = text[:m.start()].rstrip()
    while re.search(r'^PAGESTORE_API[^;]*;[^\n]*$', before.split('\n')[-1]): before = '\n'.join(before.split('\n')[:-1]).rstrip()
    comment = before[before.rfind('/*'):] if before.endswith('*/') else ''
    if 'Thread:' not in behind + comment:
        print(f'{name}: no thread rule'); bad = 1
sys.exit(bad)
P

# ---- the project speaks of itself alone -----------------------------------------------------------------------------------
forbid "pagestore include tools fuzz tests README.md CMakeLists.txt" '/(home|root)/' "a path of some machine"

[ $bad = 0 ] && echo "tidy: $(echo "$sources" | wc -l) files, $(echo "$functions" | wc -l) public functions"
exit $bad
