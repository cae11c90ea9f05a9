-- The two forms of an answer. The blob has the array as it is sent; of the object it has all that
-- follows the address, with which the object begins: `{"ip":"A",`.

local ffi = require "ffi"
local blob = require "ipgeo.blob.view"


local copy, ffi_string = ffi.copy, ffi.string
local find, locate = blob.find, blob.locate

local HEAD, IP_END = '{"ip":"', '",'
-- Objects up to this size need no buffer of their own.
local SCRATCH = 8192

local buffer_t = ffi.typeof("uint8_t[?]")
local scratch = buffer_t(SCRATCH)


local _M = {}


-- Whether `name` is the format of objects; nil if there is no such format. None at all is "array".
function _M.is_object(name)
    if name == nil or name == "array" then
        return false
    end
    return name == "object" or nil
end


-- Puts an object together. Returns where it is and its length in bytes.
local function build_object(view, location, ip, ip_length)
    local tail, tail_length = locate(view, view.locations + location)
    local ip_end = #HEAD + ip_length
    local length = ip_end + #IP_END + tail_length
    local buffer = length <= SCRATCH and scratch or buffer_t(length)
    copy(buffer, HEAD, #HEAD)
    copy(buffer + #HEAD, ip, ip_length)
    copy(buffer + ip_end, IP_END, #IP_END)
    copy(buffer + ip_end + #IP_END, tail, tail_length)
    return buffer, length
end


-- Finds the answer for an address given by its high and low 16 bits. An object repeats the address
-- as the `ip_length` bytes at `ip`. Returns where the answer is until the next call, and its length
-- in bytes; nil if the database has none.
function _M.locate(view, high, low, as_object, ip, ip_length)
    local location = find(view, high, low)
    if not location then
        return nil
    end
    if as_object then
        return build_object(view, location, ip, ip_length)
    end
    return locate(view, location)
end


-- The same answer as a Lua string, or nil.
function _M.copy(view, high, low, as_object, ip, ip_length)
    local start, length = _M.locate(view, high, low, as_object, ip, ip_length)
    return start and ffi_string(start, length)
end


return _M
