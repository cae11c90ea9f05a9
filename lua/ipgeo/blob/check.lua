-- Checks a blob before it is used: every lookup in a blob that has passed finds an answer or none,
-- inside the blob.

local ffi = require "ffi"
local answers = require "ipgeo.blob.check_answers"
local crc32 = require "ipgeo.blob.crc32"
local headers = require "ipgeo.blob.header"
local runs = require "ipgeo.blob.check_runs"
local views = require "ipgeo.blob.view"


local cast = ffi.cast
local format = string.format
local min = math.min
local open = views.open

local CRC_AT, MAX_BLOB = headers.CRC_AT, headers.MAX_BLOB
-- How many bytes are checked between two calls of `on_slice`.
local SLICE = 65536

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


-- Each gets a view, `on_slice` and the shape, and returns nil and what is wrong, if anything is.
-- The later ones rely on the ones before.
local CHECKS = {
    runs.check, runs.check_6, answers.check_offsets, answers.check_heap, answers.check_cells,
    answers.check_lengths, answers.check_ends,
}


-- Checks the whole blob: checksum, and every offset, number and bound that a lookup relies on.
-- `on_slice`, if given, is called after each slice of work and may yield or raise. Returns the
-- view, or nil and what is wrong.
function _M.whole(base, length, on_slice)
    on_slice = on_slice or no_slicing
    local header, err = headers.read(base, length)
    if not header then
        return nil, err
    end
    if checksum(cast(bytes_t, base), length, on_slice) ~= headers.crc(base) then
        return nil, "the checksum does not match: the blob is damaged"
    end
    local view, shape = open(base, length)
    if not view then
        return nil, shape
    end
    for i = 1, #CHECKS do
        local ok
        ok, err = CHECKS[i](view, on_slice, shape)
        if not ok then
            return nil, err
        end
    end
    return view
end


return _M
