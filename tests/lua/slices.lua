-- Prints the most instructions, in thousands, that the check of a blob runs between two calls of
-- `on_slice`.
--
-- usage: luajit slices.lua BLOB

local ffi = require "ffi"
local check = require "ipgeo.blob.check"


local COUNTED = 1000

local handle = assert(io.open(arg[1], "rb"))
local content = handle:read("*a")
handle:close()

local since, most = 0, 0


local function on_slice()
    most = math.max(most, since)
    since = 0
end


jit.off() -- compiled code is not counted
debug.sethook(function()
    since = since + 1
end, "", COUNTED)
assert(check.whole(ffi.cast("const uint8_t *", content), #content, on_slice))
on_slice()
print(most)
