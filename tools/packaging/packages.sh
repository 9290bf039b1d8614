# packages.sh - sourced by tests/run and tools/demo: what a fresh Debian lacks is installed, and nothing is asked of the network
# when nothing is missing.
#
#   install_packages NAME...    0, or 1 with a word on what to do; $packages_came: whether something was installed

packages_came=""

missing_packages() {
  local package
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

install_packages() {
  local missing root=""
  if ! command -v dpkg-query > /dev/null; then
    echo "== not a Debian system: these must be there already: $*"
    return 0
  fi
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo "missing packages, and no sudo: apt-get install $missing"; return 1; }
    root=sudo
  fi
  echo "== installing $missing"
  if ! { $root apt-get update -qq &&
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
    > "${TMPDIR:-/tmp}/pagestore-apt.$$" 2>&1 < /dev/null; then
    tail -n 20 "${TMPDIR:-/tmp}/pagestore-apt.$$"
    return 1
  fi
  rm -f "${TMPDIR:-/tmp}/pagestore-apt.$$"
  packages_came=yes
}
