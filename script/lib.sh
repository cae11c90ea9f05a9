# shellcheck shell=bash
# Shared by the scripts in this folder, which source it through their own real path, so that they
# work from any directory and through a symbolic link.

ROOT=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..")
# shellcheck disable=SC2034 # used by those who source this
VENV=$ROOT/.venv

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
