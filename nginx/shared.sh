# shellcheck shell=bash
# Shared by nginx/render, nginx/start and nginx/reload, which source it. bash, coreutils, grep and
# flock only; the rest is Lua, which every edge has.

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
ROOT=$(readlink -f "$HERE/..")

# shellcheck source-path=SCRIPTDIR source=help.sh
. "$HERE/help.sh"
# shellcheck source-path=SCRIPTDIR source=place.sh
. "$HERE/place.sh"

# Set by read_rendering: the options of the rendering, and the other arguments.
TEMPLATE='' PARTS='' REST=()

fail() {
    printf 'nginx/%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# read_rendering ARGUMENT...
read_rendering() {
    while (($# > 0)); do
        case $1 in
            --template | --without-lua)
                [[ -n ${2:-} ]] || usage_error "$1 needs a value"
                if [[ $1 == --template ]]; then TEMPLATE=$2; else PARTS=$2; fi
                shift
                ;;
            --template=* | --without-lua=*) read_rendering "${1%%=*}" "${1#*=}" ;;
            --)
                REST+=("$@")
                return
                ;;
            *) REST+=("$1") ;;
        esac
        shift
    done
}

# OpenResty has its own luajit, which is not in PATH.
find_luajit() {
    local nginx candidate
    nginx=$(readlink -f -- "$(command -v -- "${IPGEO_NGINX:-openresty}")" || true)
    for candidate in luajit "${nginx%/*}/../../luajit/bin/luajit" \
        /usr/local/openresty/luajit/bin/luajit; do
        command -v -- "$candidate" && return
    done
    fail "luajit is missing (Debian: luajit2)"
}

# use_lua: sets MAIN, the command for nginx/lib/main.lua; -E ignores the caller's LUA_PATH.
use_lua() {
    local luajit
    luajit=$(find_luajit)
    MAIN=("$luajit" -E "$HERE/lib/main.lua" "nginx/${0##*/}")
}

# read_facts: checks the settings; sets IPGEO_VAR, IPGEO_NGINX and HAS_NAMES (yes or no).
read_facts() {
    local facts
    mapfile -d '' -t facts < <("${MAIN[@]}" facts)
    wait "$!" || exit
    IPGEO_VAR=${facts[0]} IPGEO_NGINX=${facts[1]}
    # shellcheck disable=SC2034 # for nginx/start
    HAS_NAMES=${facts[2]}
}

# prepare_place FOLDER: makes IPGEO_VAR, its folders and FOLDER, after it has checked that no other
# user can have prepared them.
prepare_place() {
    local problem
    problem=$(place_problem)
    [[ -z $problem ]] || fail "IPGEO_VAR: $problem"
    mkdir -p -- "$1" "$IPGEO_VAR/log" "$IPGEO_VAR/tmp" || fail "IPGEO_VAR: cannot make $IPGEO_VAR"
    close_logs
}

# close_logs: removes others' rights to existing logs, which hold clients' addresses.
# Another user's log stays.
close_logs() {
    local log
    for log in "$IPGEO_VAR"/log/*.log*; do
        [[ -L $log || ! -f $log ]] || chmod o-rwx -- "$log" 2>/dev/null || true
    done
}

# render FOLDER: writes FOLDER/nginx.conf.
render() {
    "${MAIN[@]}" render "$TEMPLATE" "$PARTS" "$1"
}

# nginx_with FOLDER: the command for nginx with the configuration there, in NGINX.
nginx_with() {
    # shellcheck disable=SC2034 # for nginx/start and nginx/reload
    NGINX=("$IPGEO_NGINX" -p "$IPGEO_VAR" -e "$IPGEO_VAR/log/error.log" -c "$1/nginx.conf")
    # Its logs hold clients' addresses.
    umask 027
}
