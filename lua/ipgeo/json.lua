-- Reads one JSON object strictly (RFC 8259, UTF-8) and picks out members. lua-cjson is not enough:
-- it takes 0x10, +1 and invalid UTF-8, and does not tell of repeated keys. It is used for what it
-- does well, the unescaping of strings that have been found valid.
--
-- Positions count from 0; every skip_* returns the position behind what it skipped, or nil if that
-- is not valid. Nothing behind the end is read: a Lua string ends in a NUL, which no rule takes.

local ffi = require "ffi"
local cjson = require "cjson.safe"


local cast, ffi_string = ffi.cast, ffi.string
local band = require("bit").band

local bytes_t = ffi.typeof("const uint8_t *")

local DEEPEST = 8

local TAB, LINE_FEED, RETURN, SPACE = 0x09, 0x0a, 0x0d, 0x20
local QUOTE, BACKSLASH, SLASH = 0x22, 0x5c, 0x2f
local COMMA, COLON, PLUS, MINUS, DOT = 0x2c, 0x3a, 0x2b, 0x2d, 0x2e
local OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE = 0x5b, 0x5d, 0x7b, 0x7d
local ZERO, NINE = 0x30, 0x39
local LOWER_B, LOWER_E, LOWER_F, LOWER_N = 0x62, 0x65, 0x66, 0x6e
local LOWER_R, LOWER_T, LOWER_U, UPPER_E = 0x72, 0x74, 0x75, 0x45


-- What a member is that is neither a string nor an array; never equal to any string.
local OTHER = {}


local _M = {}


local function skip_space(text, at)
    while true do
        local byte = text[at]
        if byte ~= SPACE and byte ~= LINE_FEED and byte ~= RETURN and byte ~= TAB then
            return at
        end
        at = at + 1
    end
end


local function is_continuation(byte)
    return band(byte, 0xc0) == 0x80
end


-- One UTF-8 sequence of two to four bytes: no overlong form, no surrogate, nothing over U+10FFFF.
local function skip_sequence(text, at)
    local lead, second = text[at], text[at + 1]
    if lead < 0xc2 or lead > 0xf4 or not is_continuation(second) then
        return nil
    elseif lead < 0xe0 then
        return at + 2
    elseif not is_continuation(text[at + 2]) then
        return nil
    elseif lead < 0xf0 then
        local bad = lead == 0xe0 and second < 0xa0 or lead == 0xed and second > 0x9f
        return not bad and at + 3 or nil
    end
    local bad = lead == 0xf0 and second < 0x90 or lead == 0xf4 and second > 0x8f
    return not bad and is_continuation(text[at + 3]) and at + 4 or nil
end


local function is_hex(byte)
    local letter = band(byte, 0xdf)
    return byte >= ZERO and byte <= NINE or letter >= 0x41 and letter <= 0x46
end


local function skip_escape(text, at)
    local byte = text[at + 1]
    if byte == LOWER_U then
        for i = at + 2, at + 5 do
            if not is_hex(text[i]) then
                return nil
            end
        end
        return at + 6
    end
    local known = byte == QUOTE or byte == BACKSLASH or byte == SLASH or byte == LOWER_B
        or byte == LOWER_F or byte == LOWER_N or byte == LOWER_R or byte == LOWER_T
    return known and at + 2 or nil
end


-- `at` is behind the opening quote. Returns the position behind the closing one, and whether there
-- are escapes between.
local function skip_string(text, at)
    local escaped = false
    while true do
        local byte = text[at]
        if byte == QUOTE then
            return at + 1, escaped
        elseif byte < SPACE then
            return nil
        elseif byte == BACKSLASH then
            escaped = true
            at = skip_escape(text, at)
        elseif byte < 0x80 then
            at = at + 1
        else
            at = skip_sequence(text, at)
        end
        if not at then
            return nil
        end
    end
end


local function skip_digits(text, at)
    local from = at
    while text[at] >= ZERO and text[at] <= NINE do
        at = at + 1
    end
    return at > from and at or nil
end


local function skip_number(text, at)
    if text[at] == MINUS then
        at = at + 1
    end
    if text[at] == ZERO then
        at = at + 1
    else
        at = skip_digits(text, at)
    end
    if at and text[at] == DOT then
        at = skip_digits(text, at + 1)
    end
    if at and (text[at] == LOWER_E or text[at] == UPPER_E) then
        at = at + 1
        if text[at] == PLUS or text[at] == MINUS then
            at = at + 1
        end
        at = skip_digits(text, at)
    end
    return at
