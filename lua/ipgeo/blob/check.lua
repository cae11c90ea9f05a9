-- Checks a blob before it is used. In a blob that passes, every lookup finds an answer or none,
-- inside the blob.
--
-- The bytes may lie in memory that another process is overwriting: a value that was in bounds may
-- have changed when it is read again. So each access is clamped here, too (see view.lua).

local ffi = require "ffi"
local bit = require "bit"
local blob = require "ipgeo.blob.view"
local crc32 = require "ipgeo.blob.crc32"
local headers = require "ipgeo.blob.header"


local band = bit.band
local cast = ffi.cast
local clamp, open = blob.clamp, blob.open
local format = string.format
local min = math.min

local BUCKETS, CRC_AT, MAX_BLOB = blob.BUCKETS, headers.CRC_AT, headers.MAX_BLOB
-- How many bytes or elements are checked between two calls of `on_slice`.
local SLICE = 65536

local OPEN_BRACKET, CLOSE_BRACKET, QUOTE, CLOSE_BRACE = 0x5b, 0x5d, 0x22, 0x7d

local bytes_t = ffi.typeof("const uint8_t *")


local _M = {}


local function no_slicing() end


-- Checks the beginning of what is `length` bytes in all: a header's 64 bytes, or all if there are
-- fewer. Returns whether it can be a blob's, or nil and what is wrong.
function _M.head(base, length)
    if length > MAX_BLOB then
        return nil, format("%.0f bytes, this edge reads at most %d", length, MAX_BLOB)
    end
    local header, err = headers.read(base, length)
    return header ~= nil, err
end


-- The checksum of the blob with the checksum's own four bytes taken as zero.
local function checksum(base, length, on_slice)
    local crc = crc32.update(0, base, CRC_AT)
    crc = crc32.update(crc, "\0\0\0\0", 4)
    local at = CRC_AT + 4
    while at < length do
        local size = min(SLICE, length - at)
        crc = crc32.update(crc, base + at, size)
        at = at + size
        on_slice()
    end
    return crc
end


local function check_index(view)
    local index, low = view.index, view.low
    if index[0] ~= 0 or index[BUCKETS] ~= view.runs then
        return nil, "v4index does not span the runs"
    end
    for bucket = 0, BUCKETS - 1 do
        if index[bucket] > index[bucket + 1] then
            return nil, "v4index descends"
        end
    end
    if index[1] < 1 or low[0] ~= 0 then
        return nil, "the first run does not start at 0.0.0.0"
    end
    return true
end


-- Within every bucket the runs' starts ascend.
local function check_low(view, on_slice)
    local index, low, runs = view.index, view.low, view.runs
    for bucket = 0, BUCKETS - 1 do
        local first, stop = clamp(index[bucket], runs), clamp(index[bucket + 1], runs)
        for run = first + 1, stop - 1 do
            if low[run] <= low[run - 1] then
                return nil, format("run %d does not start after run %d", run, run - 1)
            end
        end
        if band(bucket, 0xfff) == 0 then
            on_slice()
        end
    end
    return true
end


local function check_records(view, on_slice)
    local locations = view.locations
    local record = view.wide == 0 and view.record16 or view.record32
    for run = 0, view.runs - 1 do
        if record[run] < 0 or record[run] > locations then
            return nil, format("run %d names a location that is not there", run)
        end
        if band(run, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


-- A line feed in an answer would split it in a batch of lines.
local function check_heap(view, on_slice)
    local heap = view.heap
    for at = 0, view.heap_size - 1 do
        if heap[at] < 0x20 then
            return nil, format("byte %d of the heap is a control character", at)
        end
        if band(at, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


local function check_answers(view, on_slice)
    local offset, heap, locations = view.offset, view.heap, view.locations
    if offset[0] ~= 0 or offset[2 * locations] ~= view.heap_size then
        return nil, "offset does not span the heap"
    end
    for entry = 0, 2 * locations - 1 do
        local from, to = offset[entry], offset[entry + 1]
        if from < 0 or to > view.heap_size or to - from < 2 then
            return nil, format("answer %d is not inside the heap", entry)
        end
        local is_array = entry < locations
        if heap[from] ~= (is_array and OPEN_BRACKET or QUOTE)
            or heap[to - 1] ~= (is_array and CLOSE_BRACKET or CLOSE_BRACE)
        then
            return nil, format("answer %d is not JSON", entry)
        end
        if band(entry, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


local CHECKS = { check_index, check_low, check_records, check_answers, check_heap }


-- Checks the whole blob: checksum, and every offset, number and bound that a lookup relies on.
-- `on_slice`, if given, is called after each slice of work and may yield or raise. Returns the
-- view, or nil and what is wrong.
function _M.whole(base, length, on_slice)
    on_slice = on_slice or no_slicing
    local view, err = open(base, length)
    if not view then
        return nil, err
    end
    if checksum(cast(bytes_t, base), length, on_slice) ~= headers.crc(base) then
        return nil, "the checksum does not match: the blob is damaged"
    end
    for i = 1, #CHECKS do
        local ok
        ok, err = CHECKS[i](view, on_slice)
        if not ok then
            return nil, err
        end
    end
    return view
end


return _M
