-- A blob's sections: where each one lies, and how many elements those have that depend on one
-- another. Nothing here reads what is in a section.

local ffi = require "ffi"
local headers = require "ipgeo.blob.header"


local cast = ffi.cast
local format = string.format
local tonumber = tonumber

local BUCKETS = 65536
local MAX_SECTIONS = 64
local HEADER_SIZE, ROW_SIZE = headers.SIZE, 24

local REQUIRED = { "meta", "v4index", "v4low", "v4record", "shape", "offset", "heap" }
local FAMILY_6 = { "v6index", "v6high", "v6low", "v6record" }

local section_t = ffi.typeof([[
    const struct { char tag[8]; uint64_t offset; uint64_t length; } *]])


local _M = { BUCKETS = BUCKETS }


-- Returns the sections of the `length` bytes at `base` by tag, each with its offset and length, or
-- nil and what is wrong. `count` is how many the header says there are.
function _M.read(base, length, count)
    local start = HEADER_SIZE + count * ROW_SIZE
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


local function missing(sections, tags)
    for i = 1, #tags do
        if not sections[tags[i]] then
            return tags[i]
        end
    end
end


-- Returns whether there are sections of IPv6, or nil and which one is missing.
local function has_family_6(sections)
    local lost = missing(sections, REQUIRED)
    if lost then
        return nil, format("section %s is missing", lost)
    end
    lost = missing(sections, FAMILY_6)
    for i = 1, #FAMILY_6 do
        if lost and sections[FAMILY_6[i]] then
            return nil, format("section %s is missing, %s is there", lost, FAMILY_6[i])
        end
    end
    return not lost
end


-- Returns the number of a family's runs and the width of its records in bytes, or nil and what does
-- not fit. The section `starts` has `size` bytes for each run.
local function measure_family(sections, family, starts, size)
    if sections[family .. "index"].length ~= (BUCKETS + 1) * 4 then
        return nil, format("%sindex has the wrong length", family)
    end
    local runs = sections[starts].length / size
    local width = sections[family .. "record"].length / runs
    if runs < 1 or runs % 1 ~= 0 or width ~= 2 and width ~= 4 then
        return nil, format("%srecord does not fit the runs", family)
    end
    return runs, width
end


local function measure_family_6(sections)
    local runs, width = measure_family(sections, "v6", "v6low", 8)
    if runs and sections.v6high.length ~= sections.v6low.length then
        return nil, "v6high does not fit v6low"
    end
    return runs, width
end


-- Returns a table with `runs4`, `width4` (of a record, in bytes), `runs6` (0 without IPv6),
-- `width6` and `texts`; or nil and what does not fit.
function _M.measure(sections)
    local counts, err = {}
    local both
    both, err = has_family_6(sections)
    if both == nil then
        return nil, err
    end
    counts.runs4, counts.width4 = measure_family(sections, "v4", "v4low", 2)
    if not counts.runs4 then
        return nil, counts.width4
    end
    counts.runs6, counts.width6 = 0, 2
    if both then
        counts.runs6, counts.width6 = measure_family_6(sections)
        if not counts.runs6 then
            return nil, counts.width6
        end
    end
    counts.texts = sections.offset.length / 4 - 1
    if counts.texts < 0 or counts.texts % 1 ~= 0 then
        return nil, "offset has half an entry"
    end
    return counts
end


return _M
