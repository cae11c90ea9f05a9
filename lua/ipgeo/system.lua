-- System calls of Linux about files. Descriptors are closed when they are collected, at the latest.

local ffi = require "ffi"


local band = require("bit").band
local C, errno, ffi_string = ffi.C, ffi.errno, ffi.string
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
    ssize_t readlinkat(int folder, const char *path, char *buffer, size_t size);
    ssize_t read(int descriptor, void *buffer, size_t size);
    int close(int descriptor);
    char *strerror(int number);
]]

-- Numbers of Linux. O_NOFOLLOW differs between machines.
local AT_EMPTY_PATH = 0x1000
local O_NONBLOCK, O_CLOEXEC, O_PATH = 0x800, 0x80000, 0x200000
local O_NOFOLLOW = ({ arm = 0x8000, arm64 = 0x8000, ppc = 0x8000 })[jit.arch] or 0x20000
local STATX_BASIC = 0x7ff
local TYPE, REGULAR = 0xf000, 0x8000
local EINTR = 4
local PATH_MAX = 4096

local statx_t = ffi.typeof("struct ipgeo_statx")
local descriptor_t = ffi.typeof("struct { int number; }")


local _M = {
    AT_FDCWD = -100,
    EACCES = 13,
    ENOENT = 2,
    -- O_NONBLOCK: to open a FIFO must not block the process.
    READ = O_NONBLOCK + O_CLOEXEC,
    -- Only a reference: it takes no right to read.
    HOLD = O_PATH + O_CLOEXEC,
    NO_FOLLOW = O_NOFOLLOW,
}


local function failure()
    local code = errno()
    return nil, ffi_string(C.strerror(code)), code
end


function _M.close(descriptor)
    C.close(ffi.gc(descriptor, nil).number)
end


local function collect(descriptor)
    C.close(descriptor.number)
end


-- Opens `path`, relative to the descriptor number `folder`. Returns a descriptor, or nil, why not,
-- and the number of the error.
function _M.open_at(folder, path, flags)
    local number = C.openat(folder, path, flags)
    if number < 0 then
        return failure()
    end
    return ffi.gc(descriptor_t(number), collect)
end


-- Where a symbolic link leads: the one at `path`, or with an empty path `folder` itself. Returns
-- nil if it is not a link.
function _M.read_link(folder, path)
    local buffer = ffi.new("char[?]", PATH_MAX)
    local length = tonumber(C.readlinkat(folder, path, buffer, PATH_MAX))
    return length >= 0 and ffi_string(buffer, length) or nil
end


-- Describes an open file. Returns nil and why not if that fails.
function _M.status(descriptor)
    local stat = statx_t()
    if C.statx(descriptor.number, "", AT_EMPTY_PATH, STATX_BASIC, stat) ~= 0 then
        return failure()
    end
    return {
        is_regular = band(stat.mode, TYPE) == REGULAR,
        links = stat.nlink,
        device_major = stat.dev_major,
        device_minor = stat.dev_minor,
        inode = stat.ino,
        size = tonumber(stat.size), -- bytes
        mtime = tonumber(stat.mtime.seconds),
        mtime_nanoseconds = stat.mtime.nanoseconds,
        ctime = tonumber(stat.ctime.seconds),
        ctime_nanoseconds = stat.ctime.nanoseconds,
    }
end


-- Reads up to `size` bytes to `base`. Returns how many there were, 0 at the end; or nil and why
-- not.
function _M.read(descriptor, base, size)
    while true do
        local got = tonumber(C.read(descriptor.number, base, size))
        if got >= 0 then
            return got
        elseif errno() ~= EINTR then
            return failure()
        end
    end
end


return _M
