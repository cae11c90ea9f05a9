-- A blob's header, which is its first 64 bytes. The layout is in docs/blob-format.md.

local ffi = require "ffi"


local cast, ffi_string = ffi.cast, ffi.string
local format = string.format
local tonumber = tonumber

local MAGIC = "\137IPGEO\r\n"
local LAYOUT = 2
local SIZE = 64

local header_t = ffi.typeof([[
    const struct {
        char magic[8];
        uint32_t layout;
        uint32_t sections;
        uint64_t size;
        int32_t crc;
        uint32_t reserved;
        uint8_t build_id[16];
        uint8_t reserved2[16];
    } *]])
local bytes_t = ffi.typeof("const uint8_t *")


-- CRC_AT is where the checksum's four bytes are.
local _M = { SIZE = SIZE, CRC_AT = 24, MAX_BLOB = 0x7fffffff }


-- The `length` bytes at `source` as a Lua string.
function _M.copy_bytes(source, length)
    return ffi_string(cast(bytes_t, source), length)
end


-- Returns the header of the `length` bytes at `base`, or nil and what is wrong with it.
function _M.read(base, length)
    if length < SIZE then
        return nil, format("%d bytes, shorter than a blob's header", length)
    end
    local header = cast(header_t, base)
    if _M.copy_bytes(header.magic, #MAGIC) ~= MAGIC then
        return nil, "not an ipgeo blob: wrong magic"
    end
    local layout = tonumber(header.layout)
    if layout ~= LAYOUT then
        local advice = layout < LAYOUT and ": build it again" or ""
        return nil, format("blob layout %d, this edge reads %d%s", layout, LAYOUT, advice)
    end
    local size = tonumber(header.size)
    if size ~= length then
        return nil, format("the header says %.0f bytes, there are %d", size, length)
    end
    return header
end


-- The checksum in the header of an opened blob.
function _M.crc(base)
    return cast(header_t, base).crc
end


-- The build id of an opened blob, 32 hexadecimal digits.
function _M.build_id(base)
    local raw = _M.copy_bytes(cast(header_t, base).build_id, 16)
    return (raw:gsub(".", function(byte) return format("%02x", byte:byte()) end))
end


return _M
