# shellcheck shell=bash
# The edge's settings: defaults, and checks that name a setting that is not valid. Sourced by the
# programs in this folder. Bash and coreutils only.

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
ROOT=$(readlink -f "$HERE/..")

# shellcheck source-path=SCRIPTDIR source=help.sh
. "$HERE/help.sh"
# shellcheck source-path=SCRIPTDIR source=place.sh
. "$HERE/place.sh"
# shellcheck source-path=SCRIPTDIR source=upstreams.sh
. "$HERE/upstreams.sh"

# What nginx, Lua or (%) supervisor would take for syntax or for a pattern, even inside quotes.
UNSAFE="[][\"'\`\\\$;{}*?<>%[:cntrl:]]"
OCTET='(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'

say() { printf 'nginx/%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# --- checks ---------------------------------------------------------------------------------------

# They take a setting's NAME, so that they can name it.

matches() { # NAME REGEX MEANING
    [[ ${!1} =~ ^($2)$ ]] || fail "$1 must be $3, not '${!1}'"
}

in_range() { # NAME LOW HIGH
    matches "$1" '[1-9][0-9]{0,8}' "a number from $2 to $3"
    ((${!1} >= $2 && ${!1} <= $3)) || fail "$1 must be a number from $2 to $3, not ${!1}"
}

is_interval() { # NAME
    matches "$1" '[1-9][0-9]{0,4}(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9]' \
        "a number of seconds, 0.001 to 99999"
}

is_path() { # NAME; makes it absolute
    [[ -n ${!1} ]] || fail "$1 must not be empty"
    # First, for the current folder becomes part of it.
    printf -v "$1" %s "$(realpath -ms -- "${!1}")"
    [[ ! ${!1} =~ $UNSAFE ]] || fail "$1 holds a character that is not allowed in a path: '${!1}'"
}

is_size() { # NAME LOW_KIB HIGH_KIB
    matches "$1" '[1-9][0-9]{0,8}[kKmM]?' "a size such as 512k or 64m"
    local bytes=${!1%[kKmM]}
    case ${!1} in
        *[kK]) bytes=$((bytes * 1024)) ;;
        *[mM]) bytes=$((bytes * 1048576)) ;;
    esac
    ((bytes >= $2 * 1024 && bytes <= $3 * 1024)) ||
        fail "$1 must be a size from $2k to $(($3 / 1024))m, not ${!1}"
}

