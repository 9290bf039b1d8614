#!/bin/bash
# Three Debian packages out of the build: with all that belongs into each, depending on what there is, without an error of lintian's,
# installed into a folder and used from there.
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
  dpkg-deb -c "$scratch/$package"_*.deb | awk '{ print $6 }' > "$scratch/$package.files"
done

# ---- what lies in each ---------------------------------------------------------------------------------------------------

# holds PACKAGE PATH...
holds() {
  local package=$1 path
  shift
  for path; do grep -qxF "./usr/$path" "$scratch/$package.files" || die "$package has no /usr/$path"; done
}
for package in libpagestore0 libpagestore-dev pagestore-tools; do
  holds $package "share/doc/$package/copyright" "share/doc/$package/changelog.gz"
done
holds pagestore-tools bin/pagestore share/bash-completion/completions/pagestore share/zsh/vendor-completions/_pagestore
holds libpagestore-dev include/pagestore.h
for file in "$source"/include/pagestore/*; do holds libpagestore-dev "include/pagestore/${file##*/}"; done
pages=0
if command -v scdoc > /dev/null; then
  for command in $("$build/tools/pagestore" help --manual); do
    holds pagestore-tools "share/man/man1/pagestore-$command.1.gz"
    zcat "$scratch/root/usr/share/man/man1/pagestore-$command.1.gz" | grep "pagestore $command" > /dev/null ||
      die "no manual page of $command"
    pages=$((pages + 1))
  done
  for page in "$source"/tools/manual/*.scd; do
    page=$(basename "$page" .scd)
    case $page in *.3) package=libpagestore-dev ;; *) package=pagestore-tools ;; esac
    holds $package "share/man/man${page##*.}/$page.gz"
    [ "$(zcat "$scratch/root/usr/share/man/man${page##*.}/$page.gz" | wc -l)" -ge 20 ] || die "manual page $page is empty"
  done
fi
for pair in bash:bash-completion/completions/pagestore zsh:zsh/vendor-completions/_pagestore; do
  "$build/tools/pagestore" completion "${pair%%:*}" | cmp -s - "$scratch/root/usr/share/${pair#*:}" ||
    die "another completion for ${pair%%:*}"
done

# ---- what each depends on ------------------------------------------------------------------------------------------------

# is_there NAME [(OPERATOR VERSION)]: one of ours, of this version, or one that the distribution has
is_there() {
  local operator=${2:-} version=${3:-} have
  operator=${operator#(} version=${version%)}
  case $1 in
    libpagestore0 | libpagestore-dev | pagestore-tools) have=$(dpkg-deb -f "$scratch/$1"_*.deb Version) ;;
    *) have=$(apt-cache show "$1" 2> /dev/null | sed -n 's/^Version: //p') ;;
  esac
  [ -n "$have" ] || return 1
  [ -n "$operator" ] || return 0
  while read -r have; do ! dpkg --compare-versions "$have" "$operator" "$version" || return 0; done <<< "$have"
  return 1
}
# depends PACKAGE NAME...: on these and maybe others, all of which are there
depends() {
  local package=$1 wanted line
  shift
  dpkg-deb -f "$scratch/$package"_*.deb Depends | tr ',' '\n' > "$scratch/depends"
  for wanted; do grep -qE "^ *$wanted( |$)" "$scratch/depends" || die "$package does not depend on $wanted"; done
  command -v apt-cache > /dev/null || return 0
  while read -r line; do
    # shellcheck disable=SC2086 # a name, and in brackets an operator and a version
    tr '|' '\n' <<< "$line" | { while read -r wanted; do ! is_there $wanted || exit 0; done; exit 1; } ||
      die "$package depends on $line, which is not there"
    dependencies=$((dependencies + 1))
  done < "$scratch/depends"
}
dependencies=0
depends libpagestore0 libc6 liblmdb0 libxxhash0
depends libpagestore-dev libpagestore0 liblmdb-dev libxxhash-dev
depends pagestore-tools libc6 liblmdb0 libxxhash0 libsmartcols1 libjansson4

# ---- used from a folder ----------------------------------------------------------------------------------------------------

LD_LIBRARY_PATH=$(dirname "$(find "$scratch/root" -name 'libpagestore.so.0')") "$scratch/root/usr/bin/pagestore" version || die "the program does not run"
for function in $(grep -oE 'PAGESTORE_API [a-z0-9_ *]+\*?(pagestore_[a-z_0-9]+)\(' "$source/include/pagestore.h" | grep -oE 'pagestore_[a-z_0-9]+\($' | tr -d '('); do
  case $function in pagestore_strerror | pagestore_detail | pagestore_errno | pagestore_version) continue ;; esac
  grep -q "\*$function\*" "$source/tools/manual/pagestore.3.scd" || die "pagestore(3) does not name $function"
done
if command -v lintian > /dev/null; then
  lintian --fail-on error "$scratch"/*.deb > "$scratch/lintian" 2>&1 || { cat "$scratch/lintian"; die "lintian finds errors"; }
fi
echo "3 packages, $pages pages of commands, $dependencies dependencies"
