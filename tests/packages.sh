#!/bin/bash
# Three Debian packages out of the build: without an error of lintian's, installed into a folder and used from there.
#
# ctest: TIMEOUT 300
set -u
build=${BUILD:-$(dirname "$0")/../build} source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
[ -f "$build/CPackConfig.cmake" ] && [ -x "$build/tools/pagestore" ] || { echo "nothing to pack: the program is not built"; exit 77; }
command -v dpkg-deb > /dev/null && command -v dpkg-shlibdeps > /dev/null || { echo "no dpkg-dev: packages cannot be made"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
die() { echo "$*"; exit 1; }

(cd "$build" && cpack -G DEB -B "$scratch") > "$scratch/log" 2>&1 || { tail -n 20 "$scratch/log"; die "cpack failed"; }
for package in libpagestore0 libpagestore-dev pagestore-tools; do
  ls "$scratch/$package"_*.deb > /dev/null || die "no package $package"
  dpkg-deb -x "$scratch/$package"_*.deb "$scratch/root" || die "$package cannot be unpacked"
  dpkg-deb -c "$scratch/$package"_*.deb | grep "/usr/share/doc/$package/copyright" > /dev/null || die "$package has no copyright file"
done
pages=0
if command -v scdoc > /dev/null; then
  for command in $("$build/tools/pagestore" help --manual); do
    zcat "$scratch/root/usr/share/man/man1/pagestore-$command.1.gz" | grep "pagestore $command" > /dev/null || die "no manual page of $command"
    pages=$((pages + 1))
  done
  for page in man1/pagestore.1 man3/pagestore.3 man5/pagestore-format.5; do
    [ -s "$scratch/root/usr/share/man/$page.gz" ] || die "no manual page $page"
  done
fi
bash -n "$scratch/root/usr/share/bash-completion/completions/pagestore" || die "the completion for bash is no bash"
LD_LIBRARY_PATH=$(dirname "$(find "$scratch/root" -name 'libpagestore.so.0')") "$scratch/root/usr/bin/pagestore" version || die "the program does not run"
for function in $(grep -oE 'PAGESTORE_API [a-z0-9_ *]+\*?(pagestore_[a-z_0-9]+)\(' "$source/include/pagestore.h" | grep -oE 'pagestore_[a-z_0-9]+\($' | tr -d '('); do
  case $function in pagestore_strerror | pagestore_detail | pagestore_errno | pagestore_version) continue ;; esac
  grep -q "\*$function\*" "$source/tools/manual/pagestore.3.scd" || die "pagestore(3) does not name $function"
done
if command -v lintian > /dev/null; then
  lintian --fail-on error "$scratch"/*.deb > "$scratch/lintian" 2>&1 || { cat "$scratch/lintian"; die "lintian finds errors"; }
fi
echo "3 packages, $pages pages of commands"