# The entries of a list, without the white space around them, in ENTRIES.
split_list() { # NAME
    local rest=${!1:+${!1},} entry
    [[ ! $rest =~ [[:cntrl:]] ]] || fail "$1 holds a control character"
    ENTRIES=()
    while [[ -n $rest ]]; do
        read -r entry <<<"${rest%%,*}"
        [[ -n $entry ]] || fail "$1 has an empty entry: '${!1}'"
        ENTRIES+=("$entry")
        rest=${rest#*,}
    done
}

# --- addresses ------------------------------------------------------------------------------------

is_ipv4() { # TEXT
    [[ $1 =~ ^$OCTET(\.$OCTET){3}$ ]]
}

is_ipv6() { # TEXT
    local text=$1 groups group='[0-9A-Fa-f]{1,4}'
    if [[ $text == *:*.* ]]; then
        is_ipv4 "${text##*:}" || return
        text=${text%:*}:0:0
    fi
    if [[ $text =~ ^($group(:$group)*)?::($group(:$group)*)?$ ]]; then
        read -ra groups <<<"${text//:/ }"
        ((${#groups[@]} < 8))
    else
        [[ $text =~ ^$group(:$group){7}$ ]]
    fi
}

is_network() { # TEXT
    local address=${1%/*} bits=0
    is_ipv4 "$address" && bits=32
    is_ipv6 "$address" && bits=128
    ((bits > 0)) || return
    [[ $1 != */* ]] || { [[ ${1##*/} =~ ^(0|[1-9][0-9]{0,2})$ ]] && ((${1##*/} <= bits)); }
}

# --- the settings ---------------------------------------------------------------------------------

# Also sets OUT, the folder that nginx reads.
read_settings() {
    : "${IPGEO_VAR:=$ROOT/var}"
    is_path IPGEO_VAR
    OUT=$IPGEO_VAR/nginx
    : "${IPGEO_MODE:=edge}"
    : "${IPGEO_BLOB:=$IPGEO_VAR/ipgeo.blob}"
    : "${IPGEO_LUA:=$ROOT/lua}"
    : "${IPGEO_BIND:=127.0.0.1}"
    : "${IPGEO_PORT:=8080}"
    : "${IPGEO_WORKERS:=auto}"
    : "${IPGEO_DICT_SIZE:=64m}"
    : "${IPGEO_BATCH_LIMIT:=1000}"
    : "${IPGEO_REFRESH_INTERVAL:=1}"
    : "${IPGEO_LOG_QUERY:=off}"
    : "${IPGEO_ACCESS_LOG:=on}"
    : "${IPGEO_UPSTREAMS:=unix:$IPGEO_VAR/fallback.sock}"
    : "${IPGEO_UPSTREAM_TIMEOUT:=3}"
    : "${IPGEO_RESOLVE_INTERVAL:=10}"
    : "${IPGEO_TRUSTED_PROXIES:=}"
    : "${IPGEO_USER:=www-data}"
}

# body_limit_for ADDRESSES: the bytes that the longest batch needs, and never less than 64 KiB.
body_limit_for() {
    local bytes=$(($1 * 20 + 1024))
    printf %s $((bytes > 65536 ? bytes : 65536))
}

find_nginx() {
    local candidate
    for candidate in nginx /usr/sbin/nginx openresty /usr/local/openresty/bin/openresty; do
        command -v "$candidate" && return
    done
    fail "IPGEO_NGINX is not set and neither nginx nor openresty is in PATH"
}

check_trusted_proxies() {
    split_list IPGEO_TRUSTED_PROXIES
    TRUSTED=("${ENTRIES[@]}")
    local entry
    for entry in "${TRUSTED[@]}"; do
        is_network "$entry" || fail "IPGEO_TRUSTED_PROXIES: '$entry' is neither an address nor a" \
            "network such as 10.0.0.0/8"
    done
}

check_settings() {
    matches IPGEO_MODE 'edge|proxy' "edge or proxy"
    is_path IPGEO_BLOB
    is_path IPGEO_LUA
    # A name that would have to be resolved has no place here; nginx checks the rest.
    matches IPGEO_BIND '[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|\[[0-9A-Fa-f:.]+\]' \
        "an IPv4 or IPv6 address"
    in_range IPGEO_PORT 1 65535
    [[ $IPGEO_WORKERS == auto ]] || in_range IPGEO_WORKERS 1 1024
    is_size IPGEO_DICT_SIZE 64 16777216
    in_range IPGEO_BATCH_LIMIT 1 100000
    is_interval IPGEO_REFRESH_INTERVAL
    : "${IPGEO_BODY_LIMIT:=$(body_limit_for "$IPGEO_BATCH_LIMIT")}"
    is_size IPGEO_BODY_LIMIT 1 1048576
    matches IPGEO_LOG_QUERY 'on|off' "on or off"
    matches IPGEO_ACCESS_LOG 'on|errors|off' "on, errors or off"
    read_upstreams
    in_range IPGEO_UPSTREAM_TIMEOUT 1 60
    is_interval IPGEO_RESOLVE_INTERVAL
    check_trusted_proxies
    matches IPGEO_USER '[A-Za-z0-9_][A-Za-z0-9_.-]*' "the name of a user"
    [[ $EUID -ne 0 ]] || id -u -- "$IPGEO_USER" >/dev/null 2>&1 ||
        fail "IPGEO_USER: there is no user '$IPGEO_USER'"
    [[ -n ${IPGEO_NGINX:-} ]] || IPGEO_NGINX=$(find_nginx)
    command -v "$IPGEO_NGINX" >/dev/null || fail "IPGEO_NGINX: cannot run '$IPGEO_NGINX'"
    IPGEO_NGINX=$(realpath -s -- "$(command -v "$IPGEO_NGINX")")
}

# Makes IPGEO_VAR and its folders, once it is sure that nobody else has a hand in them.
prepare_place() {
    local problem
    problem=$(place_problem)
    [[ -z $problem ]] || fail "IPGEO_VAR: $problem"
    mkdir -p -- "$OUT" "$IPGEO_VAR/log" "$IPGEO_VAR/tmp" || fail "IPGEO_VAR: cannot make $IPGEO_VAR"
    close_logs
}

# Logs of before, when others could read them: they hold clients' addresses. Another user's stay.
close_logs() {
    local log
    for log in "$IPGEO_VAR"/log/*.log*; do
        [[ -L $log || ! -f $log ]] || chmod o-rwx -- "$log" 2>/dev/null || true
    done
}

# The file NAME in OUT becomes stdin; a reader never sees half of it.
write() { # NAME
    cat >"$OUT/.$1.tmp" && mv -f -- "$OUT/.$1.tmp" "$OUT/$1"
}
