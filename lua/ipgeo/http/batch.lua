-- Many addresses in one request: they are read from the body and answered into chunks.lua, without
-- a string or a table for each. All answers come from one generation. No address after the limit is
-- answered.
--
-- The functions that answer are actions of store.with_snapshot. They may be called again, so they
-- begin with empty chunks. They return false if there are more than `limit` addresses.

local ffi = require "ffi"
local addresses = require "ipgeo.address"
local answers = require "ipgeo.answer"
local chunks = require "ipgeo.http.chunks"
local errors = require "ipgeo.http.errors"
local json = require "ipgeo.http.strict_json"


local cast = ffi.cast
local canonical, parse6 = addresses.canonical, addresses.parse6
local ipairs = ipairs
local discard, put, put_byte = chunks.discard, chunks.put, chunks.put_byte
local find, format, sub = string.find, string.format, string.sub
local min = math.min
local read_object = json.read_object
local reserve = chunks.reserve
local step, finish = addresses.step, addresses.finish
local write_answer = answers.write

local BODIES = errors.BODIES
local bytes_t = ffi.typeof("const uint8_t *")

local TAB, LINE_FEED, RETURN, SPACE, LAST_ASCII = 0x09, 0x0a, 0x0d, 0x20, 0x7f
local QUOTE, BACKSLASH, COMMA, LOWER_U = 0x22, 0x5c, 0x2c, 0x75
local OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE = 0x5b, 0x5d, 0x7b, 0x7d
-- How a byte outside of strings changes the depth of nesting.
local nesting = ffi.new("int8_t[256]")
nesting[OPEN_BRACKET], nesting[OPEN_BRACE] = 1, 1
nesting[CLOSE_BRACKET], nesting[CLOSE_BRACE] = -1, -1
-- What may stand between the elements of an array.
local blank = ffi.new("uint8_t[256]")
for _, byte in ipairs { TAB, LINE_FEED, RETURN, SPACE } do
    blank[byte] = 1
end
-- What a string may contain that needs no further look.
local plain = ffi.new("uint8_t[256]")
for byte = SPACE, LAST_ASCII do
    plain[byte] = byte ~= BACKSLASH and 1 or 0
end
-- The value of a hexadecimal digit.
local hex = ffi.new("uint8_t[256]")
for digit = 0, 15 do
    hex[format("%x", digit):byte()], hex[format("%X", digit):byte()] = digit, digit
end

-- The characters of an element, without its escapes. The last one is overwritten if there are more
-- than an address has.
local MAX_LENGTH = addresses.MAX_LENGTH
local element = ffi.new("uint8_t[?]", MAX_LENGTH + 1)

local HEAD, TAIL = '{"results":[', "]}"
local IPS, ARRAY_BEGINS = '"ips"', "^[ \t\r\n]*:[ \t\r\n]*%["
-- Bytes around the array of a plain batch.
local MAX_SKELETON = 256


local _M = {}


