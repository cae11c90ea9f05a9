-- Addresses as text. A parsed address is `high` and `low`: of IPv4 the high and the low 16 bits. A
-- lookup needs them so, and both stay small integers, where a whole address would become a double.
-- Of IPv6 `high` is V6 and the 16 bytes are in `bytes6`, until the next address is parsed.
--
-- An IPv6 address that contains an IPv4 address, in ::ffff:0:0/96 (mapped) or 64:ff9b::/96 (NAT64),
-- is parsed as the latter, for that is where it leads.

local ffi = require "ffi"
local bit = require "bit"
local address6 = require "ipgeo.address6"
local LIMITS = require("ipgeo.contract").LIMITS


local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local cast, C = ffi.cast, ffi.C
local find = string.find
local is_mapped, is_nat64 = address6.is_mapped, address6.is_nat64
local type = type

ffi.cdef "int inet_pton(int family, const char *text, void *address);"

local text_t = ffi.typeof("const char *")
local parsed = ffi.new("uint8_t[4]")
local bytes6 = ffi.new("uint8_t[?]", 16) -- see row_number in blob/answer.lua

local AF_INET, AF_INET6 = 2, 10
local ZERO, DOT = 0x30, 0x2e
local V6 = -1
-- The longest text of an address in bytes: six groups and a dotted end; of IPv4.
local MAX_LENGTH, MAX_LENGTH4 = 45, LIMITS.max_address_bytes
local BROKEN = 4


local _M = { V6 = V6, MAX_LENGTH = MAX_LENGTH, bytes6 = bytes6, format6 = address6.format }


-- Parses the text at `address` up to the next NUL: IPv4 in strict dotted decimal without leading
-- zeros. Returns its high and low 16 bits, or nil.
function _M.parse4_at(address)
    if C.inet_pton(AF_INET, address, parsed) ~= 1 then
        return nil
    end
    return parsed[0] * 256 + parsed[1], parsed[2] * 256 + parsed[3]
end


-- The same for an address of either family; of IPv6 without a zone. Returns `high` and `low` (see
-- above) and whether the text was an IPv6 one, which is in `bytes6` then; or nil.
function _M.parse_at(address)
    local high, low = _M.parse4_at(address)
    if high then
        return high, low, false
    elseif C.inet_pton(AF_INET6, address, bytes6) ~= 1 then
        return nil
    elseif is_mapped(bytes6) or is_nat64(bytes6) then
        return bytes6[12] * 256 + bytes6[13], bytes6[14] * 256 + bytes6[15], true
    end
    return V6, 0, true
end


local function is_text(value, max_length)
    return type(value) == "string" and #value <= max_length and not find(value, "\0", 1, true)
end


-- Parses a Lua string as `parse4_at` does. Returns nil, too, for other types and for a string with
-- a NUL.
function _M.parse4(text)
    if not is_text(text, MAX_LENGTH4) then
        return nil
    end
    return _M.parse4_at(cast(text_t, text))
end


-- The same as `parse_at`.
function _M.parse(text)
    if not is_text(text, MAX_LENGTH) then
        return nil
    end
    return _M.parse_at(cast(text_t, text))
end


-- Reads an IPv4 address byte by byte, for loops over many: takes the next byte and the state so far
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


-- The high and the low 16 bits of what `step` has read, or nil if it is not an address.
function _M.finish(address, octet, digits, dots)
    if dots ~= 3 or digits == 0 then
        return nil
    end
    address = bor(lshift(address, 8), octet)
    return rshift(address, 16), band(address, 0xffff)
end


return _M
