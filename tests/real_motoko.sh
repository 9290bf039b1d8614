#!/bin/bash
# More Motoko than tests/real_canisters.sh has, run in the same way: timers, actor classes, large arrays, stable memory by address; by a
# compiler of today (64-bit heap that upgrades keep) and by one of before (32-bit heap, active segments, a start function, stable variables
# that an upgrade writes out and reads). Every module through `inspect` and `native`, and valid to npm's wabt. CANISTERS="timers": only these.
# ctest: LABELS long TIMEOUT 1800
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
program=$build/tools/pagestore
[ -x "$program" ] || { echo "no $program: libsmartcols-dev or libjansson-dev was missing when it was built"; exit 77; }
[ -x "$build/tests/real_canisters" ] || { echo "Wasmtime is missing: tests/fetch_wasmtime"; exit 77; }
. "$source/tests/support/npm.bash"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
die() { echo "$*"; exit 1; }

# versions FILE NAME: NAME_v1.mo, what it is upgraded to, and one whose postupgrade traps.
versions() {
  local version
  cp "$1" "$2_v1.mo" || exit 1
  sed -E -e 's|^( *).*// v2: |\1|' "$2_v1.mo" > "$2_v2.mo"
  sed -e 's|// v3: ||' "$2_v1.mo" > "$2_v3.mo"
  for version in 2 3; do ! cmp -s "$2_v1.mo" "$2_v$version.mo" || die "version $version of $2 is version 1"; done
}

npm_packages motoko@4.10 wabt@1.0.39
for name in timers classes; do versions "$source/tests/canisters/motoko/$name.mo" $name; done
motoko_compile {timers,classes}_v[123].mo
mkdir classic
(
  cd classic || exit 1
  npm_packages motoko@3.6.16
  for name in timers classes raw; do
    sed -E -e 's|^( *).*// classic: |\1|' "$source/tests/canisters/motoko/$name.mo" > $name.mo
    versions $name.mo classic_$name
  done
  motoko_compile classic_*_v[123].mo && mv classic_*.wasm ..
) || exit $?

count=0
for module in *_v?.wasm; do
  name=${module%.wasm}
  "$program" wasm inspect --json $module | grep -q '"native": true' || die "$module cannot be made native"
  "$program" wasm native $module -o $name.own.wasm --memories module || die "native: $module"
  "$program" wasm native $module -o $name.shimmed.wasm --shim $name.shim.wasm --memories shim --copy bulk || die "native: $module"
  for file in $name.own.wasm $name.shimmed.wasm $name.shim.wasm; do
    node node_modules/wabt/bin/wasm-validate --enable-multi-memory --enable-memory64 $file > log 2>&1 || die "not valid: $file: $(head -n 3 log)"
    count=$((count + 1))
  done
done
echo "$count modules valid"

bad=0
for canister in ${CANISTERS:-timers classes classic_timers classic_classes classic_raw}; do
  for calls in calls shim; do
    "$build/tests/real_canisters" "$scratch" "$canister" $calls || { echo "$canister, $calls: failed"; bad=1; }
  done
done
exit $bad
