-- The answers of a batch while they are being written, in chunks of memory. All requests of this
-- worker share the chunks, since none of them yields while it writes. The first chunk is kept; the
-- others are freed as soon as they are sent, by free() and not by a garbage collector.

local ffi = require "ffi"


local cast, copy, C, ffi_string = ffi.cast, ffi.copy, ffi.C, ffi.string
local error = error
local max = math.max

ffi.cdef [[
    void *malloc(size_t size);
    void free(void *memory);
]]

local memory_t = ffi.typeof("uint8_t *")

local CHUNK = 524288
local first -- allocated by the first batch
local full = {} -- the chunks before `buffer`, each with its `memory` and its `length`
local buffer, capacity, used = nil, 0, 0


local _M = {}


local function allocate(size)
    local memory = C.malloc(size)
    if memory == nil then
        error("no memory for the answers of a batch")
    end
    return cast(memory_t, memory)
end


local function next_chunk(length)
    local size = max(CHUNK, length)
    local memory = allocate(size)
    full[#full + 1] = { memory = buffer, length = used }
    buffer, capacity, used = memory, size, 0
end


-- Drops what has been written and begins again with the first chunk.
function _M.discard()
    first = first or allocate(CHUNK)
    for i = 2, #full do
        C.free(full[i].memory)
    end
    if #full > 0 then
        C.free(buffer)
        full = {}
    end
    buffer, capacity, used = first, CHUNK, 0
end


-- How many bytes have been written.
function _M.length()
    local length = used
    for i = 1, #full do
        length = length + full[i].length
    end
    return length
end


-- Calls `send(text)` for each chunk of what has been written, and frees its memory.
function _M.drain(send)
    local pieces = full
    pieces[#pieces + 1] = { memory = buffer, length = used }
    full, buffer, capacity, used = {}, first, CHUNK, 0
    for i = 1, #pieces do
        local piece = pieces[i]
        send(ffi_string(piece.memory, piece.length))
        if piece.memory ~= first then
            C.free(piece.memory)
        end
    end
end


-- Returns where the caller is to write the next `length` bytes.
local function reserve(length)
    if used + length > capacity then
        next_chunk(length)
    end
    local target = buffer + used
    used = used + length
    return target
end
_M.reserve = reserve


-- Writes the `length` bytes at `source`.
function _M.put(source, length)
    copy(reserve(length), source, length)
end


function _M.put_byte(byte)
    if used == capacity then
        next_chunk(1)
    end
    buffer[used] = byte
    used = used + 1
end


return _M
