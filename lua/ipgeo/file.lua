-- The operator's file: opened, inspected, read in slices. Never mapped: truncating a mapped file in
-- place kills the process that reads it.
--
-- An error has one of these kinds: "unreadable" and "moved" (see `open`), "unlinked" (there is no
-- such file), "refused" (it cannot be a blob).

local ffi = require "ffi"
local resolved_path = require "ipgeo.resolved_path"
local system = require "ipgeo.system"


local cast = ffi.cast
local format = string.format
local min = math.min
local open_at, read, status = system.open_at, system.read, system.status
local setmetatable, tostring = setmetatable, tostring

local HERE, READ = system.AT_FDCWD, system.READ
local EACCES, ENOENT = system.EACCES, system.ENOENT
local HEAD = 4096
local SLICE = 262144
local MOVED = "the path now leads to another place, where this process may not go"

local bytes_t = ffi.typeof("uint8_t *")


local _M = {}
local mt = { __index = _M }


-- The file at `path`. Its folder is held open, for a process that will drop its rights.
function _M.new(path)
    local folder, name = path:match("^(.*)/([^/]*)$")
    folder = folder == "" and "/" or folder or "."
    return setmetatable({
        path = path,
        name = name or path,
        folder = folder,
        resolved = resolved_path.new(folder),
    }, mt)
end


-- Resolves the path again if it has changed. Returns whether the folder that is held is the path's.
function _M:resolve()
    if not self.resolved or not self.resolved:is_current() then
        local new = resolved_path.new(self.folder)
        if not new then
            return false
        elseif self.resolved then
            self.resolved:close()
        end
        self.resolved = new
    end
    return true
end


-- Opens the file: by its path or, where this process may not pass, in the folder that is held.
-- Returns true, or nil, why not, and the kind: "moved" if the path now leads to another folder,
-- which this process cannot reach.
function _M:open()
    local descriptor, err, code = open_at(HERE, self.path, READ)
    local is_resolved = self:resolve()
    if not descriptor and code == EACCES and self.resolved then
        if not is_resolved then
            return nil, MOVED, "moved"
        end
        descriptor, err, code = open_at(self.resolved.folder.number, self.name, READ)
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


-- Reads up to `length` bytes to `base`, calling `on_slice` after each slice. Returns how many there
-- were, or nil and why it failed.
function _M:read(base, length, on_slice)
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
        if on_slice then
            on_slice()
        end
    end
    return at
end


local function ended(after, length)
    return format("ended after %.0f of %.0f bytes while it was read", after, length)
end


-- Reads the first bytes of a file of `size` bytes. Returns them and how many there are, or nil and
-- what is wrong.
local function read_head(self, size)
    local head = ffi.new("uint8_t[?]", HEAD)
    local got, err = self:read(head, HEAD)
    if not got then
        return nil, err
    elseif got < min(HEAD, size) then
        return nil, ended(got, size)
    end
    return head, got
end


local function fingerprint_of(stat, digest)
    return format("%d:%d:%s:%.0f:%.0f.%09d:%d", stat.device_major, stat.device_minor,
        tostring(stat.inode), stat.size, stat.mtime, stat.mtime_nanoseconds, digest)
end


-- Describes the open file. Returns a table, or nil, what is wrong, and its kind. In the table:
-- `fingerprint`: device, inode, size, mtime in nanoseconds and a digest of the first 4 KiB
-- (`digest(pointer, length)` returns a number); `fingerprint_with_ctime`: a write that keeps the
-- mtime changes the ctime, but so does a further name; `size` (bytes), `mtime` (seconds), `links`
-- (how many names the file has) and `head`, its first bytes. Needs a file that was just opened, as
-- it reads.
function _M:inspect(digest)
    local stat, err = status(self.descriptor)
    if not stat then
        return nil, err, "unreadable"
    end
    if not stat.is_regular then
        return nil, "not a regular file", "refused"
    end
    local head, length = read_head(self, stat.size)
    if not head then
        return nil, length, "unreadable"
    end
    self.head, self.head_length = head, length
    local fingerprint = fingerprint_of(stat, digest(head, length))
    return {
        fingerprint = fingerprint,
        fingerprint_with_ctime = format("%s:%.0f.%09d", fingerprint, stat.ctime,
            stat.ctime_nanoseconds),
        size = stat.size,
        mtime = stat.mtime,
        links = stat.links,
        head = head,
    }
end


-- Reads the whole file, of which `inspect` has read the beginning, to `base`. Returns true, or nil
-- and what is wrong.
function _M:read_all(base, length, on_slice)
    local head = min(self.head_length, length)
    ffi.copy(base, self.head, head)
    local got, err = self:read(cast(bytes_t, base) + head, length - head, on_slice)
    if not got then
        return nil, err
    end
    if got < length - head then
        return nil, ended(head + got, length)
    end
    return true
end


return _M
