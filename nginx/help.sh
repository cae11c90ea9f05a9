# shellcheck shell=bash
# Shared by all bash programs: --help, and the refusal of unknown options.

# The comment at the top of the program that was called.
print_help() {
    sed -n '2,${/^#/!q; s/^# \{0,1\}//; p}' "$(readlink -f "$0")"
}

# usage_error MESSAGE: status 2, as of the Python programs.
usage_error() {
    printf '%s: %s\n%s: see --help\n' "${0##*/}" "$*" "${0##*/}" >&2
    exit 2
}

# answer_help ARGUMENT...: before anything is done, wherever the option stands.
answer_help() {
    local argument
    for argument; do
        case $argument in
            -h | --help)
                print_help
                exit 0
                ;;
            --) return 0 ;;
        esac
    done
}

# allow_options 'NAME...' ARGUMENT...: no options but these; a number below zero is a value.
allow_options() {
    local argument
    for argument in "${@:2}"; do
        [[ $argument != -- ]] || return 0
        [[ $argument == -* && $argument != - && ! $argument =~ ^-[0-9.] ]] || continue
        [[ " $1 " == *" ${argument%%=*} "* ]] || usage_error "there is no option $argument"
    done
}

# allow_nothing ARGUMENT...: for a program without arguments.
allow_nothing() {
    allow_options '' "$@"
    (($# == 0)) || usage_error "it takes no arguments, not '$1'"
}
