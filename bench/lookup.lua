-- Nanoseconds per lookup, without HTTP: medians of several rounds.
--
-- usage: luajit bench/lookup.lua ROUNDS BLOB...        (bench/lookup adds a synthetic one)
--
-- `find` is the location's number; `find + answer` also copies the answer into a Lua string;
-- `shared` does so as the edge's store does, from an arena and with a look at its sequence lock.
-- Random: routable addresses. Sequential: neighbours, one after the other.

local folder = arg[0]:match("^(.*/)") or "./"
package.path = folder .. "../lua/?.lua;" .. folder .. "../lua/?/init.lua"
package.cpath = ""

local bit = require "bit"
local ffi = require "ffi"
local arena = require "ipgeo.memory.arena"
local blob = require "ipgeo.blob.view"
local check = require "ipgeo.blob.check"
local common = dofile(folder .. "wrk/common.lua")


local answer, find = blob.answer, blob.find
local band, lshift, rshift = bit.band, bit.lshift, bit.rshift
local clock = os.clock
local format = string.format
local is_intact = arena.is_intact

local USAGE = "usage: luajit bench/lookup.lua ROUNDS BLOB..."
local ADDRESSES = 1048576
local READ_TRIES = 100
local FIRST_SEQUENTIAL = 0x0100 -- 1.0.0.0


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


-- Each way goes over all addresses and returns something that depends on every single result, so
-- that nothing can be left out.

local function nothing(_, addresses)
    local sum = 0
    for i = 0, ADDRESSES - 1 do
        sum = sum + rshift(addresses[i], 16) + band(addresses[i], 0xffff)
    end
    return sum
end


local function find_only(subject, addresses)
    local view, sum = subject.view, 0
    for i = 0, ADDRESSES - 1 do
        sum = sum + (find(view, rshift(addresses[i], 16), band(addresses[i], 0xffff)) or 0)
    end
    return sum
end


local function find_and_answer(subject, addresses)
    local view, sum = subject.view, 0
    for i = 0, ADDRESSES - 1 do
        local location = find(view, rshift(addresses[i], 16), band(addresses[i], 0xffff))
        sum = sum + (location and #answer(view, location) or 0)
    end
    return sum
end


local snapshot


-- As store.lookup.
local function read_shared(shared, high, low)
    for _ = 1, READ_TRIES do
        if not snapshot or snapshot.generation ~= shared:generation() then
            snapshot = shared:snapshot()
        end
        local now = snapshot
        local location = find(now.view, high, low)
        local text = location and answer(now.view, location)
        if is_intact(now) then
            return text
        end
    end
    return nil
end


local function from_shared(subject, addresses)
    local shared, sum = subject.shared, 0
    for i = 0, ADDRESSES - 1 do
        local text = read_shared(shared, rshift(addresses[i], 16), band(addresses[i], 0xffff))
        sum = sum + (text and #text or 0)
    end
    return sum
end


local WAYS = {
    { "loop alone", nothing },
    { "find", find_only },
    { "find + answer", find_and_answer },
    { "find + answer, shared", from_shared },
}


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
local function measure(rounds, name, subject, order, addresses)
    local taken = {}
    for round = 0, rounds do
        for i, way in ipairs(WAYS) do
            taken[i] = taken[i] or {}
            local found = nanoseconds(way[2], subject, addresses)
            if round > 0 then -- the first one is for LuaJIT to compile
                taken[i][round] = found
            end
        end
    end
    for i, way in ipairs(WAYS) do
        local values = taken[i]
        local middle = median(values) -- sorts
        print(format("%-24s %9d %-11s %-22s %7.1f %7.1f %7.1f", name, subject.view.runs, order,
            way[1], middle, values[1], values[#values]))
    end
end


local function main(rounds, paths)
    print(format("%-24s %9s %-11s %-22s %7s %7s %7s", "blob", "runs", "addresses", "ns per lookup",
        "median", "least", "most"))
    local random, sequential = random_addresses(), sequential_addresses()
    for _, path in ipairs(paths) do
        local content = read_file(path)
        local base = ffi.cast("const uint8_t *", content)
        local subject = { view = assert(check.whole(base, #content)), anchor = content }
        subject.shared, subject.memory = load_arena(content)
        snapshot = nil
        local name = path:match("[^/]*$")
        measure(rounds, name, subject, "random", random)
        measure(rounds, name, subject, "sequential", sequential)
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
