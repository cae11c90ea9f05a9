-- Looks addresses up in a blob. Prints a line for each: the row (-1: no data), the array and the
-- object, with tabs between them; for no data the row only.
--
-- usage: luajit look_up.lua BLOB < ADDRESSES      (a line each, 8 or 32 hexadecimal digits)

local ffi = require "ffi"
local addresses = require "ipgeo.address"
local answers = require "ipgeo.answer"
local check = require "ipgeo.blob.check"
local find = require "ipgeo.blob.find"
local find6 = require "ipgeo.blob.find6"


local bytes6 = addresses.bytes6
local written = ffi.new("uint8_t[?]", 70000)


local function reserve(length)
    assert(length <= 70000)
    return written
end


-- Returns `high` and `low` as address.parse does.
local function read_address(digits)
    if #digits == 8 then
        return tonumber(digits:sub(1, 4), 16), tonumber(digits:sub(5), 16)
    end
    for i = 0, 15 do
        bytes6[i] = tonumber(digits:sub(2 * i + 1, 2 * i + 2), 16)
    end
    return addresses.V6, 0
end


-- Both ways to an answer give the same.
local function answer(view, high, low, as_object)
    local text = answers.copy(view, high, low, as_object, "A", 1)
    assert(answers.write(reserve, view, high, low, as_object, "A", 1) == (text ~= nil))
    assert(not text or ffi.string(written, #text) == text)
    return text
end


local function main(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    local view = assert(check.whole(ffi.cast("const uint8_t *", content), #content))
    for digits in io.lines() do
        local high, low = read_address(digits)
        local row = high >= 0 and find(view, high, low) or high < 0 and find6(view, bytes6) or -1
        io.write(row)
        if row >= 0 then
            io.write("\t", answer(view, high, low, false), "\t", answer(view, high, low, true))
        else
            assert(not answer(view, high, low, false) and not answer(view, high, low, true))
        end
        io.write("\n")
    end
    return content -- what the view points into lives until here
end


main(arg[1])
