-- IPGEO_UPSTREAMS and IPGEO_FALLBACK_BIND: their grammar, and what nginx gets of the first.
--
--     ADDRESS [weight=N] [max_conns=N] [max_fails=N] [fail_timeout=TIME] [backup] [down], ...
--
-- ADDRESS is unix:/PATH, IPV4:PORT, [IPV6]:PORT or NAME:PORT. Messages come without the setting's
-- name.

local addresses = require "addresses"
local contract = require "ipgeo.contract"
local text = require "text"


local concat, insert = table.concat, table.insert
local find, format, match, sub = string.find, string.format, string.match, string.sub
local ipairs = ipairs
local shown = text.shown
local unpack = unpack

-- A socket's address has 108 bytes, the last of them NUL (unix(7)).
local SOCKET_PATH_MAX = contract.LIMITS.max_socket_path

-- Patterns of what follows a name and `=`, and the most characters; false: a name alone.
local ARGUMENTS = {
    weight = { "^[1-9]%d*$", 5 },
    max_conns = { "^%d+$", 5 },
    max_fails = { "^%d+$", 5 },
    fail_timeout = { "^%d+[smh]?$", 5 },
    backup = false,
    down = false,
}

-- One closed kept connection must not take a healthy node out. A node that is out is tried again by
-- one request in each fail_timeout: soon enough when it is back, cheap enough while it hangs.
local DEFAULTS = { { "max_fails", "3" }, { "fail_timeout", "2s" } }


local _M = {}


local function socket_problem(path)
    if sub(path, 1, 1) ~= "/" then
        return "needs an absolute path after unix:"
    elseif not text.is_safe_path(path) then
        return "holds a character that is not allowed in a path"
    elseif #path > SOCKET_PATH_MAX then
        return format("is too long: a socket's path has at most %d bytes, this one has %d",
            SOCKET_PATH_MAX, #path)
    end
end


-- Returns what is wrong with an ADDRESS; nil if nothing is.
local function address_problem(address)
    local path = match(address, "^unix:(.*)$")
    if path then
        return socket_problem(path)
    end
    local host = addresses.split_port(address)
    if not host then
        return "needs a port from 1 to 65535 after its address"
    elseif not addresses.is_host(host) then
        return "has a bad address: it is unix:/PATH, IPV4:PORT, [IPV6]:PORT or NAME:PORT"
    end
end


local function is_valid(name, value)
    local rule = ARGUMENTS[name]
    if not (rule and value) then
        return not (rule or value)
    end
    local digits = match(value, "^%d*")
    return find(value, rule[1]) ~= nil and #digits <= rule[2]
end


-- Returns what is wrong with the list of arguments; nil if nothing is.
local function arguments_problem(arguments)
    local given = {}
    for _, argument in ipairs(arguments) do
        local name, value = match(argument, "^([^=]*)=?(.*)$")
        value = find(argument, "=", 1, true) and value or nil
        if ARGUMENTS[name] == nil then
            return "has an unknown argument: " .. shown(argument)
        elseif not is_valid(name, value) then
            return "has a bad value: " .. shown(argument)
        elseif given[name] then
            return format("has %s twice", name)
        end
        given[name] = true
    end
end


-- Takes what looks like an argument off the end of an entry: a socket's path may hold spaces.
local function split_entry(entry)
    local address, arguments = entry, {}
    while true do
        local head, argument = match(address, "^(.*[^ ]) +([^ ]+)$")
        local name, rest = match(argument or "", "^([%a_]+)(.*)$")
        if not name or rest ~= "" and sub(rest, 1, 1) ~= "=" then
            return address, arguments
        end
        address = head
        insert(arguments, 1, argument)
    end
end


-- The arguments with the defaults of those that are missing; `all`: as nginx takes them for nodes
-- that have the same turn each and are never left out.
local function completed(arguments)
    local own, all = {}, {}
    for _, argument in ipairs(arguments) do
        own[#own + 1] = argument
        own[match(argument, "^[^=]*")] = true
    end
    for _, default in ipairs(DEFAULTS) do
        own[#own + 1] = not own[default[1]] and concat(default, "=") or nil
    end
    for _, argument in ipairs(own) do
        local name = match(argument, "^[^=]*")
        if name ~= "weight" and name ~= "backup" then
            all[#all + 1] = name == "max_fails" and "max_fails=0" or argument
        end
    end
    return own, all, own.backup == true
end


-- Whether it is a name that has to be resolved.
local function is_name(address)
    if find(address, "^unix:") or find(address, "^%[") then
        return false
    end
    return not addresses.is_ipv4(addresses.split_port(address))
end


-- Reads the entries of a list; `read(entry)` returns an address and its value, or nil and what is
-- wrong.
local function read_all(list, read)
    local entries, problem = text.entries(list)
    if not entries then
        return nil, problem
    end
    local values, seen = {}, {}
    for _, entry in ipairs(entries) do
        local address, value = read(entry)
        problem = not address and value or seen[address] and "repeats an address"
        if problem then
            return nil, format(": '%s' %s", shown(entry), problem)
        end
        seen[address] = true
        values[#values + 1] = value
    end
    return values
end


local function read_upstream(entry)
    local address, arguments = split_entry(entry)
    local problem = address_problem(address) or arguments_problem(arguments)
    if problem then
        return nil, problem
    end
    local own, all, is_backup = completed(arguments)
    return address, {
        address = address,
        is_name = is_name(address),
        is_backup = is_backup,
        arguments = own,
        arguments_of_all = all,
    }
end


-- Parses IPGEO_UPSTREAMS; returns a list of upstreams, or nil and what is wrong.
function _M.parse(list)
    return read_all(list, read_upstream)
end


-- Parses a list of addresses alone; returns them, or nil and what is wrong.
function _M.parse_binds(list)
    return read_all(list, function(entry)
        local problem = address_problem(entry)
        return not problem and entry or nil, problem or entry
    end)
end


local function addresses_of(upstream, resolved)
    if upstream.is_name then
        return resolved[upstream.address] or {}
    end
    return { upstream.address }
end


-- The entry of the list that an upstream is, with the defaults: to be parsed again.
function _M.entry(upstream)
    return concat({ upstream.address, unpack(upstream.arguments) }, " ")
end


local function server(address, upstream)
    return {
        address = address,
        names = {},
        arguments = upstream.arguments,
        arguments_of_all = upstream.arguments_of_all,
    }
end


-- What nginx gets: a server for each address, each address once, with all names that have it.
-- `resolved`: the addresses of each name. Also returns whether there is one that is no backup:
-- nginx starts with no fewer.
function _M.servers(upstreams, resolved)
    local servers, by_address, has_primary = {}, {}, false
    for _, upstream in ipairs(upstreams) do
        for _, address in ipairs(addresses_of(upstream, resolved)) do
            if not by_address[address] then
                by_address[address] = server(address, upstream)
                servers[#servers + 1] = by_address[address]
                has_primary = has_primary or not upstream.is_backup
            end
            local names = by_address[address].names
            names[#names + 1] = upstream.is_name and upstream.address or nil
        end
    end
    return servers, has_primary
end


return _M
