-- The order of loads and stores in memory that other processes read and write.

local ffi = require "ffi"


local ffi_fill = ffi.fill

local scratch = ffi.new("int32_t[1]")


-- Across this LuaJIT reuses no value that it has loaded before, and neither drops nor moves stores.
-- `volatile` does not suffice: LuaJIT 2.1 parses it and still merges the loads (its IR showed that
-- even the generation was loaded once for a whole loop). A fill invalidates what the optimiser
-- knows of memory, and costs about a nanosecond.
local function barrier()
    ffi_fill(scratch, 4)
end


return barrier
