-- Writes numbers as the edge does.
--
-- usage: luajit numbers.lua < NUMBERS      (a line each: the cell, a blank, the decimals)

local ffi = require "ffi"
local number = require "ipgeo.blob.number"


local AT = 5
local target = ffi.new("uint8_t[?]", AT + number.MAX + number.SPILL)

for line in io.lines() do
    local cell, decimals = line:match("^(%S+) (%d)$")
    local stop = number.put(target, AT, tonumber(cell), tonumber(decimals))
    assert(stop - AT <= number.MAX)
    print(ffi.string(target + AT, stop - AT))
end
