#!/usr/bin/env bash
# Installs the real mail programs of the end-to-end tests, those that are missing: Debian's
# packages, and below $RELAY_PEERS what no package can bring: Exim, which Debian does not
# install beside Postfix, is unpacked there, Haraka, Nodemailer and the agents' gRPC come from npm.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
RELAY_PEERS=${RELAY_PEERS:-/var/cache/relay-peers}
node_packages=(nodemailer@7.0.13 Haraka@3.3.4)

fresh=
again() { # command...; a registry that stumbles is asked three times
  for pause in 2 10 0; do
    "$@" && return
    sleep "$pause"
  done
  return 1
}
lists() { [ -n "$fresh" ] || { again apt-get update -q && fresh=yes; }; }

missing=()
want() { # program package...
  local program=$1
  shift
  PATH="$PATH:/usr/sbin:/usr/lib/dovecot" command -v "$program" >/dev/null || missing+=("$@")
}
want postfix postfix
want swaks swaks libnet-ssleay-perl
want curl curl
want msmtp msmtp
want nmap nmap
want haproxy haproxy
want testssl testssl.sh
want doveconf dovecot-core
want lmtp dovecot-lmtpd
want /usr/bin/python3 python3 # not one in its place
/usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null || missing+=(python3-grpcio python3-protobuf)
want openssl openssl
want nc netcat-openbsd
want node nodejs
want npm npm
want adduser adduser
# By these Postfix logs in.
compgen -G '/usr/lib/*/sasl2/libplain.so' >/dev/null || missing+=(libsasl2-modules)
if [ ${#missing[@]} -gt 0 ]; then
  lists
  if command -v debconf-set-selections >/dev/null; then
    echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
  fi
  again apt-get install -qy --no-install-recommends "${missing[@]}"
fi

mkdir -p "$RELAY_PEERS"
partial=$(mktemp -d "$RELAY_PEERS/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
chmod 755 "$partial"

if [ ! -x "$RELAY_PEERS/exim/usr/sbin/exim4" ]; then
  lists
  again apt-get install -qy --no-install-recommends libdb5.3 libgnutls-dane0 libnsl2 libidn12 libpam0g
  mkdir "$partial/debs" "$partial/exim"
  if id _apt >/dev/null 2>&1; then chown _apt "$partial/debs"; fi
  (cd "$partial/debs" && again apt-get download -q exim4-daemon-light)
  dpkg -x "$partial"/debs/exim4-daemon-light_*.deb "$partial/exim"
  # Outside of a package's care it is nobody's way to root.
  chmod u-s "$partial/exim/usr/sbin/exim4"
  rm -rf "$RELAY_PEERS/exim"
  mv "$partial/exim" "$RELAY_PEERS/exim"
fi
getent passwd Debian-exim >/dev/null ||
  adduser --quiet --system --group --force-badname --no-create-home --home /nonexistent Debian-exim

if [ "$(cat "$RELAY_PEERS/npm/installed" 2>/dev/null)" != "${node_packages[*]}" ]; then
  mkdir "$partial/npm"
  again nice npm install --prefix "$partial/npm" --silent --no-audit --no-fund --omit=optional --ignore-scripts "${node_packages[@]}"
  echo "${node_packages[*]}" >"$partial/npm/installed"
  rm -rf "$RELAY_PEERS/npm"
  mv "$partial/npm" "$RELAY_PEERS/npm"
fi

# What the agents in JavaScript stand on, as their lock file says.
agent=plugins/examples/node
if ! cmp -s "$agent/package-lock.json" "$RELAY_PEERS/npm-agent/package-lock.json"; then
  mkdir "$partial/npm-agent"
  cp "$agent/package.json" "$agent/package-lock.json" "$partial/npm-agent/"
  again nice npm ci --prefix "$partial/npm-agent" --silent --no-audit --no-fund --ignore-scripts
  rm -rf "$RELAY_PEERS/npm-agent"
  mv "$partial/npm-agent" "$RELAY_PEERS/npm-agent"
fi
