# shellcheck shell=bash
# IPGEO_VAR: its owners, and the lock of the instance in it. Sourced by nginx's programs and by
# script/server, which set ROOT, the checkout. bash, coreutils and flock only.
#
# The programs obey its files (configuration, pid files) and write to them (logs). So only root, the
# caller and the owner of the checkout may have prepared it. The caller trusts that owner anyway, by
# running a program of the checkout.

# How long a dead master's workers may live on: nginx.conf's worker_shutdown_timeout, and a little.
ORPHAN_SECONDS=11
LOCK_FD=
LOCK_PROBLEM=

# Prints the folders and links on the way to PATH. Those down to the checkout are left out.
way_to() { # PATH, absolute
    local rest=${1#/} at='' name target
    while [[ -n $rest ]]; do
        name=${rest%%/*}
        rest=${rest#"$name"}
        rest=${rest#/}
        at+=/$name
        [[ $ROOT/ == "$at"/* ]] || printf '%s\n' "$at"
        if [[ -L $at && -e $at ]]; then
            target=$(readlink -- "$at")
            [[ $target == /* ]] || target=${at%/*}/$target
            way_to "$(realpath -ms -- "$target/$rest")"
            return
        fi
    done
}

# Prints why another user could have made one of the existing PATHs. In a folder with the sticky
# bit others may add but not replace files: `open` accepts that, for places with known names only.
suspicious() { # open|closed PATH...
    local owner group mode type path own_group trusted
    trusted=" 0 $EUID $(stat -c %u -- "$ROOT") "
    own_group=$(id -g)
    while IFS=: read -r owner group mode type path; do
        [[ -n $owner ]] || continue
        if [[ $trusted != *" $owner "* ]]; then
            printf '%s belongs to another user (%s)\n' "$path" "$owner"
        elif [[ $type == directory && ! ($1 == open && $mode == 1???) ]]; then
            if ((8#$mode & 8#0002)); then
                printf '%s is writable by all users\n' "$path"
            elif ((8#$mode & 8#0020 && group != own_group)); then
                printf '%s is writable by a foreign group (%s)\n' "$path" "$group"
            fi
        fi
    done <<<"$(LC_ALL=C stat -c '%u:%g:%a:%F:%n' -- "${@:2}" 2>/dev/null)"
}

links() { # PATH...; prints those that are one
    local path
    for path; do
        [[ ! -L $path ]] || printf '%s\n' "$path"
    done
}

# place_problem: prints why IPGEO_VAR must not be used; nothing if it may.
place_problem() (
    shopt -s nullglob dotglob
    local var=$IPGEO_VAR found way
    mapfile -t way <<<"$(for at in . nginx log tmp; do way_to "$(realpath -ms "$var/$at")"; done)"
    # The workers own the logs: there only links matter.
    mapfile -t log_links <<<"$(links "$var"/log/*)"
    found=$(
        suspicious open "${way[@]}" "$var"/*.pid* "$var"/*.lock "$var"/nginx/* "${log_links[@]}"
        suspicious closed "$var"/{nginx,log,tmp}/.
        links "$var"/*.pid* "$var"/*.lock | sed 's/$/ is a symbolic link/'
    )
    printf '%s' "${found%%$'\n'*}"
)

# has_inherited FILE: whether this process has it open; then LOCK_FD is where.
has_inherited() {
    local entry
    for entry in "/proc/$BASHPID/fd/"*; do
        if [[ $entry -ef $1 ]]; then
            LOCK_FD=${entry##*/}
            return 0
        fi
    done
    return 1
}

master_lives() { # PID_FILE
    local pid
    pid=$(cat -- "$1" 2>/dev/null) && [[ -n $pid && -d /proc/$pid ]]
}

# open_lock FILE: in LOCK_FD. No other user may open FILE, for an open file is enough to lock it.
open_lock() {
    has_inherited "$1" || { (umask 077 && : >>"$1") && exec {LOCK_FD}>>"$1"; } 2>/dev/null
}

# hold_lock NAME PROGRAM: holds IPGEO_VAR/NAME.lock for this process and its descendants. Fails,
# with the reason in LOCK_PROBLEM, if another PROGRAM holds it. Waits for the workers of a killed
# master, which end soon.
hold_lock() {
    local file=$IPGEO_VAR/$1.lock deadline=$((SECONDS + ORPHAN_SECONDS))
    LOCK_PROBLEM="IPGEO_VAR: cannot write $file"
    open_lock "$file" || return
    LOCK_PROBLEM="another $2 runs with this IPGEO_VAR: $IPGEO_VAR"
    until flock -n "$LOCK_FD"; do
        ! master_lives "$IPGEO_VAR/$1.pid" && ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# Whether nginx with these arguments serves, and does not only test, print or send a signal.
starts_nginx() { # ARGUMENT...
    local argument value=no
    for argument; do
        if [[ $value == yes ]]; then
            value=no
        elif [[ $argument == -[gcpe] ]]; then
            value=yes
        elif [[ $argument == -*[tTsvVh?]* && $argument != -[gcpe]* ]]; then
            return 1
        fi
    done
}

lock_for_nginx() { # ARGUMENT...
    ! starts_nginx "$@" || hold_lock nginx nginx || {
        printf 'nginx: %s\n' "$LOCK_PROBLEM" >&2
        return 1
    }
}
