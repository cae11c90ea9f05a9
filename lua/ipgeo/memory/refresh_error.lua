-- Why the file cannot be refreshed, kept for all processes that share the memory.

local arena = require "ipgeo.memory.arena"


local gsub = string.gsub

local KINDS = { "unreadable", "refused", "moved", "unlinked" } -- by their numbers in memory
local NONE = 0


local _M = {}


-- The kind and the message that `set` has kept last; no kind if there is no error.
function _M.get(memory)
    local number, message = memory:refresh_error()
    return KINDS[number], message
end


local function number_of(kind)
    for i = 1, #KINDS do
        if KINDS[i] == kind then
            return i
        end
    end
    return NONE
end


-- The part of a message that is compared: each failed read of the same file may name other numbers.
local function stable_part(kind, message)
    return kind == "unreadable" and gsub(message, "%d+", "") or message
end


local function is_same(kind, message, known_kind, known_message)
    return kind == known_kind
        and (not kind or stable_part(kind, message) == stable_part(kind, known_message))
end


-- Keeps the error that was found; no kind if there is none. Calls `log(kind, message)` for a new
-- one, and does so first: what a worker reports can be found in the log. Needs the lock.
function _M.set(memory, kind, message, log)
    local kept = kind and arena.message(message) or ""
    local known_kind, known_message = _M.get(memory)
    if log and not is_same(kind, kept, known_kind, known_message) then
        log(kind, message)
    end
    if kind ~= known_kind or kept ~= known_message then
        memory:set_refresh_error(number_of(kind), kept)
    end
end


return _M