-- Writes the answer to the address that the `length` bytes at `ip` spell. `high` and `low` are nil
-- if they are not an IPv4 address.
local function put_answer(view, as_object, high, low, ip, length)
    if not high then
        high, low = parse6(ip, length)
        if not high then
            return put(BODIES.invalid_ip, #BODIES.invalid_ip)
        end
        if as_object then
            ip, length = canonical(true, ip, length)
        end
    end
    if not write_answer(reserve, view, high, low, as_object, ip, length) then
        put(BODIES.no_data, #BODIES.no_data)
    end
end


-- Answers the lines of `body`, LF or CRLF, each with a line; a line feed at the end of `body`
-- begins no further one.
function _M.answer_lines(view, body, limit, as_object)
    local text, length = cast(bytes_t, body), #body
    local address, octet, digits, dots = 0, 0, 0, 0
    local from, count = 0, 0
    discard()
    for at = 0, length do
        local byte = text[at]
        if byte == LINE_FEED or (at == length and from < length) then
            count = count + 1
            if count > limit then
                return false
            end
            local high, low = finish(address, octet, digits, dots)
            local is_crlf = byte == LINE_FEED and at > from and text[at - 1] == RETURN
            local stop = is_crlf and at - 1 or at
            put_answer(view, as_object, high, low, text + from, stop - from)
            put_byte(LINE_FEED)
            address, octet, digits, dots = 0, 0, 0, 0
            from = at + 1
        elseif byte ~= RETURN or text[at + 1] ~= LINE_FEED then
            address, octet, digits, dots = step(byte, address, octet, digits, dots)
        end
    end
    return true
end


-- The character that the escape at `at` stands for, or 0 if it is not ASCII, and the
-- position of the escape's last byte. Relies on valid JSON.
local function unescape(text, at)
    if text[at + 1] ~= LOWER_U then
        return 0, at + 1
    end
    local ascii = hex[text[at + 2]] + hex[text[at + 3]] == 0
    return ascii and hex[text[at + 4]] * 16 + hex[text[at + 5]] or 0, at + 5
end


-- Answers the array at `ips.at`, in a body that is known to be valid JSON.
function _M.answer_array(view, body, limit, as_object, ips)
    local text = cast(bytes_t, body)
    local address, octet, digits, dots = 0, 0, 0, 0
    -- The element that has begun: `length` characters, if it is a string.
    local present, is_string, length = false, false, 0
    local at, depth, inside, count = ips.at + 1, 0, false, 0
    discard()
    put(HEAD, #HEAD)
    while true do
        local byte = text[at]
        if inside then
            if byte == QUOTE then
                inside = false
            else
                if byte == BACKSLASH then
                    byte, at = unescape(text, at)
                end
                element[min(length, MAX_LENGTH)] = byte
                length = length + 1
                address, octet, digits, dots = step(byte, address, octet, digits, dots)
            end
        elseif byte == QUOTE then
            inside = true
            if not present then
                present, is_string, length = true, true, 0
                address, octet, digits, dots = 0, 0, 0, 0
            end
        elseif depth == 0 and (byte == COMMA or byte == CLOSE_BRACKET) then
            if present then
                count = count + 1
                if count > limit then
                    return false
                end
                local high, low = finish(address, octet, digits, dots)
                put_answer(view, as_object, is_string and high, low, element,
                    is_string and length or 0)
            end
            if byte == CLOSE_BRACKET then
                put(TAIL, #TAIL)
                return true
            end
            put_byte(COMMA)
            present, is_string = false, false
        elseif byte > SPACE then
            present = true
            depth = depth + nesting[byte]
        end
        at = at + 1
    end
end


-- Reads a body whose member `ips` looks like an array of plain strings, except for what is between
-- its brackets: answer_plain_array reads that. Returns the wanted members, with the position of the
-- closing bracket in `ips.last`; or nil for a body, valid or not, that is left to json.read_object.
function _M.read_plain(body, wanted)
    local _, name = find(body, IPS, 1, true)
    local _, bracket = find(body, ARRAY_BEGINS, (name or #body) + 1)
    local closing = bracket and find(body, "]", bracket, true)
    if not closing or bracket + #body - closing > MAX_SKELETON then
        return nil
    end
    local members = {}
    local skeleton = sub(body, 1, bracket) .. sub(body, closing)
    local valid, repeated = read_object(skeleton, wanted, members)
    local ips = members.ips
    if not valid or repeated or not ips or ips.at ~= bracket - 1 then
        return nil
    end
    ips.last = closing - 1
    return members
end


-- Answers the array that read_plain has found. Returns false also if there is more between the
-- brackets than strings and commas.
function _M.answer_plain_array(view, body, limit, as_object, ips)
    local text = cast(bytes_t, body)
    local address, octet, digits, dots = 0, 0, 0, 0
    local inside, expected, from, count = false, true, 0, 0
    discard()
    put(HEAD, #HEAD)
    for at = ips.at + 1, ips.last - 1 do
        local byte = text[at]
        if byte == QUOTE then
            if inside then
                local high, low = finish(address, octet, digits, dots)
                put_answer(view, as_object, high, low, text + from, at - from)
                count = count + 1
            elseif not expected or count == limit then
                return false
            end
            inside, expected, from = not inside, false, at + 1
            address, octet, digits, dots = 0, 0, 0, 0
        elseif inside then
            if plain[byte] == 0 then
                return false
            end
            address, octet, digits, dots = step(byte, address, octet, digits, dots)
        elseif byte == COMMA and not expected then
            put_byte(COMMA)
            expected = true
        elseif blank[byte] == 0 then
            return false
        end
    end
    if inside or expected and count > 0 then
        return false
    end
    put(TAIL, #TAIL)
    return true
end


return _M
