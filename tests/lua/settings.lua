-- For tests/contract/test_settings.py: checks settings as the edge does. stdin has a line
-- `NAME HEX` for each value, HEX its bytes; stdout gets `good HEX` with the value or `bad HEX` with
-- the message.

local settings = require "settings"


local concat = table.concat
local format, gsub = string.format, string.gsub
local tostring, type = tostring, type


-- For an upstream, the address alone.
local function as_text(value)
    if type(value) == "table" then
        if value.address then
            return value.address -- of an upstream; its arguments are left out
        end
        local texts = {}
        for i = 1, #value do
            texts[i] = value[i].address or as_text(value[i])
        end
        return concat(texts, ",")
    end
    return type(value) == "number" and value % 1 ~= 0 and format("%.3f", value) or tostring(value)
end


local function hex(text)
    return (gsub(text, ".", function (byte) return format("%02x", byte:byte()) end))
end


for line in io.lines() do
    local name, digits = line:match("^(%S+) (%x*)$")
    local text = gsub(digits, "%x%x", function (pair) return string.char(tonumber(pair, 16)) end)
    local value, message = settings.check(name, text)
    io.write(message and "bad " .. hex(message) or "good " .. hex(as_text(value)), "\n")
end
