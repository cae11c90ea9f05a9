-- Reads one JSON object strictly (RFC 8259, UTF-8) and picks out members. lua-cjson does not
-- suffice: it accepts 0x10, +1 and invalid UTF-8, and does not report repeated keys. It only
-- unescapes strings that have been found valid.
--
-- With its nesting bounded, JSON is read by a finite automaton (json_states.lua) and a few bits. So
-- every body costs one turn of one loop for each byte: a hostile one takes no longer than others. A
-- recursive parser took 10 ms for 64 KiB of small numbers.
--
-- Positions count from 0.

local ffi = require "ffi"
local bit = require "bit"
local cjson = require "cjson.safe"
local LIMITS = require("ipgeo.contract").LIMITS
local states = require "ipgeo.http.json_states"


local band, rshift = bit.band, bit.rshift
local byte_of, format = string.byte, string.format
local cast, ffi_string = ffi.cast, ffi.string
local ipairs, pairs = ipairs, pairs
local max = math.max

local bytes_t = ffi.typeof("const uint8_t *")

local MAX_DEPTH = LIMITS.max_json_depth
assert(MAX_DEPTH < 31, "the nesting is kept in the 32 bits of a number")
-- The objects and arrays around a position, in one number: a leading 1, then a bit for each of
-- them, which is 1 for an object.
local NOTHING, OUTERMOST = 1, 3
local TOO_DEEP = 2 ^ (MAX_DEPTH + 1)

local TAB, LINE_FEED, RETURN, SPACE = 0x09, 0x0a, 0x0d, 0x20
local QUOTE, BACKSLASH, OPEN_BRACKET = 0x22, 0x5c, 0x5b

local next_state, INVALID = states.next_state, states.INVALID
local ACTIONS, COMMA = states.ACTIONS, states.COMMA
local BEGIN_KEY, END_KEY = states.BEGIN_KEY, states.END_KEY
local OPEN_OBJECT, CLOSE_OBJECT = states.OPEN_OBJECT, states.CLOSE_OBJECT
local OPEN_ARRAY = states.OPEN_ARRAY
local BEFORE, AFTER = states.BEFORE, states.AFTER
local VALUE, FOLLOWED, FIRST_ELEMENT = states.VALUE, states.FOLLOWED, states.FIRST_ELEMENT
local KEY, FIRST_KEY, IN_KEY = states.KEY, states.FIRST_KEY, states.IN_KEY
local COLON = states.COLON

-- The value of a member that is neither a string nor an array; never equal to any string.
local OTHER = {}


local _M = {}


-- All spellings of `name`, of ASCII letters, as a key: each letter may be escaped.
local function spell(name)
    local spellings = { "" }
    for i = 1, #name do
        local letter = name:sub(i, i)
        local escape = format("\\u00%02x", byte_of(letter))
        local upper = format("\\u00%02X", byte_of(letter))
        local longer = {}
        for written in pairs { [letter] = true, [escape] = true, [upper] = true } do
            for _, spelling in ipairs(spellings) do
                longer[#longer + 1] = spelling .. written
            end
        end
        spellings = longer
    end
    return spellings
end


-- Prepares `names`, of ASCII letters, for read_object: all their spellings as keys.
function _M.members(names)
    local wanted = { longest = 0, name = {} }
    for _, name in ipairs(names) do
        for _, spelling in ipairs(spell(name)) do
            wanted.name[spelling] = name
            wanted.longest = max(wanted.longest, #spelling)
        end
    end
    return wanted
end


-- Reads the whole body. `places[name]` becomes the position after the key of each wanted member of
-- the outermost object. Returns whether the body is valid, and whether a wanted key occurs more
-- than once.
local function scan(text, length, wanted, places)
    local longest, names = wanted.longest, wanted.name
    local state, open, from, repeated = BEFORE, NOTHING, 0, false
    for at = 0, length - 1 do
        state = next_state[state + text[at]]
        if state >= ACTIONS then
            if state == COMMA then
                state = band(open, 1) == 1 and KEY or VALUE
            elseif state == BEGIN_KEY then
                from, state = at + 1, IN_KEY
            elseif state == END_KEY then
                state = COLON
                if open == OUTERMOST and not repeated and at - from <= longest then
                    local name = names[ffi_string(text + from, at - from)]
                    if name then
                        repeated = repeated or places[name] ~= nil
                        places[name] = at + 1
                    end
                end
            elseif state == OPEN_ARRAY or state == OPEN_OBJECT then
                local is_object = state == OPEN_OBJECT
                open = open + open + (is_object and 1 or 0)
                state = open >= TOO_DEEP and INVALID or is_object and FIRST_KEY or FIRST_ELEMENT
            elseif band(open, 1) == (state == CLOSE_OBJECT and 1 or 0) then
                open = rshift(open, 1)
                state = open == NOTHING and AFTER or FOLLOWED
            else
                state = INVALID
            end
        end
    end
    return state == AFTER, repeated
end


-- The functions below need a body that `scan` has found valid.


local function skip_space(text, at)
    while true do
        local byte = text[at]
        if byte ~= SPACE and byte ~= LINE_FEED and byte ~= RETURN and byte ~= TAB then
            return at
        end
        at = at + 1
    end
end


-- The string whose content lies in [from, to); OTHER if cjson cannot unescape it, as with a lone
-- surrogate.
local function string_at(text, from, to, escaped)
    local raw = ffi_string(text + from, to - from)
    if not escaped then
        return raw
    end
    local decoded = cjson.decode('["' .. raw .. '"]')
    return decoded and decoded[1] or OTHER
end


-- The value at `at`: a string, the position of an array as `{ at = at }`, or OTHER.
local function value_at(text, at)
    if text[at] == OPEN_BRACKET then
        return { at = at }
    elseif text[at] ~= QUOTE then
        return OTHER
    end
    local from, escaped = at + 1, false
    at = from
    while text[at] ~= QUOTE do
        if text[at] == BACKSLASH then
            escaped, at = true, at + 1
        end
        at = at + 1
    end
    return string_at(text, from, at, escaped)
end


-- Reads `body`, which must be exactly one object. For each key in `wanted` (see `members`),
-- `members[key]` becomes its value (see value_at). Returns whether the body is valid, and whether
-- a wanted key occurs more than once. Without a valid body, or with such a key, it sets no values.
function _M.read_object(body, wanted, members)
    local text, places = cast(bytes_t, body), {}
    local valid, repeated = scan(text, #body, wanted, places)
    if valid and not repeated then
        for name, after_key in pairs(places) do
            local colon = skip_space(text, after_key)
            members[name] = value_at(text, skip_space(text, colon + 1))
        end
    end
    return valid, repeated
end


return _M
