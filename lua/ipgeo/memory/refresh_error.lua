-- What is wrong with the operator's file, kept for all who share the memory.

local arena = require "ipgeo.memory.arena"


local gsub = string.gsub

local KINDS = { "unreadable", "refused", "moved", "unlinked" } -- by their numbers in memory


local _M = {}


-- The kind and the reason that `remember` has kept last. No kind if nothing is wrong.
function _M.read(memory)
    local number, reason = memory:trouble()
    return KINDS[number], reason
end


-- What is compared: of a file that cannot be read the numbers may differ from look to look.
local function gist(kind, reason)
    return kind == "unreadable" and gsub(reason, "%d+", "") or reason
end


local function number_of(kind)
    for i = 1, #KINDS do
        if KINDS[i] == kind then
            return i
        end
    end
    return 0
end


-- Keeps what a look has found, for all workers; no kind if nothing is wrong. `tell` gets what is
-- new before that: whoever hears of it from a worker finds it in the log. Under the lock.
function _M.remember(memory, kind, reason, tell)
    local kept = kind and arena.reason(reason) or ""
    local known_kind, known_reason = _M.read(memory)
    local is_known = kind == known_kind
        and (not kind or gist(kind, kept) == gist(kind, known_reason))
    if tell and not is_known then
        tell(kind, reason)
    end
    if kind ~= known_kind or kept ~= known_reason then
        memory:set_trouble(number_of(kind), kept)
    end
end


return _M
