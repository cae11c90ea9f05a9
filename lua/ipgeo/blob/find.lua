-- Finds the row of an IPv4 address. See docs/blob-format.md.

local bit = require "bit"
local clamp = require "ipgeo.blob.clamp"


local arshift, band, rshift = bit.arshift, bit.band, bit.rshift


-- One step of a bisection for the last of `left` runs from `from` on that starts at or before
-- `key`: halves `left`, and is harmless once that is 0. No branch on the data: it would be
-- mispredicted every other time.
local function halve(low, from, left, key)
    local half = rshift(left + 1, 1)
    -- All ones if the run at from + half - 1 starts at or before the address, else 0.
    local before = arshift(low[from + half - 1] - key - 1, 31)
    return from + band(half, before), left - half
end


local function halve_twice(low, from, left, key)
    from, left = halve(low, from, left, key)
    from, left = halve(low, from, left, key)
    return from, left -- no tail call: LuaJIT compiles fifteen in a trace
end


local function halve_4(low, from, left, key)
    from, left = halve_twice(low, from, left, key)
    from, left = halve_twice(low, from, left, key)
    return from, left
end


-- The position after the last of the bucket's runs that starts at or before `key`.
--
-- Without a loop: LuaJIT compiles loops of one to seventeen turns badly. After some attempts it
-- gives up on such a loop and on its callers. This becomes five straight traces.
local function bisect(low, from, left, key)
    if left > 0 then
        if left > 3 then
            if left > 15 then
                if left > 255 then -- up to 65,536, which is 255 or less eight or nine steps later
                    from, left = halve_4(low, from, left, key)
                    from, left = halve_4(low, from, left, key)
                    from, left = halve(low, from, left, key)
                end
                from, left = halve_4(low, from, left, key)
            end
            from, left = halve_twice(low, from, left, key)
        end
        from = halve_twice(low, from, left, key)
    end
    return from
end


-- Returns the number of the row of an address given by its high and low 16 bits, or nil for no
-- data.
--
-- The run that answers is the last one that starts at or before the address. It may have begun in
-- an earlier bucket: then none in this bucket does, and the run before the bucket's first answers.
local function find(view, high, low)
    local runs = view.runs
    local first = clamp(view.index[high], runs)
    local run = bisect(view.low, first, clamp(view.index[high + 1], runs) - first, low) - 1
    if run < 0 then
        run = 0
    end
    local row
    if view.wide == 0 then
        row = view.record16[run]
    else
        row = view.record32[run]
    end
    if row < 0 or row >= view.rows then
        return nil
    end
    return row
end


return find
