-- Checks the runs of both families in a view. The bytes may change while they are read: each access
-- is clamped (see view.lua).

local ffi = require "ffi"
local bit = require "bit"
local clamp = require "ipgeo.blob.clamp"
local sections = require "ipgeo.blob.sections"


local band, rshift = bit.band, bit.rshift
local cast = ffi.cast
local format = string.format
local max = math.max

local BUCKETS = sections.BUCKETS
-- After how many runs, or buckets, `on_slice` is called again.
local SLICE, BUCKET_SLICE = 65536, 4096

local u64_t = ffi.typeof("const uint64_t *")


local function check_index(index, runs, name)
    if index[0] ~= 0 or index[BUCKETS] ~= runs then
        return nil, format("%s does not span the runs", name)
    end
    for bucket = 0, BUCKETS - 1 do
        if index[bucket] > index[bucket + 1] then
            return nil, format("%s descends", name)
        end
    end
    return true
end


local function not_ascending(run)
    return nil, format("run %d does not start after run %d", run, run - 1)
end


-- Within every bucket the runs' starts ascend.
local function check_starts(view, on_slice)
    local index, low, runs = view.index, view.low, view.runs
    if index[1] < 1 or low[0] ~= 0 then
        return nil, "the first run does not start at 0.0.0.0"
    end
    local checked = 0
    for bucket = 0, BUCKETS - 1 do
        local first, stop = clamp(index[bucket], runs), clamp(index[bucket + 1], runs)
        for run = first + 1, stop - 1 do
            if low[run] <= low[run - 1] then
                return not_ascending(run)
            end
        end
        checked = checked + max(0, stop - first)
        -- A few buckets may have as many runs as thousands of others.
        if checked > SLICE or band(bucket, BUCKET_SLICE - 1) == 0 then
            on_slice()
            checked = 0
        end
    end
    return true
end


-- The starts of all runs ascend.
local function check_starts_6(view, on_slice)
    local high, low = cast(u64_t, view.high6), cast(u64_t, view.low6)
    if view.index6[1] < 1 or high[0] ~= 0 or low[0] ~= 0 then
        return nil, "the first run of IPv6 does not start at ::"
    end
    for run = 1, view.runs6 - 1 do
        if high[run] < high[run - 1] or high[run] == high[run - 1] and low[run] <= low[run - 1] then
            return not_ascending(run)
        end
        if band(run, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


-- A bucket's first and last run start in it, and so those in between.
local function check_buckets_6(view, on_slice)
    local index, runs, high = view.index6, view.runs6, cast(u64_t, view.high6)
    for bucket = 0, BUCKETS - 1 do
        local first, last = clamp(index[bucket], runs), clamp(index[bucket + 1], runs) - 1
        if first <= last
            and (rshift(high[first], 48) ~= bucket or rshift(high[last], 48) ~= bucket)
        then
            return nil, format("a run of bucket %d of v6index does not start in it", bucket)
        end
        if band(bucket, BUCKET_SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


-- `record` has `runs` numbers; the number of rows is "no data".
local function check_records(record, runs, rows, on_slice)
    for run = 0, runs - 1 do
        if record[run] < 0 or record[run] > rows then
            return nil, format("run %d names a row that is not there", run)
        end
        if band(run, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


local _M = {}


function _M.check(view, on_slice)
    local ok, err = check_index(view.index, view.runs, "v4index")
    if ok then
        ok, err = check_starts(view, on_slice)
    end
    if ok then
        local record = view.wide == 0 and view.record16 or view.record32
        ok, err = check_records(record, view.runs, view.rows, on_slice)
    end
    return ok, err
end


-- The same for IPv6; a view may be without.
function _M.check_6(view, on_slice)
    if view.runs6 == 0 then
        return true
    end
    local ok, err = check_index(view.index6, view.runs6, "v6index")
    if ok then
        ok, err = check_starts_6(view, on_slice)
    end
    if ok then
        ok, err = check_buckets_6(view, on_slice)
    end
    if ok then
        local record = view.wide6 == 0 and view.record6_16 or view.record6_32
        ok, err = check_records(record, view.runs6, view.rows, on_slice)
    end
    return ok, err
end


return _M
