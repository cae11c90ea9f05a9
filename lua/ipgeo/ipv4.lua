-- IPv4 addresses as text. An address is a pair here, its high and its low 16 bits: that is what a
-- lookup needs, and both stay small integers where a whole address would become a double.

local ffi = require "ffi"


local cast = ffi.cast
local type = type

local bytes_t = ffi.typeof("const uint8_t *")

local DOT = 0x2e
local LONGEST = #"255.255.255.255"


local _M = {}


-- One octet of `text` from `at` on: strict decimal, no leading zero. Returns the octet and the
-- position behind it, or nil.
local function octet(text, at, stop)
    local value = 0
    local from = at
    while at < stop do
        local digit = text[at] - 0x30
        if digit < 0 or digit > 9 then
            break
        end
        value = value * 10 + digit
        at = at + 1
        -- More digits than fit end the loop early, a leading zero at its second digit.
        if value > 255 or (value == digit and at - from > 1) then
            return nil
        end
    end
    if at == from then
        return nil
    end
    return value, at
end


-- Parses `stop - at` bytes: exactly four octets and nothing else. `text` is a `const uint8_t *`.
-- Returns the high and the low 16 bits, or nil.
function _M.parse_bytes(text, at, stop)
    local a, b, c, d
    a, at = octet(text, at, stop)
    if not a or at == stop or text[at] ~= DOT then
        return nil
    end
    b, at = octet(text, at + 1, stop)
    if not b or at == stop or text[at] ~= DOT then
        return nil
    end
    c, at = octet(text, at + 1, stop)
    if not c or at == stop or text[at] ~= DOT then
        return nil
    end
    d, at = octet(text, at + 1, stop)
    if not d or at ~= stop then
        return nil
    end
    return a * 256 + b, c * 256 + d
end


-- Parses a Lua string; anything but a string in strict dotted decimal gives nil.
function _M.parse(text)
    if type(text) ~= "string" or #text > LONGEST then
        return nil
    end
    return _M.parse_bytes(cast(bytes_t, text), 0, #text)
end


return _M
