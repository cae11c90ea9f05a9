-- Parses addresses as the edge does. Prints for each the high and the low 16 bits of the IPv4
-- address that it leads to, or -1 and 0; then, of IPv6, its text and its bytes. `nil` is none.
--
-- usage: luajit addresses.lua < TEXTS      (each ends with a line feed)

local ffi = require "ffi"
local addresses = require "ipgeo.address"


local function hex(bytes)
    local digits = {}
    for i = 0, 15 do
        digits[i + 1] = ("%02x"):format(bytes[i])
    end
    return table.concat(digits)
end


for text in io.read("*a"):gmatch("([^\n]*)\n") do
    local high, low, is_ipv6 = addresses.parse(text)
    if is_ipv6 then
        local canonical = ffi.string(addresses.canonical(is_ipv6, text, #text))
        print(high, low, canonical, hex(addresses.bytes6))
    else
        print(high, low)
    end
end
