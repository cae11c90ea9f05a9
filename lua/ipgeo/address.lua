-- IPv4 addresses as text. An address is a pair: its high and its low 16 bits. A lookup needs these
-- halves, and both stay small integers; a whole address would become a double.

local ffi = require "ffi"
local bit = require "bit"
local LIMITS = require("ipgeo.contract").LIMITS


local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local cast, C = ffi.cast, ffi.C
local find = string.find
local type = type

ffi.cdef "int inet_pton(int family, const char *text, void *address);"

local text_t = ffi.typeof("const char *")
local parsed = ffi.new("uint8_t[4]")

local AF_INET = 2
local ZERO, DOT = 0x30, 0x2e
local MAX_LENGTH = LIMITS.max_address_bytes
local BROKEN = 4


local _M = {}


-- Parses the text at `address` up to the next NUL: strict dotted decimal without leading zeros.
-- Returns the high and the low 16 bits, or nil.
function _M.parse_at(address)
    if C.inet_pton(AF_INET, address, parsed) ~= 1 then
        return nil
    end
    return parsed[0] * 256 + parsed[1], parsed[2] * 256 + parsed[3]
end


-- Parses a Lua string. Returns nil, too, for other types and for a string with a NUL.
function _M.parse(text)
    if type(text) ~= "string" or #text > MAX_LENGTH or find(text, "\0", 1, true) then
        return nil
    end
    return _M.parse_at(cast(text_t, text))
end


-- Reads an address byte by byte, for loops over many: takes the next byte and the state so far
-- (address, octet, digits, dots; all 0 at first) and returns the next state. Straight code: LuaJIT
-- does not compile the call of a function that has a short loop.
function _M.step(byte, address, octet, digits, dots)
    local digit = byte - ZERO
    if digit >= 0 and digit <= 9 then
        octet = octet * 10 + digit
        if octet > 255 or (digits == 1 and octet < 10) then -- too large, or a leading zero
            return 0, 0, 0, BROKEN
        end
        return address, octet, digits + 1, dots
    elseif byte == DOT and digits > 0 and dots < 3 then
        return bor(lshift(address, 8), octet), 0, 0, dots + 1
    end
    return 0, 0, 0, BROKEN
end


-- The high and the low 16 bits of the address that `step` has read, or nil if it is not valid.
function _M.finish(address, octet, digits, dots)
    if dots ~= 3 or digits == 0 then
        return nil
    end
    address = bor(lshift(address, 8), octet)
    return rshift(address, 16), band(address, 0xffff)
end


return _M
