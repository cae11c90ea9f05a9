# shellcheck shell=bash
# Shared by the scripts in this folder, which source it through their own real path, so that they
# work from any directory and through a symbolic link.

ROOT=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..")
# shellcheck disable=SC2034 # used by the sourcing scripts
VENV=$ROOT/.venv

# shellcheck source-path=SCRIPTDIR source=../nginx/help.sh
. "$ROOT/nginx/help.sh"

say() { printf '==> %s\n' "$*"; }

warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    warn "$*"
    exit 1
}

# as_root COMMAND...: runs it as root, with sudo where that is needed.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo"
    fi
}

# is_installed PACKAGE: whether Debian's package is there and configured.
is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Runs as root in a shell of its own, so that one question by sudo is enough: it is passed as text
# and uses no other function of this file.
install_packages() {
    set -euo pipefail
    local policy=/usr/sbin/policy-rc.d had_nginx=yes
    exec 8>/run/ipgeo-bootstrap.lock
    flock 8
    command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || had_nginx=no

    # Debian starts a server with the package. policy-rc.d forbids that while we install; one
    # that is there already is the machine's own business.
    if [[ ! -e $policy ]]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi

    export DEBIAN_FRONTEND=noninteractive
    local apt=(apt-get -o DPkg::Lock::Timeout=300 -o APT::Color=0 -qq -y)
    "${apt[@]}" update
    # Each line: URI, file name, size, hash.
    "${apt[@]}" --print-uris install --no-install-recommends --no-remove "$@" |
        awk '{ n++; bytes += $3 } END { printf "    %d packages, %.0f MB to fetch\n", n, bytes / 1e6 }'
    # --no-remove: never trade away what is installed (luajit conflicts with luajit2).
    "${apt[@]}" install --no-install-recommends --no-remove "$@" >/dev/null

    # Nor must it start at the next boot.
    if [[ $had_nginx == no ]] && command -v systemctl >/dev/null; then
        systemctl disable nginx.service >/dev/null 2>&1 || true
    fi
}

# ensure_packages PACKAGE...: installs those that are missing; needs no network if none is.
ensure_packages() {
    command -v dpkg-query >/dev/null || die "this needs Debian: dpkg-query is not here"
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    say "installing ${missing[*]}"
    as_root bash -c "$(declare -f install_packages); install_packages \"\$@\"" install \
        "${missing[@]}" || die "installing Debian packages failed"
}

# worker_reaches FOLDER: whether the servers' workers may enter it. As root they are another user.
worker_reaches() {
    [[ $EUID -eq 0 ]] || return 0
    local user=${IPGEO_USER:-www-data}
    setpriv --reuid "$user" --regid "$(id -g -- "$user")" --clear-groups test -x "$1"
}
