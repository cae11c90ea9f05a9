-- The way to a folder: held, so that a process that has given up its rights still reaches the
-- folder where it may not pass through those above, and notices when the path leads elsewhere.
--
-- A descriptor of a symbolic link itself, or of a folder, has its place in /proc/self/fd. That
-- changes when the link is replaced or removed, or when a folder above it is moved. To look there
-- takes no rights but those of the process over itself.

local system = require "ipgeo.system"


local gmatch, sub = string.gmatch, string.sub
local ipairs, setmetatable = ipairs, setmetatable
local close, open_at, read_link = system.close, system.open_at, system.read_link
local remove = table.remove

local HERE, HOLD, NO_FOLLOW = system.AT_FDCWD, system.HOLD, system.NO_FOLLOW
local MAX_LINKS = 40 -- as Linux has it



local _M = {}
local mt = { __index = _M }


local function place_of(descriptor)
    return read_link(HERE, "/proc/self/fd/" .. descriptor.number)
end


-- Puts the names in `path` before those that are still to be walked: `pending` ends with the next.
local function push(pending, path)
    local names = {}
    for name in gmatch(path, "[^/]+") do
        names[#names + 1] = name
    end
    for i = #names, 1, -1 do
        pending[#pending + 1] = names[i]
    end
end


local function start_of(path)
    return open_at(HERE, sub(path, 1, 1) == "/" and "/" or ".", HOLD)
end


-- Whether folders may be entered through it.
local function may_enter(folder)
    local inside = open_at(folder.number, ".", HOLD)
    if inside then
        close(inside)
    end
    return inside ~= nil
end


-- Goes on from the folder `at` to the one that `pending` leads to, name by name, and puts the
-- symbolic links on the way into `links`, held. Returns the last folder, or nil if this process
-- cannot go there or may not enter it.
local function walk(at, pending, links)
    while at and #pending > 0 and #links <= MAX_LINKS do
        local found = open_at(at.number, remove(pending), HOLD + NO_FOLLOW)
        local target = found and read_link(found.number, "")
        if target then
            links[#links + 1] = found
            push(pending, target)
        end
        if not target or sub(target, 1, 1) == "/" then
            close(at)
            at = target and start_of(target) or found
        end
    end
    if at and (#pending > 0 or not may_enter(at)) then
        close(at)
        return nil
    end
    return at
end


-- Walks to `folder` and holds the way. Returns it, or nil.
function _M.new(folder)
    local pending, held = {}, {}
    push(pending, folder)
    local last = walk(start_of(folder), pending, held)
    held[#held + 1] = last
    local self = setmetatable({ held = held, places = {}, folder = last }, mt)
    if not last then
        self:close()
        return nil
    end
    for i, descriptor in ipairs(held) do
        self.places[i] = place_of(descriptor) or false
    end
    return self
end


function _M:close()
    for _, descriptor in ipairs(self.held) do
        close(descriptor)
    end
end


-- Whether the path still leads to the folder, as far as can be seen from here.
function _M:is_intact()
    for i, descriptor in ipairs(self.held) do
        local place = self.places[i]
        if place and place_of(descriptor) ~= place then
            return false
        end
    end
    return true
end


return _M
