# shellcheck shell=bash
# IPGEO_UPSTREAMS: its grammar, the addresses of its names, and what nginx gets of it. Sourced by
# settings.sh, so that there is one parser. It is a list of nginx's `server`
# arguments:
#
#     ADDRESS [weight=N] [max_conns=N] [max_fails=N] [fail_timeout=TIME] [backup] [down], ...
#
# ADDRESS is unix:/PATH, IPV4:PORT, [IPV6]:PORT or NAME:PORT.

# A socket's address has 108 bytes, the last of them NUL (unix(7)).
SOCKET_PATH_MAX=107
# What a resolver takes that has to ask a second server.
RESOLVE_SECONDS=6

declare -A SERVER_ARGUMENTS=(
    [weight]='weight=[1-9][0-9]{0,4}'
    [max_conns]='max_conns=[0-9]{1,5}'
    [max_fails]='max_fails=[0-9]{1,5}'
    [fail_timeout]='fail_timeout=[0-9]{1,5}[smh]?'
    [backup]=backup
    [down]=down
)
# One closed kept connection must not take a healthy node out. A node that is out is tried again by
# one request in each fail_timeout: soon enough when it is back, cheap enough while it hangs.
declare -A SERVER_DEFAULTS=([max_fails]=max_fails=3 [fail_timeout]=fail_timeout=2s)

SERVERS=()            # the addresses, in the list's order
declare -A ARGUMENTS  # of each of them
NAMES=()              # those among them that have to be resolved
declare -A RESOLVED   # the last known addresses of each of these, one in each line
declare -A UNRESOLVED # those of them that did not resolve the last time

# --- the grammar ----------------------------------------------------------------------------------

refuse() { # MESSAGE, about the caller's `entry`
    fail "IPGEO_UPSTREAMS: '$entry' $*"
}

