-- The fast path: a plain GET, answered without the coroutine and the output of a content handler.
-- query.lua answers all other requests, and those with an error.

local ffi = require "ffi"
local addresses = require "ipgeo.address"
local headers = require "ipgeo.http.headers"
local store = require("ipgeo.store").default


local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub
local canonical = addresses.canonical
local cast = ffi.cast
local count = headers.count
local get_method = ngx.req.get_method
local header, var = ngx.header, ngx.var
local lookup = store.lookup
local parse, parse_bytes, parse4_at = addresses.parse, addresses.parse_bytes, addresses.parse4_at

-- Headers by which nginx would change the answer, or which ask for the mark, even if empty.
local SPECIAL = headers.names {
    "If-Match", "If-Modified-Since", "If-Unmodified-Since", "X-IPGeo-Relay",
}
-- "ip=", with which the usual query string begins.
local LOWER_I, LOWER_P, EQUALS, PREFIX_LENGTH = 0x69, 0x70, 0x3d, 3
local OBJECT_SUFFIX = "&format=object"
-- A colon as libraries that make URLs write it.
local ESCAPED_COLON = "%%3[Aa]"

local text_t = ffi.typeof("const char *")


local _M = {}


-- Parses the `length` bytes at `ip`, which are in `query`. Returns what addresses.parse does; nil
-- for other escapes than those of colons.
local function parse_usual(query, ip, length)
    local high, low, is_ipv6 = parse_bytes(ip, length)
    if not high and find(query, "%", PREFIX_LENGTH + 1, true) then
        local text = sub(query, PREFIX_LENGTH + 1, PREFIX_LENGTH + length)
        high, low, is_ipv6 = parse((gsub(text, ESCAPED_COLON, ":")))
    end
    return high, low, is_ipv6
end


-- Answers the usual query strings: `ip=A` and `ip=A&format=object`. nginx lets no NUL into them.
-- Returns what store.lookup does, or nil for any other query and for every error.
local function answer_usual_query(query)
    local i, p, equals = byte(query, 1, PREFIX_LENGTH)
    if i ~= LOWER_I or p ~= LOWER_P or equals ~= EQUALS then
        return nil
    end
    local ip = cast(text_t, query) + PREFIX_LENGTH
    local high, low = parse4_at(ip)
    if high then
        return lookup(store, high, low, false)
    end
    local suffix = find(query, OBJECT_SUFFIX, PREFIX_LENGTH + 1, true)
    if suffix and #query ~= suffix + #OBJECT_SUFFIX - 1 then
        return nil
    end
    local length = (suffix or #query + 1) - 1 - PREFIX_LENGTH
    local is_ipv6
    high, low, is_ipv6 = parse_usual(query, ip, length)
    if not high then
        return nil
    elseif not suffix then
        return lookup(store, high, low, false)
    end
    ip, length = canonical(is_ipv6, ip, length)
    return lookup(store, high, low, true, ip, length)
end


-- For set_by_lua: the answer to a plain GET or HEAD, which nginx then returns by itself; empty for
-- every other request.
function _M.fast_get()
    local method = get_method()
    if method ~= "GET" and method ~= "HEAD" then
        return ""
    end
    local query = var.args
    if not query or count(SPECIAL) > 0 then
        return ""
    end
    local answer, _, snapshot = answer_usual_query(query)
    if not answer then
        return ""
    end
    header["ETag"] = snapshot.etag
    return answer
end


return _M
