-- The operator's file: opened, identified, read in slices. Never mapped: a file that is truncated
-- in place would then kill the process that reads it.
--
-- What goes wrong has one of these kinds: "unreadable" and "moved" (see `open`), "unlinked" (there
-- is no such file), "refused" (what is there is none that could be a blob).

local ffi = require "ffi"
local system = require "ipgeo.system"
local resolved_path = require "ipgeo.resolved_path"


local cast = ffi.cast
local format = string.format
local min = math.min
local open_at, read, status = system.open_at, system.read, system.status
local setmetatable = setmetatable

local HERE, READ = system.AT_FDCWD, system.READ
local EACCES, ENOENT = system.EACCES, system.ENOENT
local HEAD = 4096
local SLICE = 262144
local MOVED = "the path leads to another place by now, where this process may not go"

local bytes_t = ffi.typeof("uint8_t *")


local _M = {}
local mt = { __index = _M }


-- Remembers `path` and holds the way to its folder, for a process that is to give up its rights.
function _M.new(path)
    local folder, name = path:match("^(.*)/([^/]*)$")
    folder = folder == "" and "/" or folder or "."
    return setmetatable({
        path = path,
        name = name or path,
        folder = folder,
        way = resolved_path.new(folder),
    }, mt)
end


-- Whether the way that is held is the path's. It is walked once more if it has changed.
function _M:knows_way()
    if not self.way or not self.way:is_intact() then
        local new = resolved_path.new(self.folder)
        if not new then
            return false
        elseif self.way then
            self.way:close()
        end
        self.way = new
    end
    return true
end


-- Opens the file, by its path or, where this process may not pass, by the way that is held. Returns
-- true, or nil, why not, and the kind: "moved" if only the place where the path once led could be
-- reached.
function _M:open()
    local descriptor, err, code = open_at(HERE, self.path, READ)
    local knows_way = self:knows_way()
    if not descriptor and code == EACCES and self.way then
        if not knows_way then
            return nil, MOVED, "moved"
        end
        descriptor, err, code = open_at(self.way.folder.number, self.name, READ)
    end
    self.descriptor = descriptor
    if not descriptor then
        return nil, err, code == ENOENT and "unlinked" or "unreadable"
    end
    return true
end


function _M:close()
    if self.descriptor then
        system.close(self.descriptor)
        self.descriptor = nil
    end
end


-- Reads up to `length` bytes to `base`, calling `tick` after each slice. Returns how many there
-- were, or nil and why it failed.
function _M:read(base, length, tick)
    base = cast(bytes_t, base)
    local at = 0
    while at < length do
        local got, err = read(self.descriptor, base + at, min(SLICE, length - at))
        if not got then
            return nil, err
        elseif got == 0 then
            break
        end
        at = at + got
        if tick then
            tick()
        end
    end
    return at
end


local function ended(after, length)
    return format("ended after %.0f of %.0f bytes while it was read", after, length)
end


-- What tells this state of the file from every other: device, inode, size, mtime in nanoseconds and
-- a digest of the first 4 KiB (`digest(pointer, length)` returns a number). Returns a table with
-- that as `identity`; `state`, the same with the ctime, which a write that keeps the mtime changes,
-- but a further name too; `size` (bytes), `mtime` (seconds), `links` (how many names the file has)
-- and `head`, its first bytes; or nil, what is wrong, and its kind. To be called right after
-- `open`, for it reads.
function _M:identify(digest)
    local stat, err = status(self.descriptor)
    if not stat then
        return nil, err, "unreadable"
    end
    if not stat.is_regular then
        return nil, "not a regular file", "refused"
    end
    local head = ffi.new("uint8_t[?]", HEAD)
    local got
    got, err = self:read(head, HEAD)
    if got and got < min(HEAD, stat.size) then
        got, err = nil, ended(got, stat.size)
    end
    if not got then
        return nil, err, "unreadable"
    end
    self.head, self.head_length = head, got
    local identity = format("%d:%d:%s:%.0f:%.0f.%09d:%d", stat.device_major, stat.device_minor,
        tostring(stat.inode), stat.size, stat.mtime, stat.mtime_nanoseconds, digest(head, got))
    return {
        identity = identity,
        state = format("%s:%.0f.%09d", identity, stat.ctime, stat.ctime_nanoseconds),
        size = stat.size,
        mtime = stat.mtime,
        links = stat.links,
        head = head,
    }
end


-- Reads the whole file, of which `identify` has read the beginning, to `base`. Returns true, or nil
-- and what is wrong.
function _M:read_all(base, length, tick)
    local head = min(self.head_length, length)
    ffi.copy(base, self.head, head)
    local got, err = self:read(cast(bytes_t, base) + head, length - head, tick)
    if not got then
        return nil, err
    end
    if got < length - head then
        return nil, ended(head + got, length)
    end
    return true
end


return _M
