-- Reads one JSON object strictly (RFC 8259, UTF-8) and picks out members. lua-cjson is not enough:
-- it takes 0x10, +1 and invalid UTF-8, and does not tell of repeated keys. It is used for what it
-- does well, the unescaping of strings that have been found valid.
--
-- With its nesting bounded, JSON is read by a finite automaton and a few bits. So a body costs one
-- turn of one loop for each byte, whatever it holds: a hostile one takes no longer than others. A
-- recursive parser took 10 ms for 64 KiB of small numbers.
--
-- Positions count from 0.

local ffi = require "ffi"
local bit = require "bit"
local cjson = require "cjson.safe"


local band, rshift = bit.band, bit.rshift
local byte_of, format = string.byte, string.format
local cast, ffi_string = ffi.cast, ffi.string
local ipairs, pairs = ipairs, pairs
local max = math.max

local bytes_t = ffi.typeof("const uint8_t *")

local MAX_DEPTH = 8

local TAB, LINE_FEED, RETURN, SPACE = 0x09, 0x0a, 0x0d, 0x20
local QUOTE, BACKSLASH, OPEN_BRACKET = 0x22, 0x5c, 0x5b

-- What a member is that is neither a string nor an array; never equal to any string.
local OTHER = {}


local _M = {}


-- The automaton. A state is its row's place in `next_state`, which has the next one for each byte.
local ROW = 256
local next_state = ffi.new("uint16_t[?]", 96 * ROW)
-- These are no rows: the loop in `scan` does something and then chooses the state.
local ACTIONS = 0x8000
local BEGIN_KEY, END_KEY, COMMA = ACTIONS, ACTIONS + 1, ACTIONS + 2
local OPEN_OBJECT, CLOSE_OBJECT = ACTIONS + 3, ACTIONS + 4
local OPEN_ARRAY, CLOSE_ARRAY = ACTIONS + 5, ACTIONS + 6
-- Row 0: all its entries are 0.
local INVALID = 0

local last_state = INVALID


local function new_state()
    last_state = last_state + ROW
    return last_state
end


local function on_range(state, first, last, target)
    for byte = first, last do
        next_state[state + byte] = target
    end
end


local function on(state, characters, target)
    for _, byte in ipairs { byte_of(characters, 1, -1) } do
        next_state[state + byte] = target
    end
end


-- One behind the other, the last of which leads to `target`. Returns the first.
local function sequence(sets, target)
    for i = #sets, 1, -1 do
        local state = new_state()
        on(state, sets[i], target)
        target = state
    end
    return target
end


-- As many continuation bytes, the first of them in a range of its own.
local function continuation(count, first, last, target)
    local state = new_state()
    if count > 1 then
        target = continuation(count - 1, 0x80, 0xbf, target)
    end
    on_range(state, first, last, target)
    return state
end


-- A string whose closing quote leads to `target`. Returns the state behind the opening one.
-- UTF-8 has no overlong form, no surrogate and nothing over U+10FFFF.
local function string_states(target)
    local inside, escape = new_state(), new_state()
    on_range(inside, SPACE, 0x7f, inside)
    on(inside, '"', target)
    on(inside, "\\", escape)
    on(escape, '"\\/bfnrt', inside)
    local hex = "0123456789abcdefABCDEF"
    on(escape, "u", sequence({ hex, hex, hex, hex }, inside))
    on_range(inside, 0xc2, 0xdf, continuation(1, 0x80, 0xbf, inside))
    on_range(inside, 0xe0, 0xe0, continuation(2, 0xa0, 0xbf, inside))
    on_range(inside, 0xe1, 0xef, continuation(2, 0x80, 0xbf, inside))
    on_range(inside, 0xed, 0xed, continuation(2, 0x80, 0x9f, inside))
    on_range(inside, 0xf0, 0xf0, continuation(3, 0x90, 0xbf, inside))
    on_range(inside, 0xf1, 0xf3, continuation(3, 0x80, 0xbf, inside))
    on_range(inside, 0xf4, 0xf4, continuation(3, 0x80, 0x8f, inside))
    return inside
end


local function is_followed(state, target)
    on(state, " \t\r\n", target)
    on(state, ",", COMMA)
    on(state, "}", CLOSE_OBJECT)
    on(state, "]", CLOSE_ARRAY)
