-- Feeds damaged blobs to the edge's `check`. Prints how many were refused and accepted; a read
-- after the end of a blob kills the process.
--
-- usage: luajit hostile.lua BLOB SEED COUNT raw|sealed|cut

local ffi = require "ffi"
local blob = require "ipgeo.blob.view"
local check = require "ipgeo.blob.check"
local crc32 = require "ipgeo.blob.crc32"
local guarded = require "guarded"


local CRC_AT, SIZE_AT, STRUCTURE = 24, 16, 208


local function read_file(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


local function flip(base, length)
    for _ = 1, math.random(2) == 1 and 1 or 3 do
        local kind = math.random(3)
        local at = math.random(0, length - 1)
        if kind == 1 then
            at = math.random(0, STRUCTURE - 1)
        elseif kind == 2 then -- the offsets and the heap
            at = length - math.random(math.min(length, 12000))
        end
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


-- Looks up both sides of every edge there is: of the buckets and of the runs.
local function look_up_everywhere(view)
    local most = 0
    local function look_up(high, low)
        local location = blob.find(view, high, low)
        if location then
            most = math.max(most, #blob.answer(view, location),
                #blob.answer(view, view.locations + location))
        end
    end
    for high = 0, 65535 do
        look_up(high, 0)
        look_up(high, 65535)
        for run = view.index[high], view.index[high + 1] - 1 do
            local low = view.low[run]
            look_up(high, low)
            look_up(high, low > 0 and low - 1 or 0)
        end
    end
    return most
end


local MUTATE = {
    raw = function(place, original)
        local base = place(original)
        flip(base, #original)
        return base, #original
    end,
    sealed = function(place, original)
        local base = place(original)
        flip(base, #original)
        seal(base, #original)
        return base, #original
    end,
    cut = function(place, original)
        local length = math.random(0, #original - 1)
        local base = place(original:sub(1, length))
        if length > STRUCTURE then
            seal(base, length)
        end
        return base, length
    end,
}


local function main(path, seed, count, kind)
    math.randomseed(seed)
    local original = read_file(path)
    local place = guarded.new(#original)
    local refused, accepted = 0, 0
    for _ = 1, count do
        local base, length = MUTATE[kind](place, original)
        local view, err = check.whole(base, length)
        if view then
            accepted = accepted + 1
            look_up_everywhere(view)
        else
            assert(type(err) == "string")
            refused = refused + 1
        end
    end
    print(refused, accepted)
end


main(arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4])
