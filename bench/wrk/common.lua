-- What the wrk scripts of this folder share: the addresses to ask for, requests built beforehand,
-- and figures for a program to read.
--
-- The addresses come from a generator with a fixed seed, so that every run and every server gets
-- the same ones in the same order. bench/addresses.py has the same generator.

local bit = require "bit"


local floor, format = math.floor, string.format

local SEED = 20261121
local MODULUS = 4294967296
-- Numerical Recipes' generator. Its products stay below 2^53, so doubles compute them exactly.
local MULTIPLIER, INCREMENT = 1664525, 1013904223
local REQUESTS = 65536


local _M = {}


-- Whether the address is routable on the Internet (IANA's special-purpose registry;
-- the small documentation blocks are left in).
local function is_routable(high)
    local a, b = bit.rshift(high, 8), bit.band(high, 0xff)
    if a == 0 or a == 10 or a == 127 or a >= 224 then
        return false
    end
    return not (a == 100 and b >= 64 and b < 128
        or a == 169 and b == 254
        or a == 172 and b >= 16 and b < 32
        or a == 192 and b == 168
        or a == 198 and (b == 18 or b == 19))
end


-- Returns a function that gives the high and the low 16 bits of the next routable address. Only the
-- upper halves of the generator's numbers are used: the lower bits of such a generator have short
-- periods.
function _M.generator()
    local state = SEED
    local function half()
        state = (state * MULTIPLIER + INCREMENT) % MODULUS
        return floor(state / 65536)
    end
    return function()
        local high, low
        repeat
            high, low = half(), half()
        until is_routable(high)
        return high, low
    end
end


-- Returns a function that gives the next address in dotted decimal.
function _M.addresses()
    local next_address = _M.generator()
    return function()
        local high, low = next_address()
        return format("%d.%d.%d.%d", bit.rshift(high, 8), bit.band(high, 0xff),
            bit.rshift(low, 8), bit.band(low, 0xff))
    end
end


-- Returns wrk's `request`: it goes round `count` requests that `build(next_address)` has built, so
-- that while wrk measures, a request costs it one look into a table.
function _M.prepared(build, count)
    local requests, at = {}, 0
    local next_address = _M.addresses()
    count = count or REQUESTS
    for i = 1, count do
        requests[i] = build(next_address)
    end
    _G.built_at = os.clock()
    return function()
        at = at % count + 1
        return requests[at]
    end
end


local threads = {}

-- wrk's `setup`, called for each thread in the state in which `done` will be.
function _G.setup(thread)
    threads[#threads + 1] = thread
end


-- The CPU seconds that wrk has used since its requests were built.
local function own_cpu()
    local built = 0
    for i = 1, #threads do
        built = math.max(built, threads[i]:get("built_at"))
    end
    return os.clock() - built
end


-- wrk's `done`: writes the figures as JSON to the file that IPGEO_BENCH_JSON names, if it does.
function _G.done(summary, latency)
    local path = os.getenv("IPGEO_BENCH_JSON")
    if not path then
        return
    end
    local errors = summary.errors
    local file = assert(io.open(path, "w"))
    file:write(format(
        '{"requests":%d,"seconds":%.6f,"cpu":%.6f,"bytes":%d,"connect":%d,"read":%d,"write":%d,'
            .. '"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
        summary.requests, summary.duration / 1e6, own_cpu(), summary.bytes, errors.connect,
        errors.read, errors.write, errors.status, errors.timeout, latency:percentile(50),
        latency:percentile(99), latency.max))
    file:close()
end

return _M
