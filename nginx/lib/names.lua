-- The names in IPGEO_UPSTREAMS and their addresses.

local addresses = require "addresses"
local process = require "process"


local format, gmatch, match = string.format, string.gmatch, string.match
local ipairs = ipairs
local setmetatable = setmetatable
local sort = table.sort

-- The time a resolver needs if it has to ask a second server.
local RESOLVE_SECONDS = "6"


local _M = {}
local methods = {}
local metatable = { __index = methods }


-- A resolver of the names among the upstreams; `report(message)` is called for changes.
function _M.new(upstreams, report)
    local self = setmetatable({
        resolved = {}, -- the last known addresses of each name
        failed = {}, -- names that did not resolve the last time
        report = report,
    }, metatable)
    self:use(upstreams)
    return self
end


-- Takes another list of upstreams, and keeps the known addresses.
function methods:use(upstreams)
    self.upstreams, self.names = upstreams, {}
    for _, upstream in ipairs(upstreams) do
        self.names[#self.names + 1] = upstream.is_name and upstream.address or nil
    end
end


local function with_port(address, port)
    if addresses.is_ipv4(address) then
        return format("%s:%s", address, port)
    elseif addresses.is_ipv6(address) and not addresses.is_link_local(address) then
        return format("[%s]:%s", address, port)
    end
end


-- Returns the addresses of NAME:PORT, each once and always in the same order: the order of an
-- answer means nothing. A link-local one would need a zone, which nginx does not take.
local function look_up(name)
    local host, port = addresses.split_port(name)
    local status, answer = process.output { "timeout", RESOLVE_SECONDS, "getent", "ahosts", host }
    local found = {}
    for line in gmatch(status == 0 and answer or "", "[^\n]+") do
        local address = with_port(match(line, "^%S*"), port)
        if address and not found[address] then
            found[address] = true
            found[#found + 1] = address
        end
    end
    sort(found)
    return found
end


-- A name that does not resolve keeps its last addresses: a DNS outage says nothing about the nodes.
-- The beginning and the end of a failure are reported once.
local function update(self, name, found)
    if #found > 0 then
        if self.failed[name] then
            self.report(format("IPGEO_UPSTREAMS: '%s' resolves now", name))
        end
        self.failed[name] = nil
        self.resolved[name] = found
    elseif not self.failed[name] then
        self.failed[name] = true
        self.report(format("IPGEO_UPSTREAMS: '%s' does not resolve and %s", name,
            self.resolved[name] and "keeps its last addresses" or "is left out"))
    end
end


-- Looks all names up.
function methods:resolve()
    for _, name in ipairs(self.names) do
        update(self, name, look_up(name))
    end
end


-- The addresses of each name in `server` lines: "ADDRESS" …; # NAME…
local function addresses_by_name(lines)
    local found, seen = {}, {}
    for address, names in gmatch(lines, 'server "([^"\n]*)"[^\n]*; # ([^\n]*)') do
        for name in gmatch(names, "%S+") do
            local list, key = found[name] or {}, address .. " " .. name
            list[#list + 1] = not seen[key] and address or nil
            found[name], seen[key] = list, true
        end
    end
    return found
end


-- Takes over the addresses in the `server` lines of a rendered configuration, for names without
-- known addresses.
function methods:recall(lines)
    local found = addresses_by_name(lines)
    for _, name in ipairs(self.names) do
        if not self.resolved[name] and not self.failed[name] then
            self.resolved[name] = found[name]
            self.failed[name] = not found[name] or nil
        end
    end
end


return _M
