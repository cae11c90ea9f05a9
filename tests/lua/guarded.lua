-- Memory for tests: a copy of some bytes that ends where an inaccessible page begins.

local ffi = require "ffi"


local PAGE = 4096
local PROT_NONE, PROT_READ_WRITE = 0, 3
local MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 0x20

ffi.cdef [[
    void *mmap(void *address, size_t length, int protection, int flags, int descriptor,
        long offset);
    int mprotect(void *address, size_t length, int protection);
    int munmap(void *address, size_t length);
    int open(const char *path, int flags, ...);
    int getpid(void);
    int kill(int pid, int signal);
]]


local _M = {}


local function map(length, flags, descriptor)
    local memory = ffi.C.mmap(nil, length, PROT_READ_WRITE, flags, descriptor, 0)
    assert(ffi.cast("intptr_t", memory) ~= -1, "mmap failed")
    return ffi.cast("uint8_t *", memory)
end


-- Returns a function that puts a Lua string right before an inaccessible page and returns where.
-- Each call overwrites the string of the call before.
function _M.new(largest)
    local pages = math.ceil(largest / PAGE)
    local memory = map((pages + 1) * PAGE, MAP_PRIVATE + MAP_ANONYMOUS, -1)
    local edge = memory + pages * PAGE
    assert(ffi.C.mprotect(edge, PAGE, PROT_NONE) == 0)
    return function(bytes)
        ffi.copy(edge - #bytes, bytes, #bytes)
        return edge - #bytes
    end
end


-- Maps `length` bytes of a file as memory that other processes share.
function _M.share(path, length)
    local descriptor = ffi.C.open(path, 2)
    assert(descriptor >= 0, "cannot open " .. path)
    return map(length, MAP_SHARED, descriptor)
end


return _M
