#!/bin/bash
# Canisters of other people's compilers, run durably on Wasmtime: tests/real_canisters, for two of Motoko (one with stable variables on its
# 64-bit heap, one on regions), two of Azle (TypeScript, StableBTreeMaps) and tests/canisters/ledger, each with the stable-memory calls of
# the host and of the shim. The compilers come from npm. CANISTERS="ledger map": only these.
# ctest: LABELS long TIMEOUT 1800
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
program=$build/tools/pagestore
[ -x "$program" ] || { echo "no $program: libsmartcols-dev or libjansson-dev was missing when it was built"; exit 77; }
[ -x "$build/tests/real_canisters" ] || { echo "Wasmtime is missing: tests/fetch_wasmtime"; exit 77; }
command -v clang > /dev/null && command -v wasm-ld > /dev/null || { echo "no clang or no lld: apt-get install clang lld"; exit 77; }
. "$source/tests/support/npm.bash"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
die() { echo "$*"; exit 1; }
npm_packages motoko@4.10 azle@0.33

# ---- modules: version 1, what it is upgraded to, and what Motoko refuses to upgrade it to -------------------------------------------

for name in variables region; do cp "$source/tests/canisters/motoko/$name.mo" ${name}_v1.mo || exit 1; done
sed -e 's|// v2: ||' variables_v1.mo > variables_v2.mo
sed -e 's|// v3: ||' -e '/not v3/d' variables_v1.mo > variables_v3.mo
sed -e 's|since += 1;|since += 1000;|' region_v1.mo > region_v2.mo
echo 'persistent actor { let region : Nat = 5; public query func get(at : Nat64) : async Nat64 { at } };' > region_v3.mo
for name in variables region; do
  cmp -s ${name}_v1.mo ${name}_v2.mo && die "both versions of $name are the same"
  cmp -s ${name}_v1.mo ${name}_v3.mo && die "version 3 of $name is version 1"
done
motoko_compile {variables,region}_v[123].mo
for name in map records; do
  cp "$source/tests/canisters/azle/$name.ts" ${name}_v1.ts || exit 1
  sed -e 's|1000000n|2000000n|' ${name}_v1.ts > ${name}_v2.ts
  sed -e 's|// v3: ||' ${name}_v1.ts > ${name}_v3.ts
  for version in 1 2 3; do
    echo '{"canisters": {"canister": {"type": "azle", "main": "'${name}_v$version'.ts"}}}' > dfx.json
    [ $version = 1 ] || ! cmp -s ${name}_v1.ts ${name}_v$version.ts || die "version $version of $name is version 1"
    CANISTER_CANDID_PATH=$PWD/canister.did npx --offline tsx node_modules/azle/src/build.ts build canister > azle.log 2>&1 ||
      die "Azle does not compile $name: $(tail -n 3 azle.log)"
    mv .azle/canister/canister.wasm ${name}_v$version.wasm || exit 1
  done
done
for version in 1 2; do
  clang --target=wasm32 -std=c11 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -mbulk-memory -mmutable-globals \
    -DLEDGER_VERSION=$version -Wl,--no-entry -Wl,-z,stack-size=65536 -o ledger_v$version.wasm \
    "$source/tests/canisters/ledger/ledger.c" || die "clang does not compile the ledger"
done
for module in *_v?.wasm; do
  "$program" wasm native "$module" -o "${module%.wasm}.own.wasm" --memories module || die "native: $module"
  "$program" wasm native "$module" -o "${module%.wasm}.shimmed.wasm" --shim "${module%.wasm}.shim.wasm" --memories shim || die "native: $module"
done

# ---- lives ---------------------------------------------------------------------------------------------------------------------------

bad=0
for canister in ${CANISTERS:-ledger variables region map records}; do
  for calls in calls shim; do
    "$build/tests/real_canisters" "$scratch" "$canister" $calls || { echo "$canister, $calls: failed"; bad=1; }
  done
done
exit $bad
