-- Nanoseconds per lookup, without HTTP: medians of several rounds.
--
-- usage: luajit bench/lookup.lua ROUNDS BLOB...        (bench/lookup adds synthetic ones)
--
-- `find` is the row's number; `array` and `object` put the answer into a buffer, too; `text` makes
-- a Lua string of the array; `shared` does so as the edge's store does, from an arena and with a
-- look at its sequence lock. IPv4 addresses are routable ones; IPv6 addresses are in the /48 of a
-- run, or anywhere in the /16 of one.

local folder = arg[0]:match("^(.*/)") or "./"
package.path = folder .. "../lua/?.lua;" .. folder .. "../lua/?/init.lua"
package.cpath = ""

local bit = require "bit"
local ffi = require "ffi"
local answers = require "ipgeo.answer"
local arena = require "ipgeo.memory.arena"
local check = require "ipgeo.blob.check"
local common = dofile(folder .. "wrk/common.lua")
local find = require "ipgeo.blob.find"
local find6 = require "ipgeo.blob.find6"
local parsed = require "ipgeo.address"


local band, lshift, rshift = bit.band, bit.lshift, bit.rshift
local clock = os.clock
local copy_answer, write_answer = answers.copy, answers.write
local format = string.format
local is_intact = arena.is_intact

local USAGE = "usage: luajit bench/lookup.lua ROUNDS BLOB..."
local ADDRESSES = 1048576
local READ_TRIES = 100
local FIRST_SEQUENTIAL = 0x0100 -- 1.0.0.0
local V6 = parsed.V6
local IP = "165.118.213.9"

local buffer = ffi.new("uint8_t[?]", 65536)
local bytes6 = parsed.bytes6
local words6 = ffi.cast("uint64_t *", bytes6)


