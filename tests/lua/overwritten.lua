-- Looks up in blobs that have passed the check and whose sections are then overwritten at random,
-- as memory that another process writes into may be. A read from outside of the blob kills the
-- process, and so does an answer that leaves its buffer. Prints the number of answers and the
-- longest one's length.
--
-- usage: luajit overwritten.lua SEED COUNT BLOB...

local ffi = require "ffi"
local answers = require "ipgeo.answer"
local check = require "ipgeo.blob.check"
local find = require "ipgeo.blob.find"
local find6 = require "ipgeo.blob.find6"
local guarded = require "guarded"
local rows = require "ipgeo.blob.answer"
local views = require "ipgeo.blob.view"


local HEADER, ROW = 64, 24
local LOOKUPS = 200
local WORDS = { 0, -1, 0x7fffffff, -0x80000000, 1, 65535, 65536 }

local bytes = ffi.new("uint8_t[?]", 16)


local function read_file(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


local function random_word()
    return math.random(2) == 1 and WORDS[math.random(#WORDS)] or math.random(-2 ^ 31, 2 ^ 31 - 1)
end


-- Overwrites some words of each section, or all of it; each word may be anything.
local function overwrite(base)
    local count = ffi.cast("const uint32_t *", base)[3]
    for i = 0, count - 1 do
        local row = ffi.cast("const uint64_t *", base + HEADER + i * ROW)
        local words = ffi.cast("int32_t *", base + tonumber(row[1]))
        local length = math.floor(tonumber(row[2]) / 4)
        if math.random(2) == 1 then
            local word = random_word()
            for at = 0, length - 1 do
                words[at] = word
            end
        else
            for _ = 1, length / math.random(20) do
                words[math.random(0, length - 1)] = random_word()
            end
        end
    end
end


local function look_up(view, place)
    local high, low = math.random(0, 65535), math.random(0, 65535)
    for i = 0, 15 do
        bytes[i] = math.random(0, 255)
    end
    local longest, found = 0, 0
    for _, row in ipairs { find(view, high, low) or -1, find6(view, bytes) or -1 } do
        for form = views.ARRAY, row >= 0 and views.OBJECT or -1 do
            longest = math.max(longest, rows.put(view, row, form, place))
            rows.text(view, row, form)
            found = found + 1
        end
    end
    answers.copy(view, high, low, true, "255.255.255.255", 15)
    answers.copy(view, high, low, false)
    return found, longest
end


local function main(seed, count, paths)
    math.randomseed(seed)
    local target = guarded.new(rows.ROOM)(("\0"):rep(rows.ROOM))
    local found, longest = 0, 0
    for _, path in ipairs(paths) do
        local original = read_file(path)
        local place = guarded.new(#original)
        for _ = 1, count do
            local base = place(original)
            local view = assert(check.whole(base, #original))
            overwrite(base)
            for _ = 1, LOOKUPS do
                local more, length = look_up(view, target)
                found, longest = found + more, math.max(longest, length)
            end
        end
    end
    print(found, longest)
end


main(tonumber(arg[1]), tonumber(arg[2]), { unpack(arg, 3) })
