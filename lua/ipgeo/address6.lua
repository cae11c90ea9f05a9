-- IPv6 addresses as RFC 5952 writes them: hexadecimal groups in lower case without leading zeros,
-- and `::` for the longest sequence of two or more groups of zero, of several as long for the first
-- one. An address in ::ffff:0:0/96, and no other, ends in dotted decimal.
--
-- Straight code over tables, as in blob/number.lua.

local ffi = require "ffi"
local bit = require "bit"


local band, bor, bswap, lshift, rshift = bit.band, bit.bor, bit.bswap, bit.lshift, bit.rshift
local cast, copy = ffi.cast, ffi.copy
local format = string.format

local COLON = 0x3a
local GROUPS = 8
local i8_t = ffi.typeof("int8_t[?]")
local i32_pointer_t = ffi.typeof("int32_t *")
local halves_t = ffi.typeof("uint16_t[256]")

-- The text of an address, and what is overwritten after it.
local text = ffi.new("uint8_t[64]")

-- The two hexadecimal digits of each byte.
local digits = halves_t()
for byte = 0, 255 do
    copy(digits + byte, format("%02x", byte), 2)
end

-- For each set of groups that are zero, as bits, and for each group: all ones if the group is
-- written, and how many colons are written after it, or for it if it is the first one left out.
local written, colons = i8_t(256 * GROUPS), i8_t(256 * GROUPS)


-- The first group to leave out and how many there are, for a set of groups that are zero.
local function longest_gap(zeros)
    local first, count, length = GROUPS, 1, 0
    for group = 0, GROUPS - 1 do
        length = band(rshift(zeros, group), 1) * (length + 1)
        if length > count then
            first, count = group - length + 1, length
        end
    end
    return first, first + count - 1
end


for zeros = 0, 255 do
    local first, last = longest_gap(zeros)
    for group = 0, GROUPS - 1 do
        local at = zeros * GROUPS + group
        if group < first or group > last then
            written[at], colons[at] = -1, group < GROUPS - 1 and 1 or 0
        elseif group == first then
            colons[at] = group == 0 and 2 or 1
        end
    end
end


-- 1 if a number below 2^31 is above `limit`, else 0.
local function is_above(number, limit)
    return (rshift(limit - number, 31))
end


local function zero_bit(bytes, group)
    local number = bytes[2 * group] * 256 + bytes[2 * group + 1]
    return (lshift(1 - is_above(number, 0), group))
end


local function put_group(bytes, group, zeros, at)
    local upper, lower = bytes[2 * group], bytes[2 * group + 1]
    local number = upper * 256 + lower
    local length = 1 + is_above(number, 0xf) + is_above(number, 0xff) + is_above(number, 0xfff)
    local word = bor(digits[upper], lshift(digits[lower], 16))
    local entry = zeros * GROUPS + group
    cast(i32_pointer_t, text + at)[0] = rshift(word, 32 - 8 * length)
    at = at + band(length, written[entry])
    text[at], text[at + 1] = COLON, COLON
    return at + colons[entry]
end


-- Whether the 16 bytes at `bytes` begin with 32 bits (`first`), 32 zeros and 32 bits (`third`).
local function begins_with(bytes, first, third)
    local words = cast(i32_pointer_t, bytes)
    return bswap(words[0]) == first and words[1] == 0 and bswap(words[2]) == third
end


local _M = {}


-- Whether the address in the 16 bytes at `bytes` is an IPv4 one, mapped into ::ffff:0:0/96.
function _M.is_mapped(bytes)
    return begins_with(bytes, 0, 0xffff)
end


-- Whether it leads to an IPv4 address, for it is in 64:ff9b::/96.
function _M.is_nat64(bytes)
    return begins_with(bytes, 0x64ff9b, 0)
end


local function format_mapped(bytes)
    local dotted = format("::ffff:%d.%d.%d.%d", bytes[12], bytes[13], bytes[14], bytes[15])
    copy(text, dotted, #dotted)
    return text, #dotted
end


-- Writes the address in the 16 bytes at `bytes` (network order). Returns where the text is, until
-- the next call, and its length.
function _M.format(bytes)
    if _M.is_mapped(bytes) then
        return format_mapped(bytes)
    end
    local zeros = zero_bit(bytes, 0) + zero_bit(bytes, 1) + zero_bit(bytes, 2) + zero_bit(bytes, 3)
        + zero_bit(bytes, 4) + zero_bit(bytes, 5) + zero_bit(bytes, 6) + zero_bit(bytes, 7)
    local at = put_group(bytes, 0, zeros, 0)
    at = put_group(bytes, 1, zeros, at)
    at = put_group(bytes, 2, zeros, at)
    at = put_group(bytes, 3, zeros, at)
    at = put_group(bytes, 4, zeros, at)
    at = put_group(bytes, 5, zeros, at)
    at = put_group(bytes, 6, zeros, at)
    return text, (put_group(bytes, 7, zeros, at))
end


return _M
