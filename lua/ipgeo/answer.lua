-- The two forms of an answer. The blob has the array as it is sent; of the object it has all that
-- follows the address, with which the object begins: `{"ip":"A",`.
--
-- An address is given as `high` and `low`, as address.parse returns it.

local ffi = require "ffi"
local addresses = require "ipgeo.address"
local find_4 = require "ipgeo.blob.find"
local find_6 = require "ipgeo.blob.find6"
local rows = require "ipgeo.blob.answer"
local views = require "ipgeo.blob.view"


local bytes6 = addresses.bytes6
local copy, ffi_string = ffi.copy, ffi.string
local is_whole, locate, put = rows.is_whole, rows.locate, rows.put
local min = math.min

local ARRAY, OBJECT = views.ARRAY, views.OBJECT
local HEAD, IP_END = '{"ip":"', '",'
local MAX_TAIL = rows.MAX

-- Where answers are put together.
local scratch = ffi.new("uint8_t[?]", #HEAD + addresses.MAX_LENGTH + #IP_END + rows.ROOM)


local _M = {}


-- Whether `name` is the format of objects; nil if there is no such format. None at all is "array".
function _M.is_object(name)
    if name == nil or name == "array" then
        return false
    end
    return name == "object" or nil
end


local function find(view, high, low)
    if high >= 0 then
        return (find_4(view, high, low))
    end
    return (find_6(view, bytes6))
end


-- Puts an object together in `scratch`. Returns its length.
local function put_object(view, row, ip, ip_length)
    local at = #HEAD + ip_length + #IP_END
    copy(scratch, HEAD, #HEAD)
    copy(scratch + #HEAD, ip, ip_length)
    copy(scratch + at - #IP_END, IP_END, #IP_END)
    if not is_whole(view, OBJECT) then
        return at + put(view, row, OBJECT, scratch + at)
    end
    local tail, length = locate(view, row, OBJECT)
    length = min(length, MAX_TAIL) -- while another process overwrites it
    copy(scratch + at, tail, length)
    return at + length
end


-- Copies the answer for an address into a Lua string. An object repeats the address as the
-- `ip_length` bytes at `ip`. Returns nil if the database has no answer.
function _M.copy(view, high, low, as_object, ip, ip_length)
    local row = find(view, high, low)
    if not row then
        return nil
    elseif as_object then
        return (ffi_string(scratch, put_object(view, row, ip, ip_length)))
    elseif is_whole(view, ARRAY) then
        return (ffi_string(locate(view, row, ARRAY)))
    end
    return (ffi_string(scratch, put(view, row, ARRAY, scratch)))
end


-- Writes the same answer to where `reserve(length)` has room for it. Returns whether the database
-- has one.
function _M.write(reserve, view, high, low, as_object, ip, ip_length)
    local row = find(view, high, low)
    if not row then
        return false
    end
    if not as_object and is_whole(view, ARRAY) then
        local source, length = locate(view, row, ARRAY)
        copy(reserve(length), source, length)
        return true
    end
    local length
    if as_object then
        length = put_object(view, row, ip, ip_length)
    else
        length = put(view, row, ARRAY, scratch)
    end
    copy(reserve(length), scratch, length)
    return true
end


return _M
