-- What nginx/nginx.conf.template may use: the settings, and what follows from them, from the
-- contract and from this machine.

local contract = require "ipgeo.contract"
local listens = require "listens"
local posix = require "posix"
local upstreams = require "upstreams"


local CLIENT_TIMEOUT = contract.LIMITS.client_timeout
local sort = table.sort
local error = error
local format, gsub = string.format, string.gsub
local ipairs, pairs = ipairs, pairs
local min = math.min
local setmetatable = setmetatable

-- Every worker holds the memory of all its connections from its start, so no more than is useful.
local MAX_CONNECTIONS = 8192
local MAX_OPEN_FILES = 65536


local _M = {}


-- A table that raises for missing keys: a misspelt name in a template must not be empty.
local function strict(values, what)
    return setmetatable(values, {
        __index = function(_, name)
            error(format("there is no %s %s", what, name), 2)
        end,
    })
end


-- Seconds for all tries to get an answer. Clients give up after CLIENT_TIMEOUT, and the last try
-- has to end before. But where a try may take so long that this leaves no time for a second one, a
-- node that hangs must not be the only one that is asked.
local function tries_timeout(try_timeout)
    local rest = CLIENT_TIMEOUT - try_timeout
    return rest > try_timeout and rest or try_timeout + 1
end


-- nginx's own errors, by status.
local function errors(settings)
    local limits = {
        batch_limit = format("%d", settings.IPGEO_BATCH_LIMIT),
        body_limit = format("%d", settings.IPGEO_BODY_LIMIT),
    }
    local list = {}
    for code, entry in pairs(contract.ERRORS) do
        if entry.nginx then
            list[#list + 1] = {
                code = code,
                status = entry.status,
                message = gsub(entry.message, "{([%w_]+)}", limits),
            }
        end
    end
    sort(list, function(a, b) return a.status < b.status end)
    return list
end


local function statuses(list)
    local found = {}
    for i, entry in ipairs(list) do
        found[i] = entry.status
    end
    return found
end


local function entries(list)
    local texts = {}
    for i, upstream in ipairs(list) do
        texts[i] = upstreams.entry(upstream)
    end
    return texts
end


-- The workers' user; false if not root: nginx would then ignore `user`, with a warning.
local function user(settings)
    return posix.is_root()
        and { name = settings.IPGEO_USER, group = posix.group_of(settings.IPGEO_USER) }
end


-- Returns the table for a template. `lua`: what this nginx needs for Lua (build.lua); if false, it
-- has none, and `parts` is the folder of replacements. `resolved`: the addresses of each name.
function _M.environment(settings, lua, parts, resolved)
    local open_files = posix.open_files(MAX_OPEN_FILES)
    local servers, has_primary = upstreams.servers(settings.IPGEO_UPSTREAMS, resolved)
    local own_errors = errors(settings)
    return strict({
        ipairs = ipairs,
        settings = strict(settings, "setting"),
        limits = strict(contract.LIMITS, "limit"),
        lua = lua,
        parts = parts,
        user = user(settings),
        open_files = open_files,
        connections = min(MAX_CONNECTIONS, open_files),
        sockets = listens.sockets(settings.IPGEO_BIND),
        upstreams = entries(settings.IPGEO_UPSTREAMS),
        servers = servers,
        has_primary = has_primary,
        tries_timeout = tries_timeout(settings.IPGEO_UPSTREAM_TIMEOUT),
        errors = own_errors,
        error_statuses = statuses(own_errors),
        error_default = contract.ERRORS.internal.message,
    }, "value")
end


return _M
