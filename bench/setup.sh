#!/bin/bash
# Usage: setup.sh [PEER...]
# Builds the tools and installs the peers below $BENCH_WORK: postfix, exim,
# opensmtpd and haraka, or those named. What cannot be had here is skipped, and
# said so; run.sh then skips its modes. Installing needs root, for the packages
# and for the users that the mail servers change to. Debian's mail servers
# conflict with each other: Postfix is installed, the others are unpacked.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mkdir -p "$BENCH_WORK"/{bin,debs}
export DEBIAN_FRONTEND=noninteractive

build_tools
[ $# -gt 0 ] || set -- postfix exim opensmtpd haraka
skipped=()

lists_fresh=
packages() { # package... ; apt's lists are fetched once
  [ "$(id -u)" = 0 ] || { echo "needs root" >&2; return 1; }
  command -v apt-get >/dev/null || { echo "needs apt-get" >&2; return 1; }
  [ -n "$lists_fresh" ] || { apt-get update -q && lists_fresh=yes; } || return 1
  apt-get install -qy --no-install-recommends "$@"
}

unpack() { # folder package...
  local folder=$1 debs=$BENCH_WORK/debs/$1 deb
  shift
  rm -rf "$debs"
  mkdir -p "$debs" "$BENCH_WORK/root" || return 1
  if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then chown _apt "$debs"; fi
  (cd "$debs" && apt-get download -q "$@") || return 1
  for deb in "$debs"/*.deb; do
    dpkg -x "$deb" "$BENCH_WORK/root/$folder" || return 1
  done
}

user() {
  getent passwd "$1" >/dev/null ||
    adduser --system --group --force-badname --no-create-home --home /nonexistent "$1"
}

install_postfix() {
  command -v postfix >/dev/null && return
  echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections || return 1
  packages postfix
}

install_exim() {
  packages adduser libdb5.3 libgnutls-dane0 libnsl2 libidn12 libpam0g &&
    unpack exim exim4-daemon-light exim4-base exim4-config &&
    user Debian-exim
}

install_opensmtpd() {
  packages adduser ed libdb5.3 libevent-2.1-7 &&
    unpack opensmtpd opensmtpd &&
    user opensmtpd && user opensmtpq &&
    mkdir -p /var/lib/opensmtpd/empty && # compiled in
    mkdir -p -m 711 /var/spool/smtpd
}

install_haraka() {
  command -v npm >/dev/null || { echo "needs npm" >&2; return 1; }
  mkdir -p "$BENCH_WORK/haraka" &&
    (cd "$BENCH_WORK/haraka" && { [ -f package.json ] || npm init -y >/dev/null; } &&
      nice -n 19 npm install --silent --omit=optional Haraka@3)
}

for peer in "$@"; do
  declare -F "install_$peer" >/dev/null || { echo "no peer $peer" >&2; exit 2; }
  echo "== $peer"
  "install_$peer" || { echo "!! $peer cannot be had here: SKIPPED" >&2; skipped+=("$peer"); }
done
[ ${#skipped[@]} -eq 0 ] || echo "!! SKIPPED: ${skipped[*]}; run.sh will leave these out" >&2
