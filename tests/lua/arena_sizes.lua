-- Prints, for each size of shared memory, a line with the length of its longest blob; or with why
-- there are no slots. Prints a further line with the size that has slots of that length.
--
-- usage: luajit arena_sizes.lua MEMORY SIZE...      MEMORY: a sparse file of the largest size

local arena = require "ipgeo.memory.arena"
local guarded = require "guarded"


local function main(memory, ...)
    local sizes = { ... }
    for i = 1, #sizes do
        local size = tonumber(sizes[i])
        local shared = arena.attach(guarded.share(memory, size), size)
        print(shared and string.format("%d %d", shared.capacity, arena.needed(shared.capacity))
            or "none")
    end
end


main(arg[1], unpack(arg, 2))
