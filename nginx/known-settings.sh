# shellcheck shell=bash
# The names of all settings, to tell a misspelt one, which would have no effect. Sourced behind
# settings.sh. Bash only.

KNOWN_SETTINGS=(
    # of the README
    IPGEO_BLOB IPGEO_VAR IPGEO_BIND IPGEO_PORT IPGEO_MODE IPGEO_WORKERS IPGEO_FALLBACK_WORKERS
    IPGEO_DICT_SIZE IPGEO_REFRESH_INTERVAL IPGEO_BATCH_LIMIT IPGEO_BODY_LIMIT IPGEO_ACCESS_LOG
    IPGEO_LOG_QUERY IPGEO_FALLBACK_ACCESS_LOG IPGEO_FALLBACK_ERROR_LOG IPGEO_LOG_SIZE
    IPGEO_LOG_FILES IPGEO_TRUSTED_PROXIES IPGEO_USER IPGEO_NGINX IPGEO_LUA IPGEO_FALLBACK_BIND
    IPGEO_UPSTREAMS IPGEO_UPSTREAM_TIMEOUT IPGEO_RESOLVE_INTERVAL
    IPGEO_REAL_DATA IPGEO_REQUIRE_REAL_DATA IPGEO_REQUIRE_DOCKER
    # of docker-compose.yml alone
    IPGEO_EDGE_MEMORY IPGEO_FALLBACK_MEMORY IPGEO_COMPILER_MEMORY IPGEO_INNER_NET IPGEO_OUTER_NET
    IPGEO_TAG
    # from one program of the project to another
    IPGEO_UPSTREAMS_DEFAULT IPGEO_SUPERVISOR_UID IPGEO_LOG_BYTES IPGEO_INSTANCE
)

# Warns of each one that is no setting among the names of variables on stdin.
warn_of_unknown() { # WHERE they are from
    local name
    while read -r name; do
        [[ $name == IPGEO_* && " ${KNOWN_SETTINGS[*]} " != *" $name "* ]] || continue
        say "$1: there is no setting $name: it has no effect"
    done
}
