-- A robust POSIX mutex in shared memory: the kernel frees it at once when its owner dies, and a
-- live owner never loses it. A lock with an expiry is no substitute: an owner that was only stopped
-- would go on writing into a slot that another process has made current.

local ffi = require "ffi"


local cast, C = ffi.cast, ffi.C

local OWNER_DIED = 130 -- EOWNERDEAD of Linux
local PROCESS_SHARED, ROBUST = 1, 1

ffi.cdef [[
    int pthread_mutexattr_init(void *attribute);
    int pthread_mutexattr_setpshared(void *attribute, int shared);
    int pthread_mutexattr_setrobust(void *attribute, int robust);
    int pthread_mutex_init(void *mutex, const void *attribute);
    int pthread_mutex_trylock(void *mutex);
    int pthread_mutex_consistent(void *mutex);
    int pthread_mutex_unlock(void *mutex);
]]

local attribute_t = ffi.typeof("int64_t[8]")
local mutex_t = ffi.typeof("void *")


local _M = {}


-- Makes the 64 bytes at `memory` a mutex. Returns whether that succeeded.
function _M.init(memory)
    local attribute = attribute_t()
    return C.pthread_mutexattr_init(attribute) == 0
        and C.pthread_mutexattr_setpshared(attribute, PROCESS_SHARED) == 0
        and C.pthread_mutexattr_setrobust(attribute, ROBUST) == 0
        and C.pthread_mutex_init(cast(mutex_t, memory), attribute) == 0
end


-- Takes the mutex if it is free or its owner has died; never waits. Returns whether it was taken.
function _M.try_lock(memory)
    local mutex = cast(mutex_t, memory)
    local result = C.pthread_mutex_trylock(mutex)
    if result == OWNER_DIED then
        result = C.pthread_mutex_consistent(mutex)
    end
    return result == 0
end


function _M.unlock(memory)
    C.pthread_mutex_unlock(cast(mutex_t, memory))
end


return _M
