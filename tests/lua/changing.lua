-- Checks a blob whose index another process overwrites after it has been checked, and takes a
-- snapshot of an arena whose control block gives its blob more bytes than its slot has. A read from
-- outside kills the process. Prints the results of the check and of the snapshot.
--
-- usage: luajit changing.lua BLOB MEMORY BYTES

local ffi = require "ffi"
local arena = require "ipgeo.memory.arena"
local check = require "ipgeo.blob.check"
local guarded = require "guarded"
local views = require "ipgeo.blob.view"


local BUCKETS = 65536
local SIZE_AT, TABLE_AT, ROW, LENGTH_AT = 16, 64, 24, 16
-- The checksum reads so many bytes between two calls of `on_slice`.
local SLICE, SKIPPED = 65536, 28


local function read_file(path)
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    return content
end


-- At the first `on_slice` after the checksum and the check of the whole index, each bucket but the
-- first begins with the run that would lie in the inaccessible page after the blob.
local function check_changing(content)
    local base = guarded.new(#content)(content)
    local view = assert(views.open(base, #content))
    local index = ffi.cast("int32_t *", view.index)
    local outside = (ffi.cast("intptr_t", base + #content) - ffi.cast("intptr_t", view.low)) / 2
    local slices = math.ceil((#content - SKIPPED) / SLICE)
    local calls = 0
    local checked, err = check.whole(base, #content, function()
        calls = calls + 1
        if calls == slices + 1 then
            for bucket = 1, BUCKETS do
                index[bucket] = tonumber(outside) + 16 * bucket
            end
        end
    end)
    assert(calls > slices, "the index was not changed")
    return checked and "sound" or err
end


-- The blob's header, its last section and the slot agree on a size beyond the slot's.
local function open_enlarged(content, memory, bytes)
    local shared = assert(arena.attach(guarded.share(memory, bytes), bytes))
    assert(shared:try_lock())
    assert(shared:load(#content, "fingerprint", 0, function(base)
        ffi.copy(base, content, #content)
        return true
    end))
    assert(shared:snapshot(), "nothing is served")
    local base, more = shared[1], bytes
    local sections = ffi.cast("const uint32_t *", base)[3]
    local heap = TABLE_AT + (sections - 1) * ROW + LENGTH_AT
    for _, at in ipairs { SIZE_AT, heap } do
        local size = ffi.cast("uint64_t *", base + at)
        size[0] = size[0] + more
    end
    shared.control.slot[1].length = #content + more
    return shared:snapshot() and "opened" or "not opened"
end


local content = read_file(arg[1])
print(check_changing(content), open_enlarged(content, arg[2], tonumber(arg[3])))
