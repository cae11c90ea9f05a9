-- The fast path: a plain GET, answered without the coroutine and the output of a content handler.
-- query.lua answers all other requests, and those with an error.

local ffi = require "ffi"
local LIMITS = require("ipgeo.contract").LIMITS
local headers = require "ipgeo.http.headers"
local ipv4 = require "ipgeo.address"
local store = require("ipgeo.store").default


local byte, find = string.byte, string.find
local cast, copy = ffi.cast, ffi.copy
local count = headers.count
local get_method = ngx.req.get_method
local header, var = ngx.header, ngx.var
local lookup = store.lookup
local parse4_at = ipv4.parse4_at

-- Headers by which nginx would change the answer, or which ask for the mark, even if empty.
local SPECIAL = headers.names {
    "If-Match", "If-Modified-Since", "If-Unmodified-Since", "X-IPGeo-Relay",
}
-- "ip=", with which the usual query string begins.
local LOWER_I, LOWER_P, EQUALS, PREFIX_LENGTH = 0x69, 0x70, 0x3d, 3
local OBJECT_SUFFIX = "&format=object"
local MAX_IP = LIMITS.max_address_bytes

local text_t = ffi.typeof("const char *")
-- An address and its NUL.
local address = ffi.new("char[?]", MAX_IP + 1)


local _M = {}


-- Answers the address in the `length` bytes at `ip` by an object.
local function answer_object(ip, length)
    if length > MAX_IP then
        return nil
    end
    copy(address, ip, length)
    address[length] = 0
    local high, low = parse4_at(address)
    if not high then
        return nil
    end
    return lookup(store, high, low, true, address, length)
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
    if not suffix or #query ~= suffix + #OBJECT_SUFFIX - 1 then
        return nil
    end
    return answer_object(ip, suffix - 1 - PREFIX_LENGTH)
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
