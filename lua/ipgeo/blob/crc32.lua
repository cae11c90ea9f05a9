-- CRC-32 (ISO-HDLC, as zlib's crc32), eight bytes a step.

local ffi = require "ffi"
local bit = require "bit"


local band, bnot, bxor, rshift = bit.band, bit.bnot, bit.bxor, bit.rshift
local cast = ffi.cast

local POLYNOMIAL = 0xedb88320

local words_t = ffi.typeof("const int32_t *")
local bytes_t = ffi.typeof("const uint8_t *")

-- table[k * 256 + b]: the remainder of byte b followed by k zero bytes.
local remainder = ffi.new("int32_t[?]", 8 * 256)


local function fill()
    for byte = 0, 255 do
        local value = byte
        for _ = 1, 8 do
            local carry = band(value, 1)
            value = rshift(value, 1)
            if carry == 1 then
                value = bxor(value, POLYNOMIAL)
            end
        end
        remainder[byte] = value
    end
    for entry = 256, 8 * 256 - 1 do
        local before = remainder[entry - 256]
        remainder[entry] = bxor(rshift(before, 8), remainder[band(before, 0xff)])
    end
end


fill()


local _M = {}


-- The checksum of `length` bytes at `data`; `crc` is the checksum of what came before (0 at first).
-- Returns a signed 32-bit number.
function _M.update(crc, data, length)
    local t = remainder
    local words, bytes = cast(words_t, data), cast(bytes_t, data)
    local rest = band(length, 7)
    crc = bnot(crc)
    for i = 0, (length - rest) / 4 - 2, 2 do
        local a, b = bxor(words[i], crc), words[i + 1]
        crc = bxor(
            t[1792 + band(a, 0xff)], t[1536 + band(rshift(a, 8), 0xff)],
            t[1280 + band(rshift(a, 16), 0xff)], t[1024 + rshift(a, 24)],
            t[768 + band(b, 0xff)], t[512 + band(rshift(b, 8), 0xff)],
            t[256 + band(rshift(b, 16), 0xff)], t[rshift(b, 24)])
    end
    for i = length - rest, length - 1 do
        crc = bxor(rshift(crc, 8), t[band(bxor(crc, bytes[i]), 0xff)])
    end
    return bnot(crc)
end


return _M
