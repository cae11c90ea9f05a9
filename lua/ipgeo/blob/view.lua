-- Opens a blob and finds answers in it. The layout is in docs/blob-format.md; compiler/ipgeo/blob/
-- writes and reads the same bytes. Runs under plain luajit too, without nginx.
--
-- The bytes may lie in memory that another process is overwriting. The caller checks its sequence
-- lock before it uses what was read. Every access is clamped to the sizes in the view, so that
-- nothing is read from outside the blob before that check.

local ffi = require "ffi"
local bit = require "bit"
local headers = require "ipgeo.blob.header"


local arshift, band, rshift = bit.arshift, bit.band, bit.rshift
local cast, ffi_string = ffi.cast, ffi.string
local format = string.format
local tonumber = tonumber

local BUCKETS = 65536
local MAX_SECTIONS = 64

local section_t = ffi.typeof([[
    const struct { char tag[8]; uint64_t offset; uint64_t length; } *]])
local HEADER_SIZE, SECTION_SIZE = headers.SIZE, 24

-- Signed where the format says unsigned: `open` refuses blobs over 2 GiB, and LuaJIT computes with
-- int32 in integer registers, with uint32 in doubles.
local view_t = ffi.typeof([[
    struct {
        const int32_t *index;
        const uint16_t *low;
        const uint16_t *record16;
        const int32_t *record32;
        const int32_t *offset;
        const uint8_t *heap;
        int32_t runs;
        int32_t locations;
        int32_t heap_size;
        int32_t wide;
    }]])
local i32_t = ffi.typeof("const int32_t *")
local u16_t = ffi.typeof("const uint16_t *")
local u8_t = ffi.typeof("const uint8_t *")


local _M = { BUCKETS = BUCKETS }


-- Returns the sections by tag, each with its offset and length, or nil and what is wrong.
local function read_sections(base, length, count)
    local start = HEADER_SIZE + count * SECTION_SIZE
    if count > MAX_SECTIONS or start > length then
        return nil, format("%d sections", count)
    end
    local rows = cast(section_t, base + HEADER_SIZE)
    local sections = {}
    for i = 0, count - 1 do
        local tag = headers.copy_bytes(rows[i].tag, 8):gsub("%z+$", "")
        local offset, size = tonumber(rows[i].offset), tonumber(rows[i].length)
        if offset ~= start or size > length - offset or sections[tag] then
            return nil, format("section %d is not where it belongs", i)
        end
        sections[tag] = { offset = offset, length = size }
        start = offset + size + (-size) % 8
    end
    if start ~= length then
        return nil, format("the sections end at %.0f, the blob at %d", start, length)
    end
    return sections
end


local REQUIRED = { "meta", "v4index", "v4low", "v4record", "offset", "heap" }


-- Returns the number of runs, the width of a record and the number of locations, or nil and what
-- does not fit.
local function measure(sections)
    for i = 1, #REQUIRED do
        if not sections[REQUIRED[i]] then
            return nil, format("section %s is missing", REQUIRED[i])
        end
    end
    if sections.v4index.length ~= (BUCKETS + 1) * 4 then
        return nil, "v4index has the wrong length"
    end
    local runs = sections.v4low.length / 2
    local width = sections.v4record.length / runs
    if runs < 1 or runs % 1 ~= 0 or width ~= 2 and width ~= 4 then
        return nil, "v4record does not fit the runs"
    end
    local locations = (sections.offset.length / 4 - 1) / 2
    if locations < 0 or locations % 1 ~= 0 then
        return nil, "offset does not hold two answers a location"
    end
    return runs, width, locations
end


-- Opens `length` bytes, at most header.MAX_BLOB, at `base` (any pointer; the caller keeps the
-- memory alive): reads the header and the section table only. Returns the view, or nil and what is
-- wrong.
function _M.open(base, length)
    base = cast(u8_t, base)
    local header, err = headers.read(base, length)
    if not header then
        return nil, err
    end
    local sections
    sections, err = read_sections(base, length, tonumber(header.sections))
    if not sections then
        return nil, err
    end
    local runs, width, locations = measure(sections)
    if not runs then
        return nil, width
    end
    local view = view_t()
    view.index = cast(i32_t, base + sections.v4index.offset)
    view.low = cast(u16_t, base + sections.v4low.offset)
    view.record16 = cast(u16_t, base + sections.v4record.offset)
    view.record32 = cast(i32_t, base + sections.v4record.offset)
    view.wide = width == 4 and 1 or 0
    view.offset = cast(i32_t, base + sections.offset.offset)
    view.heap = cast(u8_t, base + sections.heap.offset)
    view.heap_size = sections.heap.length
    view.runs, view.locations = runs, locations
    return view
end


-- `value`, or the nearest bound if it is not within 0 and `max`.
local function clamp(value, max)
    if value < 0 then
        return 0
    end
    return value > max and max or value
end
_M.clamp = clamp


-- One step of a bisection for the last of `left` runs from `from` on that starts at or before
-- `key`: halves `left`, and is harmless once that is 0. No branch on the data: it would be
-- mispredicted every other time.
local function halve(low, from, left, key)
    local half = rshift(left + 1, 1)
    -- All ones if the run at from + half - 1 starts at or before the address; otherwise 0.
    local before = arshift(low[from + half - 1] - key - 1, 31)
    return from + band(half, before), left - half
end


local function halve_twice(low, from, left, key)
    from, left = halve(low, from, left, key)
    return halve(low, from, left, key)
end


local function halve_4(low, from, left, key)
    from, left = halve_twice(low, from, left, key)
    return halve_twice(low, from, left, key)
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


-- The location number of an address given by its high and low 16 bits, or nil for no data.
--
-- The run that answers is the last one that starts at or before the address. It may have begun in
-- an earlier bucket: then none in this bucket does, and the run before the bucket's first answers.
function _M.find(view, high, low)
    local runs = view.runs
    local first = clamp(view.index[high], runs)
    local run = bisect(view.low, first, clamp(view.index[high + 1], runs) - first, low) - 1
    if run < 0 then
        run = 0
    end
    local location
    if view.wide == 0 then
        location = view.record16[run]
    else
        location = view.record32[run]
    end
    if location < 0 or location >= view.locations then
        return nil
    end
    return location
end


-- Where entry `entry` of the heap lies: a pointer and a length. Entries below `view.locations` are
-- the array answers, as many more the object answers without their `{"ip":"A",`.
function _M.locate(view, entry)
    local size = view.heap_size
    local from = clamp(view.offset[entry], size)
    local length = clamp(view.offset[entry + 1], size) - from
    if length < 0 then
        length = 0
    end
    return view.heap + from, length
end


-- The same entry as a Lua string.
function _M.answer(view, entry)
    return ffi_string(_M.locate(view, entry))
end


return _M
