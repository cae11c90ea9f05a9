-- init_worker_by_lua of test_torn.py. Worker 0 loads three blobs in turn, back to back (with
-- two, each slot would always get the same one); worker 1 looks up at random addresses of both
-- families, in both forms, and compares each answer with the one in its generation's blob. Worker 1
-- ends after `torn.lookups` lookups and writes how many there were, how many were wrong and how
-- many generations it met.

local bit = require "bit"
local ffi = require "ffi"
local addresses = require "ipgeo.address"
local answers = require "ipgeo.answer"
local check = require "ipgeo.blob.check"
local header = require "ipgeo.blob.header"
local store = require("ipgeo.store").default


local copy = answers.copy

local PREFIX = ngx.config.prefix() .. "torn/"
local SLICE = 1000000
-- Lets nginx answer the harness. After a sleep of 0 it runs only timers, this one again and again.
local PAUSE = 0.001

local state = ngx.shared.torn


local function read_file(name)
    local handle = assert(io.open(PREFIX .. name, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


local function rename(from, to)
    assert(os.rename(PREFIX .. from, PREFIX .. to))
end


local function load_on()
    while not state:get("done") and not ngx.worker.exiting() do
        rename("served.blob", "aside.blob")
        rename("next.blob", "served.blob")
        rename("last.blob", "next.blob")
        rename("aside.blob", "last.blob")
        store:refresh()
        ngx.sleep(PAUSE)
    end
end


-- Private copies, by build id: { view =, anchor = }.
local function copies()
    local by_id = {}
    for _, name in ipairs { "a.blob", "b.blob", "c.blob" } do
        local content = read_file(name)
        local base = ffi.cast("const uint8_t *", content)
        local view = assert(check.whole(base, #content))
        by_id[header.build_id(base)] = { view = view, anchor = content }
    end
    return by_id
end


local seed = 20261121


local function random_word()
    seed = bit.bxor(seed, bit.lshift(seed, 13))
    seed = bit.bxor(seed, bit.rshift(seed, 17))
    seed = bit.bxor(seed, bit.lshift(seed, 5))
    return seed
end


local bytes6 = addresses.bytes6
local words6 = ffi.cast("int32_t *", bytes6)


-- A random address of the family that one of its bits decides. IPv6 addresses begin as the blobs'.
local function random_address()
    local word = random_word()
    if bit.band(word, 1) == 0 then
        return bit.rshift(word, 16), bit.band(word, 0xffff)
    end
    words6[0], words6[1], words6[2] = word, random_word(), word
    bytes6[0] = 0x20 + bit.band(word, 7)
    return addresses.V6, 0
end


local function look_up(count, by_id, met)
    local wrong = 0
    for _ = 1, count do
        local high, low = random_address()
        local as_object = bit.band(random_word(), 1) == 0
        local snapshot, answer = store:with_snapshot(copy, high, low, as_object, "ip", 2)
        local view = by_id[snapshot.build_id].view
        if answer ~= copy(view, high, low, as_object, "ip", 2) then
            wrong = wrong + 1
        end
        if met.last ~= snapshot.generation then
            met.last, met.count = snapshot.generation, met.count + 1
        end
    end
    return wrong
end


local function look_on()
    local by_id, met = copies(), { count = 0 }
    local wanted = tonumber(read_file("torn.lookups"))
    local done, wrong = 0, 0
    while done < wanted and not ngx.worker.exiting() do
        wrong = wrong + look_up(SLICE, by_id, met)
        done = done + SLICE
        ngx.sleep(PAUSE)
    end
    state:set("done", true)
    local handle = assert(io.open(PREFIX .. "torn.result.tmp", "wb"))
    handle:write(done, " ", wrong, " ", met.count)
    handle:close()
    assert(os.rename(PREFIX .. "torn.result.tmp", PREFIX .. "torn.result"))
end


local role = ({ [0] = load_on, [1] = look_on })[ngx.worker.id()]
assert(ngx.timer.at(0, role))