is_name() { # ADDRESS
    [[ $1 != unix:* && $1 != \[* ]] && ! is_ipv4 "${1%:*}"
}

check_socket() { # PATH
    local LC_ALL=C
    [[ $1 == /* ]] || refuse "needs an absolute path after unix:"
    [[ ! $1 =~ $UNSAFE ]] || refuse "holds a character that is not allowed in a path"
    ((${#1} <= SOCKET_PATH_MAX)) || refuse "is too long: a socket's path has at most" \
        "$SOCKET_PATH_MAX bytes, this one has ${#1} (a shorter IPGEO_VAR helps)"
}

check_host() { # HOST
    local label='[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?'
    if [[ $1 =~ ^\[(.*)\]$ ]]; then
        is_ipv6 "${BASH_REMATCH[1]}"
    elif [[ $1 =~ ^[0-9.]*$ ]]; then
        is_ipv4 "$1"
    else
        [[ $1 =~ ^$label(\.$label)*\.?$ ]]
    fi || refuse "has a bad address: it is unix:/PATH, IPV4:PORT, [IPV6]:PORT or NAME:PORT"
}

check_address() { # ADDRESS
    if [[ $1 == unix:* ]]; then
        check_socket "${1#unix:}"
        return
    fi
    if ! [[ $1 =~ :([1-9][0-9]{0,4})$ ]] || ((BASH_REMATCH[1] > 65535)); then
        refuse "needs a port from 1 to 65535 behind its address"
    fi
    check_host "${1%:*}"
}

# Completes them in `arguments` of the caller.
check_arguments() { # ARGUMENT...
    local argument name
    local -A given=()
    for argument; do
        name=${argument%%=*}
        [[ -n ${SERVER_ARGUMENTS[$name]:-} ]] || refuse "has an unknown argument: $argument"
        [[ $argument =~ ^(${SERVER_ARGUMENTS[$name]})$ ]] || refuse "has a bad value: $argument"
        [[ -z ${given[$name]:-} ]] || refuse "has $name twice"
        given[$name]=yes
    done
    for name in max_fails fail_timeout; do
        [[ -n ${given[$name]:-} ]] || arguments+=("${SERVER_DEFAULTS[$name]}")
    done
}

# What looks like an argument is taken off the end: a socket's path may hold spaces.
read_server() { # ENTRY
    local entry=$1 address=$1 arguments=()
    while [[ $address =~ ^(.*[^ ])\ +([A-Za-z_]+(=[^ ]*)?)$ ]]; do
        address=${BASH_REMATCH[1]}
        arguments=("${BASH_REMATCH[2]}" "${arguments[@]}")
    done
    check_address "$address"
    check_arguments "${arguments[@]}"
    [[ -z ${ARGUMENTS[$address]:-} ]] || refuse "repeats an address"
    SERVERS+=("$address")
    ARGUMENTS[$address]=${arguments[*]}
    ! is_name "$address" || NAMES+=("$address")
}

read_upstreams() {
    split_list IPGEO_UPSTREAMS
    local entry
    for entry in "${ENTRIES[@]}"; do
        read_server "$entry"
    done
}

# --- names ----------------------------------------------------------------------------------------

# Prints the addresses, each once and always in the same order, for that of an answer means nothing.
# A link-local one would need a zone, which nginx does not take.
look_up() { # NAME:PORT
    local address found
    found=$(timeout "$RESOLVE_SECONDS" getent ahosts "${1%:*}") || return
    while read -r address _; do
        case $address in
            [Ff][Ee][89AaBb]?:*) ;;
            *:*) printf '[%s]:%s\n' "$address" "${1##*:}" ;;
            *) printf '%s:%s\n' "$address" "${1##*:}" ;;
        esac
    done <<<"$found" | LC_ALL=C sort -u
}

# A name that does not resolve keeps its last addresses: an outage of DNS is none of the nodes. That
# it begins and that it ends is said once.
resolve_names() {
    local name found state
    for name in "${NAMES[@]}"; do
        if found=$(look_up "$name") && [[ -n $found ]]; then
            [[ -z ${UNRESOLVED[$name]:-} ]] || say "IPGEO_UPSTREAMS: '$name' resolves now"
            UNRESOLVED[$name]=
            RESOLVED[$name]=$found
        elif [[ -z ${UNRESOLVED[$name]:-} ]]; then
            UNRESOLVED[$name]=yes
            state="is left out"
            [[ -z ${RESOLVED[$name]:-} ]] || state="keeps its last addresses"
            say "IPGEO_UPSTREAMS: '$name' does not resolve and $state"
        fi
    done
}

# --- what nginx gets ------------------------------------------------------------------------------

addresses_of() { # SERVER
    if is_name "$1"; then
        printf '%s\n' "${RESOLVED[$1]:-}"
    else
        printf '%s\n' "$1"
    fi
}

# Prints the servers for nginx. Behind an address of a name stands the name, also for recall_names.
server_lines() {
    local server address origin primary=
    local -A written=()
    for server in "${SERVERS[@]}"; do
        origin=
        ! is_name "$server" || origin=" # $server"
        while read -r address; do
            [[ -n $address && -z ${written[$address]:-} ]] || continue
            written[$address]=yes
            [[ " ${ARGUMENTS[$server]} " == *' backup '* ]] || primary=yes
            printf 'server "%s" %s;%s\n' "$address" "${ARGUMENTS[$server]}" "$origin"
        done <<<"$(addresses_of "$server")"
    done
    # Without a primary server nginx does not start.
    [[ -n $primary ]] || printf 'server unix:/nonexistent down;\n'
}

# Writes the servers that stdin has, and the same ones as nginx takes them that does not judge them.
write_servers() {
    write gen-upstream.conf &&
        sed -E 's/ max_fails=[0-9]+/ max_fails=0/; s/ weight=[0-9]+//; s/ backup([ ;])/\1/' \
            "$OUT/gen-upstream.conf" | write gen-upstream-all.conf
}

# Takes over what an earlier server_lines has printed to stdin.
recall_names() {
    local line name
    while read -r line; do
        [[ $line =~ ^server\ \"(.*)\".*\;\ #\ (.*)$ ]] || continue
        name=${BASH_REMATCH[2]}
        RESOLVED[$name]+=${RESOLVED[$name]:+$'\n'}${BASH_REMATCH[1]}
    done
    for name in "${NAMES[@]}"; do
        [[ -n ${RESOLVED[$name]:-} ]] || UNRESOLVED[$name]=yes
    done
}
