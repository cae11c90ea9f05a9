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
local cast, copy, C = ffi.cast, ffi.copy, ffi.C
local format6 = address6.format
local is_mapped, is_nat64 = address6.is_mapped, address6.is_nat64
local type = type

ffi.cdef [[
    int inet_pton(int family, const char *text, void *address);
    size_t strlen(const char *text);
]]

local text_t = ffi.typeof("const char *")
local parsed = ffi.new("uint8_t[4]")
local bytes6 = ffi.new("uint8_t[?]", 16) -- see row_number in blob/answer.lua

local AF_INET, AF_INET6 = 2, 10
local ZERO, DOT = 0x30, 0x2e
local V6 = -1
-- The longest text of an address in bytes: six groups of IPv6 and a dotted end.
local MAX_LENGTH = LIMITS.max_address_bytes
local BROKEN = 4

-- A text and its NUL.
local terminated = ffi.new("char[?]", MAX_LENGTH + 1)


local _M = { V6 = V6, MAX_LENGTH = MAX_LENGTH, bytes6 = bytes6 }


-- Parses the text at `address` up to the next NUL: IPv4 in strict dotted decimal without leading
-- zeros. Returns its high and low 16 bits, or nil.
function _M.parse4_at(address)
    if C.inet_pton(AF_INET, address, parsed) ~= 1 then
        return nil
    end
    return parsed[0] * 256 + parsed[1], parsed[2] * 256 + parsed[3]
end


-- The same for IPv6 without a zone, which is in `bytes6` then. Returns `high` and `low` (see above)
-- or nil.
local function parse6_at(address)
    if C.inet_pton(AF_INET6, address, bytes6) ~= 1 then
        return nil
    elseif is_mapped(bytes6) or is_nat64(bytes6) then
        return bytes6[12] * 256 + bytes6[13], bytes6[14] * 256 + bytes6[15]
    end
    return V6, 0
end


-- Copies the `length` bytes at `source` to `terminated`. Returns false if they cannot be an
-- address: if there are too many, or if one is a NUL.
local function terminate(source, length)
    if length > MAX_LENGTH then
        return false
    end
    copy(terminated, source, length)
    terminated[length] = 0
    return C.strlen(terminated) == length
end


-- Parses the `length` bytes at `source` as `parse6_at` does.
function _M.parse6(source, length)
    if not terminate(source, length) then
        return nil
    end
    return parse6_at(terminated)
end


-- Parses the `length` bytes at `source`, an address of either family. Returns `high`, `low` and
-- whether it is an IPv6 one, which is in `bytes6` then; or nil.
local function parse_bytes(source, length)
    if not terminate(source, length) then
        return nil
    end
    local high, low = _M.parse4_at(terminated)
    if high then
        return high, low, false
    end
    high, low = parse6_at(terminated)
    if not high then
        return nil
    end
    return high, low, true
end
_M.parse_bytes = parse_bytes


-- The same for a Lua string. Returns nil, too, for other types.
function _M.parse(text)
    if type(text) ~= "string" then
        return nil
    end
    return parse_bytes(cast(text_t, text), #text)
end


-- The canonical text of the address that was parsed last, and its length. Of IPv4 it is the text
-- that was parsed, the `length` bytes at `text`; of IPv6 it stays until the next call.
function _M.canonical(is_ipv6, text, length)
    if is_ipv6 then
        text, length = format6(bytes6)
    end
    return text, length
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
