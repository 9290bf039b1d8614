#!/bin/bash
# A Rust canister on ic-stable-structures, run durably on Wasmtime as tests/real_canisters.sh does with its canisters: killed, upgraded,
# restored, every reply and every byte as without pagestore; and its module through `inspect` and `native`, valid to wabt.
#
# The compiler is any rustc that has the target wasm32-unknown-unknown (Debian: rustc and libstd-rust-dev-wasm32, which is old: hence a
# version of the crate without dependencies); the crate comes by cargo, pinned by its hash.
# PAGESTORE_STRUCTURES_CRATE=FILE: the crate, instead of asking cargo.
#
# ctest: LABELS long TIMEOUT 900
set -u
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)} build=${BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
program=$build/tools/pagestore
crate_name=ic-stable-structures-0.5.6 crate_sha256=95dce29e3ceb0e6da3e78b305d95365530f2efd2146ca18590c0ef3aa6038568
[ -x "$program" ] || { echo "no $program: libsmartcols-dev or libjansson-dev was missing when it was built"; exit 77; }
[ -x "$build/tests/real_canisters" ] || { echo "Wasmtime is missing: tests/fetch_wasmtime"; exit 77; }
command -v wasm-ld > /dev/null && command -v wasm-validate > /dev/null || { echo "no lld or no wabt: apt-get install lld wabt"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
die() { echo "$*"; exit 1; }

# ---- compiler and crate --------------------------------------------------------------------------------------------------------------

find_rustc() {
  local rustc
  for rustc in ${RUSTC:-} rustc /usr/bin/rustc; do
    [ -d "$("$rustc" --print sysroot 2> /dev/null)/lib/rustlib/wasm32-unknown-unknown/lib" ] && echo "$rustc" && return
  done
}
rustc=$(find_rustc)
if [ -z "$rustc" ]; then
  . "$source/tools/packaging/packages.sh"
  install_packages rustc libstd-rust-dev-wasm32 > log 2>&1
  rustc=$(find_rustc)
fi
[ -n "$rustc" ] || { echo "no rustc for wasm32-unknown-unknown: apt-get install rustc libstd-rust-dev-wasm32"; exit 77; }

# cargo info fetches the one crate that it tells about.
crate=${PAGESTORE_STRUCTURES_CRATE:-}
if [ -z "$crate" ]; then
  cargo=${CARGO:-cargo}
  command -v "$cargo" > /dev/null || { echo "there is no cargo to fetch $crate_name with"; exit 77; }
  export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
  timeout 120 "$cargo" info "${crate_name%-*}@${crate_name##*-}" > log 2>&1 < /dev/null
  crate=$(ls "$CARGO_HOME"/registry/cache/*/$crate_name.crate 2> /dev/null | head -n 1)
fi
[ -f "$crate" ] || { echo "cargo could not fetch $crate_name: $(tail -n 1 log)"; exit 77; }
echo "$crate_sha256  $crate" | sha256sum --check --status || die "$crate is not the pinned file: its sha256 is not $crate_sha256"
tar -xzf "$crate" || die "$crate cannot be unpacked"

# ---- modules: version 1, what it is upgraded to, and one whose post_upgrade traps -------------------------------------------------------

compile() {
  "$rustc" --edition 2021 --target wasm32-unknown-unknown -C opt-level=3 -C panic=abort "$@" > log 2>&1 ||
    die "rustc does not compile it: $(grep -m 1 -A 5 '^error' log)"
}
compile --crate-name ic_stable_structures --crate-type rlib "$crate_name/src/lib.rs"
cp "$source/tests/canisters/rust/structures.rs" v1.rs || exit 1
sed -e '/\/\/ v1$/d' -e 's|// v2: ||' v1.rs > v2.rs
sed -e 's|// v3: ||' v1.rs > v3.rs
for version in 1 2 3; do
  [ $version = 1 ] || ! cmp -s v1.rs v$version.rs || die "version $version is version 1"
  name=structures_v$version
  compile --crate-name structures --crate-type cdylib -C linker-flavor=wasm-ld -C linker=wasm-ld -C link-arg=--strip-debug \
    --extern ic_stable_structures=libic_stable_structures.rlib v$version.rs -o $name.wasm
  "$program" wasm inspect --json $name.wasm | grep -q '"native": true' || die "$name cannot be made native"
  "$program" wasm native $name.wasm -o $name.own.wasm --memories module || die "native: $name"
  "$program" wasm native $name.wasm -o $name.shimmed.wasm --shim $name.shim.wasm --memories shim --copy bulk || die "native: $name"
  "$program" wasm native $name.wasm -o 32.wasm --shim 32.shim.wasm --stable-bits 32 || die "native: $name"
  wasm-validate --enable-multi-memory 32.wasm && wasm-validate --enable-multi-memory 32.shim.wasm || die "$name is not valid to wabt"
done

for calls in calls shim; do
  "$build/tests/real_canisters" "$scratch" structures $calls || die "structures, $calls: failed"
done
