-- Feeds damaged blobs to the edge's `check`. Prints how many were refused and accepted; a read
-- after the end of a blob kills the process.
--
-- usage: luajit hostile.lua BLOB SEED COUNT raw|sealed|cut

local ffi = require "ffi"
local answers = require "ipgeo.blob.answer"
local check = require "ipgeo.blob.check"
local crc32 = require "ipgeo.blob.crc32"
local find = require "ipgeo.blob.find"
local find6 = require "ipgeo.blob.find6"
local guarded = require "guarded"
local views = require "ipgeo.blob.view"


local CRC_AT, SIZE_AT = 24, 16
local HEADER, ROW = 64, 24


local function read_file(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


-- Where the header and the sections lie, as pairs of a position and a length: whatever their size,
-- each is hit as often.
local function parts_of(original)
    local base = ffi.cast("const uint8_t *", original)
    local count = ffi.cast("const uint32_t *", base)[3]
    local parts = { { 0, HEADER + count * ROW } }
    for i = 0, count - 1 do
        local row = ffi.cast("const uint64_t *", base + HEADER + i * ROW)
        parts[#parts + 1] = { tonumber(row[1]), tonumber(row[2]) }
    end
    return parts
end


local function flip(base, parts)
    for _ = 1, math.random(2) == 1 and 1 or 3 do
        local part = parts[math.random(#parts)]
        local at = part[1] + math.random(0, part[2] - 1)
        base[at] = bit.bxor(base[at], bit.lshift(1, math.random(0, 7)))
    end
end


-- Writes the size and the checksum that belong to the bytes.
local function seal(base, length)
    ffi.cast("uint64_t *", base + SIZE_AT)[0] = length
    local crc = ffi.cast("int32_t *", base + CRC_AT)
    crc[0] = 0
    crc[0] = crc32.update(0, base, length)
end


local bytes = ffi.new("uint8_t[?]", 16)
local words = ffi.cast("uint64_t *", bytes)


local row_before


-- Puts both forms of a row's answer together, if it is not that of the lookup before.
local function answer(view, row)
    if row and row ~= row_before then
        row_before = row
        answers.text(view, row, views.ARRAY)
        answers.text(view, row, views.OBJECT)
    end
end


-- Looks up both sides of every edge there is: of the buckets and of the runs.
local function look_up_everywhere(view)
    row_before = nil
    for high = 0, 65535 do
        answer(view, find(view, high, 0))
        answer(view, find(view, high, 65535))
        for run = view.index[high], view.index[high + 1] - 1 do
            local low = view.low[run]
            answer(view, find(view, high, low))
            answer(view, find(view, high, low > 0 and low - 1 or 0))
        end
    end
end


-- The same for the runs of IPv6, of which the bucket is looked up as the flipped bits have left it.
local function look_up_everywhere_6(view)
    for run = 0, view.runs6 - 1 do
        for change = -1, 1 do
            words[0] = bit.bswap(view.high6[run])
            words[1] = bit.bswap(view.low6[run] + change)
            answer(view, find6(view, bytes))
        end
    end
end


local MUTATE = {
    raw = function(place, original, parts)
        local base = place(original)
        flip(base, parts)
        return base, #original
    end,
    sealed = function(place, original, parts)
        local base = place(original)
        flip(base, parts)
        seal(base, #original)
        return base, #original
    end,
    cut = function(place, original)
        local length = math.random(0, #original - 1)
        local base = place(original:sub(1, length))
        if length > HEADER then
            seal(base, length)
        end
        return base, length
    end,
}


local function main(path, seed, count, kind)
    math.randomseed(seed)
    local original = read_file(path)
    local place = guarded.new(#original)
    local parts = parts_of(original)
    local refused, accepted = 0, 0
    for _ = 1, count do
        local base, length = MUTATE[kind](place, original, parts)
        local view, err = check.whole(base, length)
        if view then
            accepted = accepted + 1
            look_up_everywhere(view)
            look_up_everywhere_6(view)
        else
            assert(type(err) == "string")
            refused = refused + 1
        end
    end
    print(refused, accepted)
end


main(arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4])
