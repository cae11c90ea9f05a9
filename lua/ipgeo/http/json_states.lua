-- The finite automaton of strict_json.lua: its states and the table of transitions. It accepts
-- RFC 8259 in UTF-8; the reader keeps track of nesting, in its actions.

local ffi = require "ffi"


local byte_of = string.byte
local ipairs, pairs = ipairs, pairs

local SPACE = 0x20

-- The automaton. A state is the index of its row in `next_state`: the next state for each byte.
local ROW = 256
local next_state = ffi.new("uint16_t[?]", 96 * ROW)
-- Instead of a state: the reader does something and then chooses the state.
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


-- States for one set of bytes after the other, the last of which leads to `target`. Returns the
-- first.
local function sequence(sets, target)
    for i = #sets, 1, -1 do
        local state = new_state()
        on(state, sets[i], target)
        target = state
    end
    return target
end


-- States for `count` continuation bytes, the first one from `first` to `last`. Returns the first.
local function continuation(count, first, last, target)
    local state = new_state()
    if count > 1 then
        target = continuation(count - 1, 0x80, 0xbf, target)
    end
    on_range(state, first, last, target)
    return state
end


-- States for a string whose closing quote leads to `target`. Returns the one after the opening
-- quote.
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


-- Transitions from the end of a value; white space leads to `target`.
local function end_value(state, target)
    on(state, " \t\r\n", target)
    on(state, ",", COMMA)
    on(state, "}", CLOSE_OBJECT)
    on(state, "]", CLOSE_ARRAY)
end


-- Transitions from `state` to a number, whose end leads to `after`.
local function begin_number(state, after)
    local minus, zero, whole, point = new_state(), new_state(), new_state(), new_state()
    local fraction, exponent, sign, power = new_state(), new_state(), new_state(), new_state()
    for _, last in ipairs { zero, whole, fraction, power } do
        end_value(last, after)
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


-- Transitions from `state` to a value, whose end leads to `after`.
local function begin_value(state, after)
    on(state, " \t\r\n", state)
    on(state, '"', string_states(after))
    on(state, "{", OPEN_OBJECT)
    on(state, "[", OPEN_ARRAY)
    on(state, "t", sequence({ "r", "u", "e" }, after))
    on(state, "f", sequence({ "a", "l", "s", "e" }, after))
    on(state, "n", sequence({ "u", "l", "l" }, after))
    begin_number(state, after)
end


-- Another state with the same transitions.
local function copy_state(state)
    local copy = new_state()
    for byte = 0, ROW - 1 do
        local target = next_state[state + byte]
        next_state[copy + byte] = target == state and copy or target
    end
    return copy
end


local BEFORE, AFTER = new_state(), new_state() -- the whole object
on(BEFORE, " \t\r\n", BEFORE)
on(BEFORE, "{", OPEN_OBJECT)
on(AFTER, " \t\r\n", AFTER)

local FOLLOWED = new_state() -- after a value
end_value(FOLLOWED, FOLLOWED)

local VALUE = new_state()
begin_value(VALUE, FOLLOWED)
local FIRST_ELEMENT = copy_state(VALUE)
on(FIRST_ELEMENT, "]", CLOSE_ARRAY)

local KEY = new_state()
on(KEY, " \t\r\n", KEY)
on(KEY, '"', BEGIN_KEY)
local FIRST_KEY = copy_state(KEY)
on(FIRST_KEY, "}", CLOSE_OBJECT)

local IN_KEY = string_states(END_KEY)
local COLON = new_state()
on(COLON, " \t\r\n", COLON)
on(COLON, ":", VALUE)


return {
    next_state = next_state,
    INVALID = INVALID,
    -- Actions: ACTIONS and above.
    ACTIONS = ACTIONS, BEGIN_KEY = BEGIN_KEY, END_KEY = END_KEY, COMMA = COMMA,
    OPEN_OBJECT = OPEN_OBJECT, CLOSE_OBJECT = CLOSE_OBJECT, OPEN_ARRAY = OPEN_ARRAY,
    -- States: before and after the whole object, after a value, and what comes next.
    BEFORE = BEFORE, AFTER = AFTER, FOLLOWED = FOLLOWED,
    VALUE = VALUE, FIRST_ELEMENT = FIRST_ELEMENT,
    KEY = KEY, FIRST_KEY = FIRST_KEY, IN_KEY = IN_KEY, COLON = COLON,
}
