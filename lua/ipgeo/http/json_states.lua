-- The finite automaton that strict_json.lua reads with: the states and the table of the next ones.
-- What it takes is RFC 8259 in UTF-8; what is nested is the reader's, in its actions.

local ffi = require "ffi"


local byte_of = string.byte
local ipairs, pairs = ipairs, pairs

local SPACE = 0x20

-- The automaton. A state is its row's place in `next_state`, which has the next one for each byte.
local ROW = 256
local next_state = ffi.new("uint16_t[?]", 96 * ROW)
-- These are no rows: the reader does something and then chooses the state.
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


return {
    next_state = next_state,
    INVALID = INVALID,
    -- Actions: all that are not below the first.
    ACTIONS = ACTIONS, BEGIN_KEY = BEGIN_KEY, END_KEY = END_KEY, COMMA = COMMA,
    OPEN_OBJECT = OPEN_OBJECT, CLOSE_OBJECT = CLOSE_OBJECT, OPEN_ARRAY = OPEN_ARRAY,
    -- States: before and behind the whole, behind a value, and what is to come.
    BEFORE = BEFORE, BEHIND = BEHIND, FOLLOWED = FOLLOWED,
    VALUE = VALUE, FIRST_ELEMENT = FIRST_ELEMENT,
    KEY = KEY, FIRST_KEY = FIRST_KEY, IN_KEY = IN_KEY, COLON = COLON,
}
