-- The two forms of an answer. The blob holds the complete array, and the object without its
-- beginning, which contains the address: `{"ip":"A",`.

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


-- Whether `name` is the format of objects; nil if there is no such format. Without a name: "array".
function _M.is_object(name)
    if name == nil or name == "array" then
        return false
    end
    return name == "object" or nil
end


local function reserve_scratch(length)
    return length <= SCRATCH and scratch or buffer_t(length)
end


-- Writes an object to where `reserve(length)` has room for it. Returns that place and the length.
local function write_object(reserve, view, location, ip, ip_length)
    local tail, tail_length = locate(view, view.locations + location)
    local ip_end = #HEAD + ip_length
    local length = ip_end + #IP_END + tail_length
    local target = reserve(length)
    copy(target, HEAD, #HEAD)
    copy(target + #HEAD, ip, ip_length)
    copy(target + ip_end, IP_END, #IP_END)
    copy(target + ip_end + #IP_END, tail, tail_length)
    return target, length
end


-- Copies the answer for an address given by its high and low 16 bits into a Lua string. An object
-- repeats the address as the `ip_length` bytes at `ip`. Returns nil if the database has no answer.
function _M.copy(view, high, low, as_object, ip, ip_length)
    local location = find(view, high, low)
    if not location then
        return nil
    elseif as_object then
        return ffi_string(write_object(reserve_scratch, view, location, ip, ip_length))
    end
    return ffi_string(locate(view, location))
end


-- Writes the same answer to where `reserve(length)` has room for it. Returns whether the database
-- has one.
function _M.write(reserve, view, high, low, as_object, ip, ip_length)
    local location = find(view, high, low)
    if not location then
        return false
    elseif as_object then
        write_object(reserve, view, location, ip, ip_length)
    else
        local source, length = locate(view, location)
        copy(reserve(length), source, length)
    end
    return true
end


return _M
