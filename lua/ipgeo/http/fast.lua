-- The fast path: a plain GET, answered without the coroutine and the output of a content handler.
-- What it does not answer is no error: query.lua takes it.

local ffi = require "ffi"
local LIMITS = require("ipgeo.contract").LIMITS
local blob = require "ipgeo.blob.view"
local headers = require "ipgeo.http.headers"
local ipv4 = require "ipgeo.address"
local store = require("ipgeo.store").default


local byte, find = string.byte, string.find
local cast, copy, ffi_string = ffi.cast, ffi.copy, ffi.string
local count = headers.count
local find_location, locate = blob.find, blob.locate
local get_method = ngx.req.get_method
local header, var = ngx.header, ngx.var
local lookup, read = store.lookup, store.read
local parse_at = ipv4.parse_at

-- By which nginx would change the answer, or which asks for the mark. An empty one does, too.
local SPECIAL = headers.names {
    "If-Match", "If-Modified-Since", "If-Unmodified-Since", "X-IPGeo-Relay",
}
-- "ip=", with which the usual query string begins.
local LOWER_I, LOWER_P, EQUALS, IP_LENGTH = 0x69, 0x70, 0x3d, 3
local OBJECT_SUFFIX = "&format=object"
local MAX_IP, MAX_ANSWER = LIMITS.max_address_bytes, 8192

local text_t = ffi.typeof("const char *")


local _M = {}


-- Where an object answer is put together: `{"ip":"A",` and what the blob has behind it.
local OBJECT_HEAD, IP_TAIL = '{"ip":"', '",'
local scratch = ffi.new("uint8_t[?]", #OBJECT_HEAD + MAX_IP + #IP_TAIL + MAX_ANSWER)
ffi.copy(scratch, OBJECT_HEAD, #OBJECT_HEAD)


-- For store.read: puts the object's end behind the `used` bytes in `scratch`. Returns the whole, or
-- nil for no data.
local function finish_object(view, high, low, used)
    local location = find_location(view, high, low)
    if not location then
        return nil
    end
    local members, length = locate(view, view.locations + location)
    if length > MAX_ANSWER then
        return nil -- query.lua has no such limit
    end
    copy(scratch + used, members, length)
    return ffi_string(scratch, used + length)
end


-- The object for the address that the `length` bytes at `ip` spell. Returns the generation and the
-- answer, or nil.
local function object_answer(ip, length)
    if length > MAX_IP then
        return nil
    end
    local used = #OBJECT_HEAD + length
    copy(scratch + #OBJECT_HEAD, ip, length)
    scratch[used] = 0
    local high, low = parse_at(scratch + #OBJECT_HEAD)
    if not high then
        return nil
    end
    copy(scratch + used, IP_TAIL, #IP_TAIL)
    return read(store, finish_object, high, low, used + #IP_TAIL)
end


-- Answers a query string as nearly all are: `ip=A`, or `ip=A&format=object`, and nothing else.
-- nginx lets no NUL into it. Returns the generation and the answer, or nil for any other query and
-- for every error.
local function answer_plain_query(query)
    local i, p, equals = byte(query, 1, IP_LENGTH)
    if i ~= LOWER_I or p ~= LOWER_P or equals ~= EQUALS then
        return nil
    end
    local ip = cast(text_t, query) + IP_LENGTH
    local high, low = parse_at(ip)
    if high then
        return lookup(store, high, low, false)
    end
    local behind = find(query, OBJECT_SUFFIX, IP_LENGTH + 1, true)
    if not behind or #query ~= behind + #OBJECT_SUFFIX - 1 then
        return nil
    end
    return object_answer(ip, behind - 1 - IP_LENGTH)
end


-- For set_by_lua: the answer to a plain GET, which nginx then returns by itself. Empty for
-- everything else.
function _M.fast_get()
    local method = get_method()
    if method ~= "GET" and method ~= "HEAD" then
        return ""
    end
    local query = var.args
    if not query or count(SPECIAL) > 0 then
        return ""
    end
    local opened, answer = answer_plain_query(query)
    if not answer then
        return ""
    end
    header["ETag"] = opened.etag
    return answer
end


return _M
