-- Finds the row of an IPv6 address. See docs/blob-format.md.
--
-- A run starts at an address of 128 bits, of which `v6high` and `v6low` have 64 each. The bisection
-- is over the upper halves; the lower ones decide only where the address has the upper half of
-- several starts.

local ffi = require "ffi"
local bit = require "bit"
local clamp = require "ipgeo.blob.clamp"


local arshift, band, bswap, rshift = bit.arshift, bit.band, bit.bswap, bit.rshift
local cast = ffi.cast
local tonumber = tonumber

local i64_t = ffi.typeof("const int64_t *")


-- As in find.lua, over 64-bit keys, of which the last `drop` bits are left out. Two keys may differ
-- by less than 2^63: an upper half and the address have the same first 16 bits, and of a lower half
-- one bit is dropped. `from` is an int64, so that all of it stays in 64-bit registers.
local function halve(keys, drop, from, left, key)
    local half = rshift(left + 1, 1)
    local before = arshift(rshift(keys[from + half - 1], drop) - key - 1, 63)
    return from + band(half, before), left - half
end


local function halve_twice(keys, drop, from, left, key)
    from, left = halve(keys, drop, from, left, key)
    from, left = halve(keys, drop, from, left, key)
    return from, left
end


local function halve_4(keys, drop, from, left, key)
    from, left = halve_twice(keys, drop, from, left, key)
    from, left = halve_twice(keys, drop, from, left, key)
    return from, left
end


-- The position after the last of `left` keys from `from` on that is `key` or less.
local function bisect(keys, drop, from, left, key)
    from = from + 0LL
    if left > 0 then
        if left > 3 then
            if left > 15 then
                if left > 255 then
                    if left > 65535 then -- less than 2^27, for a blob has less than 2^31 bytes
                        from, left = halve_4(keys, drop, from, left, key)
                        from, left = halve_4(keys, drop, from, left, key)
                        from, left = halve_4(keys, drop, from, left, key)
                    end
                    from, left = halve_4(keys, drop, from, left, key)
                    from, left = halve_4(keys, drop, from, left, key)
                    from, left = halve(keys, drop, from, left, key)
                end
                from, left = halve_4(keys, drop, from, left, key)
            end
            from, left = halve_twice(keys, drop, from, left, key)
        end
        from = halve_twice(keys, drop, from, left, key)
    end
    return (tonumber(from))
end


-- Whether the unsigned number `a` is greater than `b`.
local function is_above(a, b)
    return cast("uint64_t", a) > cast("uint64_t", b)
end


-- The last run up to `run` that starts at or before the address, where `run` has the address's
-- upper half, `high`, and starts after it.
local function step_back(view, first, run, high, low)
    local tied = bisect(view.high6, 0, first, run - first, high - 1)
    local lows = view.low6
    local last = bisect(lows, 1, tied, run - tied, rshift(low, 1)) - 1
    -- Of two starts that differ in the dropped bit alone it is the second one.
    if last >= tied and is_above(lows[last], low) then
        last = last - 1
    end
    return last
end


-- Returns the number of the row of the address in the 16 bytes at `bytes` (network order), or nil
-- for no data.
local function find6(view, bytes)
    local runs = view.runs6
    if runs == 0 then
        return nil
    end
    local bucket = bytes[0] * 256 + bytes[1]
    local words = cast(i64_t, bytes)
    local high, low = bswap(words[0]), bswap(words[1])
    local first = clamp(view.index6[bucket], runs)
    local left = clamp(view.index6[bucket + 1], runs) - first
    local run = bisect(view.high6, 0, first, left, high) - 1
    if run >= first and view.high6[run] == high and is_above(view.low6[run], low) then
        run = step_back(view, first, run, high, low)
    end
    if run < 0 then
        run = 0
    end
    local row
    if view.wide6 == 0 then
        row = view.record6_16[run]
    else
        row = view.record6_32[run]
    end
    if row < 0 or row >= view.rows then
        return nil
    end
    return row
end


return find6