end


-- The bytes with which a number begins lead from `state` to it.
local function begin_number(state, behind)
    local minus, zero, whole, point = new_state(), new_state(), new_state(), new_state()
    local fraction, exponent, sign, power = new_state(), new_state(), new_state(), new_state()
    for _, last in ipairs { zero, whole, fraction, power } do
        is_followed(last, behind)
    end
    for _, first in ipairs { state, minus } do
        on(first, "0", zero)
        on(first, "123456789", whole)
    end
    on(state, "-", minus)
    for from, to in pairs { [whole] = whole, [point] = fraction, [fraction] = fraction,
        [exponent] = power, [sign] = power, [power] = power }
    do
        on(from, "0123456789", to)
    end
    on(zero, ".", point)
    on(whole, ".", point)
    for _, last in ipairs { zero, whole, fraction } do
        on(last, "eE", exponent)
    end
    on(exponent, "+-", sign)
end


local function begin_value(state, behind)
    on(state, " \t\r\n", state)
    on(state, '"', string_states(behind))
    on(state, "{", OPEN_OBJECT)
    on(state, "[", OPEN_ARRAY)
    on(state, "t", sequence({ "r", "u", "e" }, behind))
    on(state, "f", sequence({ "a", "l", "s", "e" }, behind))
    on(state, "n", sequence({ "u", "l", "l" }, behind))
    begin_number(state, behind)
end


-- Another state from which the same things follow.
local function like(state)
    local copy = new_state()
    for byte = 0, ROW - 1 do
        local target = next_state[state + byte]
        next_state[copy + byte] = target == state and copy or target
    end
    return copy
end


local BEFORE, BEHIND = new_state(), new_state() -- the whole object
on(BEFORE, " \t\r\n", BEFORE)
on(BEFORE, "{", OPEN_OBJECT)
on(BEHIND, " \t\r\n", BEHIND)

local FOLLOWED = new_state() -- behind a value
is_followed(FOLLOWED, FOLLOWED)

local VALUE = new_state()
begin_value(VALUE, FOLLOWED)
local FIRST_ELEMENT = like(VALUE)
on(FIRST_ELEMENT, "]", CLOSE_ARRAY)

local KEY = new_state()
on(KEY, " \t\r\n", KEY)
on(KEY, '"', BEGIN_KEY)
local FIRST_KEY = like(KEY)
on(FIRST_KEY, "}", CLOSE_OBJECT)

local IN_KEY = string_states(END_KEY)
local COLON = new_state()
on(COLON, " \t\r\n", COLON)
on(COLON, ":", VALUE)


-- What is open around a position: a bit for each, 1 for an object, behind a leading 1.
local NOTHING, OUTERMOST = 1, 3
local TOO_DEEP = 2 ^ (MAX_DEPTH + 1)


-- Every way in which `name`, of ASCII letters, can be written as a key: each letter may be escaped.
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


-- Reads it all. `places[name]` becomes the position behind the key of each wanted member of the
-- outermost object. Returns whether the body is valid, and whether a wanted key occurs more than
-- once.
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
                state = open == NOTHING and BEHIND or FOLLOWED
            else
                state = INVALID
            end
        end
    end
    return state == BEHIND, repeated
end


-- The functions below are for what `scan` has found valid.


local function skip_space(text, at)
    while true do
        local byte = text[at]
        if byte ~= SPACE and byte ~= LINE_FEED and byte ~= RETURN and byte ~= TAB then
            return at
        end
        at = at + 1
    end
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


-- Reads `body`, one object and nothing else. For each key that `wanted` has (see `members`),
-- `members[key]` becomes its value (see value_at). Returns whether the body is valid, and whether
-- a wanted key occurs more than once: there are no values then.
function _M.read_object(body, wanted, members)
    local text, places = cast(bytes_t, body), {}
    local valid, repeated = scan(text, #body, wanted, places)
    if valid and not repeated then
        for name, behind in pairs(places) do
            local colon = skip_space(text, behind)
            members[name] = value_at(text, skip_space(text, colon + 1))
        end
    end
    return valid, repeated
end


return _M
