-- Writes numbers as JSON: a signed 32-bit integer with up to nine decimals. Straight code over a
-- table of the texts of 0 to 999, without a string and without a loop.

local ffi = require "ffi"
local bit = require "bit"


local arshift, bxor = bit.arshift, bit.bxor
local cast = ffi.cast
local floor, max = math.floor, math.max
local format, match = string.format, string.match

local i32_pointer_t = ffi.typeof("int32_t *")
local words_t = ffi.typeof("int32_t[?]")
local bytes_t = ffi.typeof("uint8_t[?]")

local MINUS, POINT = 0x2d, 0x2e
local NULL = -0x80000000
local THOUSAND, MILLION = 1e3, 1e6

-- Of each number below 1000: its text and that one's length, and its text in three digits. A text
-- is a word of four bytes.
local plain, digits, padded = words_t(1000), bytes_t(1000), words_t(1000)
-- How many decimals are left without the zeros at their end if this number is their first, second
-- or last group of three and the groups after it are zero; 0 if it is zero itself. At least one is.
local kept_1, kept_2, kept_3 = bytes_t(1000), bytes_t(1000), bytes_t(1000)
for number = 0, 999 do
    local short, long = format("%d", number), format("%03d", number)
    ffi.copy(plain + number, short, #short)
    ffi.copy(padded + number, long, #long)
    digits[number] = #short
    local kept = #match(long, "^(.-)0*$")
    kept_1[number] = max(kept, 1)
    kept_2[number], kept_3[number] = kept > 0 and 3 + kept or 0, kept > 0 and 6 + kept or 0
end
local null = words_t(1)
ffi.copy(null, "null", 4)
-- 10^d, 10^-d and 10^(9 - d).
local doubles_t = ffi.typeof("double[10]")
local powers, inverses, scales = doubles_t(), doubles_t(), doubles_t()
for decimals = 0, 9 do
    powers[decimals], inverses[decimals] = 10 ^ decimals, 10 ^ -decimals
    scales[decimals] = 10 ^ (9 - decimals)
end


-- MAX is the most bytes of a number; up to SPILL bytes after those may be overwritten, too.
local _M = { MAX = 16, SPILL = 8 }


-- The integer quotient of two integers, the divisor given as its inverse: half a unit more keeps
-- the product off the integers.
local function divide(number, inverse)
    return (floor((number + 0.5) * inverse))
end


local function put_word(target, at, word)
    cast(i32_pointer_t, target + at)[0] = word
end


local function put_plain(target, at, number)
    put_word(target, at, plain[number])
    return at + digits[number]
end


-- A function that writes an integer whose thousands `put_upper` can write. All of them return the
-- position after what they have written.
local function extend(put_upper)
    return function(target, at, number)
        if number < THOUSAND then
            return (put_plain(target, at, number))
        end
        local upper = divide(number, 1 / THOUSAND)
        at = put_upper(target, at, upper)
        put_word(target, at, padded[number - upper * THOUSAND])
        return at + 3
    end
end


-- Up to 10^12.
local put_integer = extend(extend(extend(put_plain)))


-- Writes a fraction, given in units of 10^-9, without the zeros at its end, but at least one digit.
local function put_fraction(target, at, number)
    local first = divide(number, 1 / MILLION)
    local rest = number - first * MILLION
    local second = divide(rest, 1 / THOUSAND)
    local third = rest - second * THOUSAND
    put_word(target, at, padded[first])
    put_word(target, at + 3, padded[second])
    put_word(target, at + 6, padded[third])
    return at + max(kept_1[first], kept_2[second], kept_3[third])
end


-- Writes `value` / 10^`decimals` to `target` from `at` on: `null` for -2^31, or else the shortest
-- text with at least one decimal, if there are any. Returns the position after it.
function _M.put(target, at, value, decimals)
    if value == NULL then
        put_word(target, at, null[0])
        return at + 4
    end
    local sign = arshift(value, 31) -- -1 or 0
    target[at] = MINUS
    at, value = at - sign, bxor(value, sign) - sign
    if decimals == 0 then
        return (put_integer(target, at, value))
    end
    local whole = divide(value, inverses[decimals])
    at = put_integer(target, at, whole)
    target[at] = POINT
    return (put_fraction(target, at + 1, (value - whole * powers[decimals]) * scales[decimals]))
end


return _M
