-- Prints the result of the edge's `check` of a blob.
--
-- usage: luajit check.lua BLOB

local ffi = require "ffi"
local check = require "ipgeo.blob.check"
local header = require "ipgeo.blob.header"


local handle = assert(io.open(arg[1], "rb"))
local content = handle:read("*a")
handle:close()
local base = ffi.cast("const uint8_t *", content)
local view, err = check.whole(base, #content)
if view then
    print(("sound: build id %s, %d runs, %d of IPv6"):format(header.build_id(base), view.runs,
        view.runs6))
else
    print("refused: " .. err)
end
