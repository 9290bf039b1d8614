#!/bin/bash
# Canisters of other people's compilers: modules of Motoko (one with stable variables, one on a region; 64-bit heaps) and of Azle through
# `pagestore wasm inspect` and `native`, and what comes out through two versions of wabt. The compilers come from npm.
# ctest: LABELS long TIMEOUT 900
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
program=${BUILD:-$source/build}/tools/pagestore
[ -x "$program" ] || { echo "no $program: libsmartcols-dev or libjansson-dev was missing when it was built"; exit 77; }
command -v wasm-validate > /dev/null || { echo "no wabt: apt-get install wabt"; exit 77; }
. "$source/tests/support/npm.bash"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
npm_packages wabt@1.0.39 motoko@4.10 azle@0.33

die() { echo "$*"; exit 1; }
count=0

# ---- modules -----------------------------------------------------------------------------------------------------------------------

cat > motoko-variables.mo <<'MO'
persistent actor {
  var names : [Text] = ["first"];
  public func add(name : Text) : async Nat { names := [name]; names.size() };
  public query func first() : async Text { names[0] };
}
MO
cat > motoko-region.mo <<'MO'
import Prim "mo:⛔";
persistent actor {
  let region = Prim.regionNew();
  public func put(x : Nat64) : async Nat64 { ignore Prim.regionGrow(region, 1); Prim.regionStoreNat64(region, 0, x); Prim.regionSize(region) };
  public query func get() : async Nat64 { Prim.regionLoadNat64(region, 0) };
}
MO
motoko_compile motoko-variables.mo motoko-region.mo
for file in node_modules/azle/dist/canister_templates/*.wasm; do cp "$file" "azle-$(basename "$file")" || die "no Azle module"; done

# ---- through the rewriter ------------------------------------------------------------------------------------------------------------

new_wabt() { node node_modules/wabt/bin/wasm-validate --enable-multi-memory --enable-memory64 "$1" > log 2>&1 || die "npm's wabt does not take $1: $(head -n 3 log)"; }
old_wabt() { wasm-validate --enable-multi-memory "$1" > log 2>&1 || die "wabt does not take $1: $(head -n 3 log)"; }
for module in motoko-variables motoko-region azle-stable azle-experimental; do
  "$program" wasm inspect --json $module.wasm > $module.json || die "inspect: $module"
  grep -q '"native": true' $module.json || die "$module cannot be made native"
  grep -q '"name": "stable64_write"' $module.json || die "$module does not use the stable-memory calls"
  heap=$(grep -m 1 -oE '"index_bits": [0-9]+' $module.json | grep -oE '[0-9]+$')
  case $module in motoko*) [ "$heap" = 64 ] || die "$module: a heap of $heap bits" ;; esac
  for bits in 32 64; do
    for who in host shim module; do
      shim=""
      [ $who = module ] || shim="--shim shim.wasm"
      "$program" wasm native $module.wasm -o native.wasm $shim --memories $who --stable-bits $bits || die "native: $module, $who, $bits"
      for file in native.wasm ${shim:+shim.wasm}; do
        new_wabt $file
        [ "$heap$bits" != 3232 ] || old_wabt $file
        count=$((count + 1))
      done
    done
  done
  "$program" wasm native $module.wasm -o native.wasm || exit 1
  "$program" wasm inspect --json native.wasm > native.json
  [ "$(grep -c '"active": true' native.json)" = 0 ] || die "$module: an active segment is left"
  mutable=$(grep -c '"mutable": true' $module.json) exported=$(grep -c '"exported": "pagestore_global_' native.json)
  named=$(grep -A 2 '"mutable": true' $module.json | grep -cE '"exported": "')
  [ $((exported + named)) = "$mutable" ] || die "$module: $mutable mutable globals, $exported exported anew, $named before"
done
echo "$count modules made of 4 and found valid"