end


local function skip_word(text, at, word)
    for i = 1, #word do
        if text[at + i - 1] ~= word:byte(i) then
            return nil
        end
    end
    return at + #word
end


-- What follows an element: a comma, or the bracket that closes them all. Returns the position of
-- the next element, or the position behind the bracket and true.
local function skip_comma(text, at, closing)
    at = skip_space(text, at)
    if text[at] == closing then
        return at + 1, true
    end
    return text[at] == COMMA and skip_space(text, at + 1) or nil
end


local skip_value


local function skip_array(text, at, depth)
    at = skip_space(text, at + 1)
    if text[at] == CLOSE_BRACKET then
        return at + 1
    end
    local closed
    repeat
        at = skip_value(text, at, depth)
        if at then
            at, closed = skip_comma(text, at, CLOSE_BRACKET)
        end
    until closed or not at
    return at
end


-- A string and the colon behind it. Returns the position of the value, and where the key's content
-- ends and whether it has escapes.
local function skip_key(text, at)
    if text[at] ~= QUOTE then
        return nil
    end
    local behind, escaped = skip_string(text, at + 1)
    if not behind then
        return nil
    end
    at = skip_space(text, behind)
    if text[at] ~= COLON then
        return nil
    end
    return skip_space(text, at + 1), behind - 1, escaped
end


-- `on_member(key_from, key_to, key_escaped, value_from, value_to)`, if given, is told of each.
local function skip_object(text, at, depth, on_member)
    at = skip_space(text, at + 1)
    if text[at] == CLOSE_BRACE then
        return at + 1
    end
    local closed
    repeat
        local key_from = at + 1
        local value_from, key_to, escaped = skip_key(text, at)
        at = value_from and skip_value(text, value_from, depth)
        if at then
            if on_member then
                on_member(key_from, key_to, escaped, value_from, at)
            end
            at, closed = skip_comma(text, at, CLOSE_BRACE)
        end
    until closed or not at
    return at
end


-- `depth` is how many objects and arrays are open around the value.
function skip_value(text, at, depth)
    local byte = text[at]
    if byte == QUOTE then
        return (skip_string(text, at + 1))
    elseif byte == OPEN_BRACE then
        return depth < DEEPEST and skip_object(text, at, depth + 1) or nil
    elseif byte == OPEN_BRACKET then
        return depth < DEEPEST and skip_array(text, at, depth + 1) or nil
    elseif byte == LOWER_T then
        return skip_word(text, at, "true")
    elseif byte == LOWER_F then
        return skip_word(text, at, "false")
    elseif byte == LOWER_N then
        return skip_word(text, at, "null")
    end
    return skip_number(text, at)
end


-- The string whose content lies in [from, to). One that cjson cannot unescape (a lone surrogate) is
-- OTHER.
local function string_at(text, from, to, escaped)
    local raw = ffi_string(text + from, to - from)
    if not escaped then
        return raw
    end
    local decoded = cjson.decode('["' .. raw .. '"]')
    return decoded and decoded[1] or OTHER
end


-- The value in [from, to): a string, the position of an array as `{ at = from }`, or OTHER.
local function value_at(text, from, to)
    if text[from] == OPEN_BRACKET then
        return { at = from }
    elseif text[from] ~= QUOTE then
        return OTHER
    end
    local _, escaped = skip_string(text, from + 1)
    return string_at(text, from + 1, to - 1, escaped)
end


-- Reads `body`, one object and nothing else. For each key that `wanted` has, `members[key]` becomes
-- its value (see value_at). Returns whether the body is valid, and whether a wanted key occurs
-- more than once.
function _M.read_object(body, wanted, members)
    local text = cast(bytes_t, body)
    local repeated = false
    local at = skip_space(text, 0)
    at = text[at] == OPEN_BRACE and skip_object(text, at, 1,
        function(key_from, key_to, key_escaped, from, to)
            local key = string_at(text, key_from, key_to, key_escaped)
            if wanted[key] then
                repeated = repeated or members[key] ~= nil
                members[key] = value_at(text, from, to)
            end
        end)
    local valid = at and skip_space(text, at) == #body
    return valid or false, repeated
end


_M.skip_space, _M.skip_value, _M.value_at = skip_space, skip_value, value_at


return _M
