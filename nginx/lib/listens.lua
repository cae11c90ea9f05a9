-- IPGEO_BIND: the addresses that nginx listens on.
--
--     IPV4 | IPV4:PORT | IPV6 | [IPV6] | [IPV6]:PORT, separated by commas or blanks
--
-- compiler/ipgeo/settings/listens.py has the same grammar. Messages of `parse` come without the
-- setting's name.

local addresses = require "addresses"
local posix = require "posix"
local text = require "text"


local concat = table.concat
local format, gmatch, match = string.format, string.gmatch, string.match
local ipairs = ipairs
local shown = text.shown
local tostring = tostring

local ANY_IPV6 = ("\0"):rep(16)


local _M = {}


-- Returns the address of an entry, without brackets, and its port, if it has one; nil if the entry
-- is not valid.
local function split(entry)
    local address = addresses.parse(entry)
    if address then
        return address
    end
    local host, port = addresses.split_port(entry)
    -- IPv6 needs brackets before a port.
    if host and (addresses.is_ipv4(host) or match(host, "^%[")) then
        return addresses.parse(host), port
    end
end


-- An entry: `host` as nginx writes it, `port` (a text; nil for none), both as `address`, and
-- `bytes`, which all texts of an address share.
local function new(host, port, bytes)
    local address = port and format("%s:%s", host, port) or host
    return { address = address, host = host, port = port, bytes = bytes }
end


-- Returns the entry of a text; nil if it is not valid.
local function read(entry)
    local address, port = split(entry)
    if address then
        local host = addresses.is_ipv4(address) and address or format("[%s]", address)
        return new(host, port, posix.address_bytes(address))
    end
end


local function has(list, entry)
    for _, other in ipairs(list) do
        if other.bytes == entry.bytes and other.port == entry.port then
            return true
        end
    end
    return false
end


-- Parses the setting; returns a list of entries, or nil and what is wrong.
function _M.parse(value)
    local parts, problem = text.entries(value)
    if not parts then
        return nil, problem
    end
    local list = {}
    for part in gmatch(concat(parts, " "), "[^ ]+") do
        local entry = read(part)
        if not entry then
            return nil, format(": '%s' is not IPV4, IPV6, IPV4:PORT or [IPV6]:PORT", shown(part))
        elseif has(list, entry) then
            return nil, format(": '%s' repeats an address", shown(part))
        end
        list[#list + 1] = entry
    end
    if #list == 0 then
        return nil, format(" must be a list of addresses, not '%s'", shown(value))
    end
    return list
end


-- The entries with `port` where they have none. Returns nil and what is wrong if this makes two of
-- them the same, or if the kernel lacks IPv6.
function _M.complete(list, port)
    local completed = {}
    for i, entry in ipairs(list) do
        local whole = new(entry.host, entry.port or tostring(port), entry.bytes)
        if has(completed, whole) then
            return nil, format("IPGEO_BIND: '%s' repeats an address", entry.address)
        elseif #whole.bytes == #ANY_IPV6 and not posix.has_ipv6() then
            return nil, format("IPGEO_BIND: this host has no IPv6, so it cannot listen on '%s'",
                entry.address)
        end
        completed[i] = whole
    end
    return completed
end


-- Whether an IPv4 address of the list has this port.
local function has_ipv4(list, port)
    for _, entry in ipairs(list) do
        if #entry.bytes < #ANY_IPV6 and entry.port == port then
            return true
        end
    end
    return false
end


-- What a template needs of each entry of a completed list: `address`, and whether its socket also
-- `takes_ipv4`. [::] does, unless an IPv4 address with the same port is listed: the kernel would
-- not bind both.
function _M.sockets(list)
    local sockets = {}
    for i, entry in ipairs(list) do
        sockets[i] = {
            address = entry.address,
            takes_ipv4 = entry.bytes == ANY_IPV6 and not has_ipv4(list, entry.port),
        }
    end
    return sockets
end


return _M