local function read_file(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


local function random_addresses()
    local next_address = common.generator()
    local addresses = ffi.new("int32_t[?]", ADDRESSES)
    for i = 0, ADDRESSES - 1 do
        local high, low = next_address()
        addresses[i] = bit.bor(lshift(high, 16), low)
    end
    return addresses
end


local function sequential_addresses()
    local addresses = ffi.new("int32_t[?]", ADDRESSES)
    for i = 0, ADDRESSES - 1 do
        addresses[i] = lshift(FIRST_SEQUENTIAL, 16) + i
    end
    return addresses
end


-- As many IPv6 addresses, 16 bytes each: in /48s, or only in /16s, that have runs.
local function random_addresses_6(view, fixed)
    local found = ffi.new("uint8_t[?]", 16 * ADDRESSES)
    math.randomseed(20261121)
    for i = 0, ADDRESSES - 1 do
        local address = found + 16 * i
        local run = math.random(0, view.runs6 - 1)
        ffi.cast("uint64_t *", address)[0] = bit.bswap(ffi.cast("uint64_t", view.high6[run]))
        for at = fixed, 15 do
            address[at] = math.random(0, 255)
        end
    end
    return found
end


-- Puts a blob into an arena, as the edge's store does.
local function load_arena(content)
    local size = arena.needed(#content)
    local memory = ffi.new("uint8_t[?]", size)
    local shared = assert(arena.attach(memory, size))
    assert(shared:try_lock())
    assert(shared:load(#content, "bench", 0, function(base)
        ffi.copy(base, content, #content)
        return true
    end))
    shared:unlock()
    return shared, memory
end


local function reserve()
    return buffer
end


local snapshot


-- As store.lookup.
local function read_shared(shared, high, low)
    for _ = 1, READ_TRIES do
        if not snapshot or snapshot.generation ~= shared:generation() then
            snapshot = shared:snapshot()
        end
        local now = snapshot
        local text = copy_answer(now.view, high, low, false)
        if is_intact(now) then
            return text
        end
    end
    return nil
end


-- Each way goes over all addresses and returns something that depends on every single result, so
-- that nothing can be left out.
local WAYS, WAYS_6 = {}, {}


-- Adds a way: `look_up(subject, high, low)` returns a number. Each has a loop of its own, for
-- LuaJIT compiles a loop once.
local function add_way(name, look_up)
    local code = [[
        local look_up, ADDRESSES, band, rshift = ...
        return function(subject, addresses)
            local sum = 0
            for i = 0, ADDRESSES - 1 do
                sum = sum + look_up(subject, rshift(addresses[i], 16), band(addresses[i], 0xffff))
            end
            return sum
        end]]
    WAYS[#WAYS + 1] = { name, assert(loadstring(code))(look_up, ADDRESSES, band, rshift) }
end


-- The same for IPv6, whose addresses lie in `bytes6`.
local function add_way_6(name, look_up)
    local code = [[
        local look_up, ADDRESSES, words6, V6 = ...
        local words_t = require("ffi").typeof("const uint64_t *")
        return function(subject, addresses)
            local sum = 0
            local words = require("ffi").cast(words_t, addresses)
            for i = 0, ADDRESSES - 1 do
                words6[0], words6[1] = words[2 * i], words[2 * i + 1]
                sum = sum + look_up(subject, V6, 0)
            end
            return sum
        end]]
    WAYS_6[#WAYS_6 + 1] = { name, assert(loadstring(code))(look_up, ADDRESSES, words6, V6) }
end


local function nothing(_, high, low)
    return high + low
end


local function find_only(subject, high, low)
    return find(subject.view, high, low) or 0
end


local function find_only_6(subject)
    return find6(subject.view, bytes6) or 0
end


local function put_array(subject, high, low)
    return write_answer(reserve, subject.view, high, low, false) and buffer[1] or 0
end


local function put_object(subject, high, low)
    return write_answer(reserve, subject.view, high, low, true, IP, #IP) and buffer[1] or 0
end


local function copy_text(subject, high, low)
    local text = copy_answer(subject.view, high, low, false)
    return text and #text or 0
end


local function copy_shared(subject, high, low)
    local text = read_shared(subject.shared, high, low)
    return text and #text or 0
end


add_way("loop alone", nothing)
add_way("find", find_only)
add_way("find + array", put_array)
add_way("find + object", put_object)
add_way("find + text", copy_text)
add_way("find + text, shared", copy_shared)
add_way_6("loop alone", nothing)
add_way_6("find6", find_only_6)
add_way_6("find6 + array", put_array)
add_way_6("find6 + object", put_object)


local function median(values)
    table.sort(values)
    return values[math.ceil(#values / 2)]
end


local function nanoseconds(way, subject, addresses)
    local before = clock()
    way(subject, addresses)
    return (clock() - before) * 1e9 / ADDRESSES
end


-- Prints a row for each way. The ways take turns, so that what disturbs the machine disturbs all.
local function measure(rounds, name, subject, order, found, ways)
    local taken = {}
    for round = 0, rounds do
        for i, way in ipairs(ways) do
            taken[i] = taken[i] or {}
            local duration = nanoseconds(way[2], subject, found)
            if round > 0 then -- the first one is for LuaJIT to compile
                taken[i][round] = duration
            end
        end
    end
    for i, way in ipairs(ways) do
        local values = taken[i]
        local middle = median(values) -- sorts
        print(format("%-16s %9d %-11s %-20s %7.1f %7.1f %7.1f", name, subject.view.runs, order,
            way[1], middle, values[1], values[#values]))
    end
end


local function main(rounds, paths)
    print(format("%-16s %9s %-11s %-20s %7s %7s %7s", "blob", "IPv4 runs", "addresses",
        "ns per lookup", "median", "least", "most"))
    local random, sequential = random_addresses(), sequential_addresses()
    for _, path in ipairs(paths) do
        local content = read_file(path)
        local base = ffi.cast("const uint8_t *", content)
        local subject = { view = assert(check.whole(base, #content)), anchor = content }
        subject.shared, subject.memory = load_arena(content)
        snapshot = nil
        local name = path:match("[^/]*$")
        measure(rounds, name, subject, "random", random, WAYS)
        measure(rounds, name, subject, "sequential", sequential, WAYS)
        if subject.view.runs6 > 0 then
            for _, fixed in ipairs { 6, 2 } do
                local found = random_addresses_6(subject.view, fixed)
                measure(rounds, name, subject, format("in /%ds", 8 * fixed), found, WAYS_6)
            end
        end
    end
end


if arg[1] == "-h" or arg[1] == "--help" then
    print(USAGE)
    os.exit(0)
end
local rounds = tonumber(arg[1])
if not rounds or rounds < 1 or not arg[2] then
    io.stderr:write(USAGE, "\n")
    os.exit(2)
end
table.remove(arg, 1)
main(rounds, arg)
