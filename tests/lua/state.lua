-- Prints what an arena in a shared file serves: generation, build id, whether each slot is being
-- written, and the answers for 1.2.3.4 and 9.9.9.9.
--
-- usage: luajit state.lua MEMORY BYTES

local arena = require "ipgeo.memory.arena"
local copy_answer = require("ipgeo.answer").copy
local guarded = require "guarded"


local function main(memory, bytes)
    local shared = assert(arena.attach(guarded.share(memory, bytes), bytes))
    local snapshot = shared:snapshot()
    if not snapshot then
        print(0, "none", shared.control.slot[0].seq % 2, shared.control.slot[1].seq % 2)
        return
    end
    local function array(high, low)
        return copy_answer(snapshot.view, high, low, false)
    end
    print(snapshot.generation, snapshot.build_id, shared.control.slot[0].seq % 2,
        shared.control.slot[1].seq % 2, array(0x0102, 0x0304), array(0x0909, 0x0909))
end


main(arg[1], tonumber(arg[2]))
