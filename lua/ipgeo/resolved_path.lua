-- A path as it was resolved: its last folder and every symbolic link on the way, held open. So a
-- process that has dropped its rights still reaches the folder, even if it may not pass through the
-- folders above, and notices when the path resolves to another one.
--
-- /proc/self/fd gives the present name of whatever a descriptor is open for, a symbolic link itself
-- too. The name changes when the link is replaced or removed, or when a folder above is moved. To
-- look there takes no rights but those of the process over itself.

local system = require "ipgeo.system"


local gmatch, sub = string.gmatch, string.sub
local ipairs, setmetatable = ipairs, setmetatable
local close, open_at, read_link = system.close, system.open_at, system.read_link
local remove = table.remove

local HERE, HOLD, NO_FOLLOW = system.AT_FDCWD, system.HOLD, system.NO_FOLLOW
local MAX_LINKS = 40 -- as in Linux


local _M = {}
local mt = { __index = _M }


local function name_of(descriptor)
    return read_link(HERE, "/proc/self/fd/" .. descriptor.number)
end


-- Puts the names in `path` before those that are still to be resolved: `pending` ends with the
-- next one.
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


-- Whether this process may enter the folder.
local function may_enter(folder)
    local inside = open_at(folder.number, ".", HOLD)
    if inside then
        close(inside)
    end
    return inside ~= nil
end


-- Opens the next name of `pending` in `folder`. Returns the folder to go on from; a symbolic link
-- is put into `links`, and its target into `pending`.
local function step(folder, pending, links)
    local found = open_at(folder.number, remove(pending), HOLD + NO_FOLLOW)
    local target = found and read_link(found.number, "")
    if target then
        links[#links + 1] = found
        push(pending, target)
        if sub(target, 1, 1) ~= "/" then
            return folder
        end
        found = start_of(target)
    end
    close(folder)
    return found
end


-- Goes from `folder` to the one that `pending` leads to, name by name. Returns it, or nil if this
-- process cannot go there or may not enter it.
local function walk(folder, pending, links)
    while folder and #pending > 0 and #links <= MAX_LINKS do
        folder = step(folder, pending, links)
    end
    if folder and (#pending > 0 or not may_enter(folder)) then
        close(folder)
        return nil
    end
    return folder
end


-- Resolves the path of a folder. Returns an object with the descriptor `folder`, or nil if this
-- process cannot go there.
function _M.new(path)
    local pending, held = {}, {}
    push(pending, path)
    local folder = walk(start_of(path), pending, held)
    held[#held + 1] = folder
    local self = setmetatable({ held = held, names = {}, folder = folder }, mt)
    if not folder then
        self:close()
        return nil
    end
    for i, descriptor in ipairs(held) do
        self.names[i] = name_of(descriptor) or false
    end
    return self
end


function _M:close()
    for _, descriptor in ipairs(self.held) do
        close(descriptor)
    end
end


-- Whether the path still resolves to the folder, as far as this process can see.
function _M:is_current()
    for i, descriptor in ipairs(self.held) do
        local name = self.names[i]
        if name and name_of(descriptor) ~= name then
            return false
        end
    end
    return true
end


return _M
