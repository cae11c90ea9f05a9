-- The order of loads and stores in memory that other processes read and write.

local ffi = require "ffi"


local ffi_fill = ffi.fill

local scratch = ffi.new("int32_t[1]")


-- Keeps LuaJIT from taking a value that it has loaded before this for one that is to be loaded
-- behind it, and from dropping or moving stores across it. `volatile` does not: LuaJIT 2.1 parses
-- it and merges the loads all the same (seen in its IR: even the generation was loaded once for a
-- whole loop). A fill ends what its optimiser knows of memory, for a nanosecond.
local function barrier()
    ffi_fill(scratch, 4)
end


return barrier
