-- The operator's file: opened, identified, read in slices. Never mapped: a file that is truncated
-- in place would then kill the process that reads it.

local ffi = require "ffi"


local band = require("bit").band
local cast, C = ffi.cast, ffi.C
local errno, ffi_string = ffi.errno, ffi.string
local format = string.format
local min = math.min
local setmetatable = setmetatable
local tonumber = tonumber

ffi.cdef [[
    struct ipgeo_time { int64_t seconds; uint32_t nanoseconds; int32_t pad; };
    struct ipgeo_statx {
        uint32_t mask, blksize;
        uint64_t attributes;
        uint32_t nlink, uid, gid;
        uint16_t mode, pad;
        uint64_t ino, size, blocks, attributes_mask;
        struct ipgeo_time atime, btime, ctime, mtime;
        uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
        uint64_t spare[14];
    };
    int statx(int folder, const char *path, int flags, unsigned int mask, void *result);
    int openat(int folder, const char *path, int flags, ...);
    ssize_t read(int descriptor, void *buffer, size_t size);
    int close(int descriptor);
    char *strerror(int number);
]]

-- Numbers of Linux. O_DIRECTORY differs between machines and is not needed.
local AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
local O_NONBLOCK, O_CLOEXEC, O_PATH = 0x800, 0x80000, 0x200000
local STATX_BASIC = 0x7ff
local TYPE, REGULAR = 0xf000, 0x8000
local EINTR, EACCES = 4, 13
local HEAD = 4096
local SLICE = 262144

local statx_t = ffi.typeof("struct ipgeo_statx")
local descriptor_t = ffi.typeof("struct { int number; }")
local bytes_t = ffi.typeof("uint8_t *")


local _M = {}
local mt = { __index = _M }


local function close(descriptor)
    C.close(descriptor.number)
end


-- Opens for reading; what comes back is closed when it is collected at the latest. A FIFO in the
-- file's place must not stop the process, hence O_NONBLOCK.
local function open_at(folder, path, flags)
    local number = C.openat(folder, path, flags)
    if number < 0 then
        local code = errno()
        return nil, ffi_string(C.strerror(code)), code
    end
    return ffi.gc(descriptor_t(number), close)
end


-- Remembers `path` and holds its folder open, so that a process that has given up its rights still
-- reaches the file where it may not pass through the folders above.
function _M.new(path)
    local folder, name = path:match("^(.*)/([^/]*)$")
    folder = folder == "" and "/" or folder or "."
    return setmetatable({
        path = path,
        name = name or path,
        folder = open_at(AT_FDCWD, folder, O_PATH + O_CLOEXEC),
    }, mt)
end


-- Opens the file. Returns true, or nil and why not.
function _M:open()
    local descriptor, err, code = open_at(AT_FDCWD, self.path, O_NONBLOCK + O_CLOEXEC)
    if not descriptor and code == EACCES and self.folder then
        descriptor, err = open_at(self.folder.number, self.name, O_NONBLOCK + O_CLOEXEC)
    end
    self.descriptor = descriptor
    if not descriptor then
        return nil, err
    end
    return true
end


function _M:close()
    if self.descriptor then
        close(ffi.gc(self.descriptor, nil))
        self.descriptor = nil
    end
end


-- Reads up to `length` bytes to `base`, calling `tick` after each slice. Returns how many there
-- were, or nil and why it failed.
function _M:read(base, length, tick)
    base = cast(bytes_t, base)
    local at = 0
    while at < length do
        local got = tonumber(C.read(self.descriptor.number, base + at, min(SLICE, length - at)))
        if got < 0 and errno() ~= EINTR then
            return nil, ffi_string(C.strerror(errno()))
        elseif got == 0 then
            break
        elseif got > 0 then
            at = at + got
        end
        if tick then
            tick()
        end
    end
    return at
end


-- What tells this state of the file from every other: device, inode, size, mtime in nanoseconds and
-- a digest of the first 4 KiB (`digest(pointer, length)` returns a number). Returns that as a
-- string, the size in bytes and the mtime in seconds, or nil and what is wrong. To be called right
-- after `open`: it reads.
function _M:identify(digest)
    local stat = statx_t()
    if C.statx(self.descriptor.number, "", AT_EMPTY_PATH, STATX_BASIC, stat) ~= 0 then
        return nil, ffi_string(C.strerror(errno()))
    end
    if band(stat.mode, TYPE) ~= REGULAR then
        return nil, "not a regular file"
    end
    self.head = ffi.new("uint8_t[?]", HEAD)
    local got, err = self:read(self.head, HEAD)
    if not got then
        return nil, err
    end
    self.head_length = got
    local size, mtime = tonumber(stat.size), tonumber(stat.mtime.seconds)
    local identity = format("%d:%d:%s:%.0f:%.0f.%09d:%d", stat.dev_major, stat.dev_minor,
        tostring(stat.ino), size, mtime, stat.mtime.nanoseconds, digest(self.head, got))
    return identity, size, mtime
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
        return nil, format("ended after %d of %d bytes while it was read", head + got, length)
    end
    return true
end


return _M
