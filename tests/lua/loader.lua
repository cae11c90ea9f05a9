-- One process that loads a blob into an arena in a shared file, as the edge's store does.
--
-- usage: luajit loader.lua MEMORY BYTES BLOB finish|stop
-- `stop` halts itself by SIGSTOP when half of the blob is in the slot. Prints "busy", or the new
-- generation.

local ffi = require "ffi"
local arena = require "ipgeo.memory.arena"
local guarded = require "guarded"


local SIGSTOP = 19


local function read_file(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


local function main(memory, bytes, path, manner)
    local shared = assert(arena.attach(guarded.share(memory, bytes), bytes))
    local content = read_file(path)
    if not shared:try_lock() then
        print("busy")
        return
    end
    print(assert(shared:load(#content, path, 0, function(base)
        local half = math.floor(#content / 2)
        ffi.copy(base, content, half)
        if manner == "stop" then
            ffi.C.kill(ffi.C.getpid(), SIGSTOP)
        end
        ffi.copy(base + half, ffi.cast("const char *", content) + half, #content - half)
        return true
    end)))
    shared:unlock()
end


main(arg[1], tonumber(arg[2]), arg[3], arg[4])
