-- A stretch of shared memory with two slots for blobs and a control block. Knows no nginx: any
-- mapping that several processes share will do.
--
-- One process at a time loads, under a lock (mutex.lua); all others read without one. A load fills
-- the slot that is not current, and makes it current by one store. The slot's `seq` is odd while it
-- is being written. A reader that copied something out of a slot believes it only if `seq` is still
-- what it was when the reader opened the slot (a sequence lock).
--
-- x86-64 only: there, loads and stores of one process reach memory in the order in which it made
-- them. That LuaJIT keeps that order too is what barrier.lua is for.

local ffi = require "ffi"
local bit = require "bit"
local barrier = require "ipgeo.memory.barrier"
local blob = require "ipgeo.blob.view"
local check = require "ipgeo.blob.check"
local header = require "ipgeo.blob.header"
local mutex = require "ipgeo.memory.mutex"


local band, bor = bit.band, bit.bor
local cast = ffi.cast
local floor, min = math.floor, math.min
local format = string.format

local PAGE = 4096
-- nginx's slab allocator keeps its descriptors (24 bytes a page) and what it hands out at the front
-- of a zone: leave it 1/128 of the zone and 64 KiB.
local FRONT_SHARE, FRONT = 128, 65536
local MIN_SIZE = 8 * FRONT
local MAGIC = "ipgeo\1\0\0"
local OPEN_TRIES = 1000

local control_t = ffi.typeof([[
    struct {
        char magic[8];
        int32_t generation;
        int32_t refused_set;
        int64_t mutex[8];
        struct {
            int32_t seq;
            int32_t length;
            char build_id[32];
            double mtime;
            char identity[128];
        } slot[2];
        char refused[128];
        char refused_reason[128];
        int32_t trouble_seq;
        int32_t trouble;
        char trouble_reason[128];
    } *]])
local bytes_t = ffi.typeof("uint8_t *")
local IDENTITY, REASON = 128, 128


local _M = { is_shared = true }
local mt = { __index = _M }

local function text(field, length)
    return ffi.string(cast("const char *", field), length)
end


-- A text that is padded with NULs.
local function padded_text(field, length)
    return (text(field, length):gsub("%z.*", ""))
end


-- Padded with NULs to its field's length, so that a plain copy compares.
local function pad(value, length)
    return (value .. ("\0"):rep(length)):sub(1, length)
end


local function put(field, value, length)
    ffi.copy(cast("char *", field), pad(value, length), length)
end


-- An identity in the form in which `identities` returns it.
function _M.identity(value)
    return pad(value, IDENTITY)
end


-- Lays out what is at hand of `size` bytes at `address`; a zeroed stretch becomes an empty arena.
-- To be called first by one process alone. Returns the arena, or nil and why it cannot be used.
function _M.attach(address, size)
    if jit.arch ~= "x64" then
        return nil, "the order of stores is only known for x86-64, not for " .. jit.arch
    end
    if size < MIN_SIZE then
        return nil, format("%d bytes of shared memory, at least %d are needed", size, MIN_SIZE)
    end
    address = cast(bytes_t, address)
    local control_at = floor(size / PAGE) * PAGE - PAGE
    local front = FRONT + floor(size / FRONT_SHARE / PAGE) * PAGE
    local slot_size = floor((control_at - front) / 2 / PAGE) * PAGE
    local self = setmetatable({
        control = cast(control_t, address + control_at),
        capacity = slot_size,
        [0] = address + front,
        [1] = address + front + slot_size,
    }, mt)
    local magic = text(self.control.magic, #MAGIC)
    if magic == ("\0"):rep(#MAGIC) then
        return self:format()
    elseif magic ~= MAGIC then
        return nil, "the end of the shared memory is in use by something else"
    end
    return self
end


function _M:format()
    if not mutex.init(self.control.mutex) then
        return nil, "no robust mutex to be had"
    end
    put(self.control.magic, MAGIC, #MAGIC)
    return self
end


-- Takes the lock if it is free or its owner has died; never waits. Returns whether it did.
function _M:try_lock()
    return mutex.try_lock(self.control.mutex)
end


function _M:unlock()
    mutex.unlock(self.control.mutex)
end


-- Whether what was copied out of an opened generation may be believed: nobody has begun to write
-- into its slot since it was opened.
function _M.is_intact(opened)
    barrier()
    return opened.slot.seq == opened.seq
end


-- The generation that is served; 0 before the first load.
function _M:generation()
    barrier()
    return self.control.generation
end


-- Opens the current generation. Returns its description, or nil before the first load:
-- `view` to look up in, `slot` and `seq` to believe it by, `generation`, `build_id`, `mtime` (of
-- the file, in seconds), `length` (bytes).
function _M:open()
    local control = self.control
    for _ = 1, OPEN_TRIES do
        barrier()
        local generation = control.generation
        if generation == 0 then
            return nil
        end
        local number = band(generation, 1)
        local slot = control.slot[number]
        local seq = slot.seq
        -- One look, never out of the slot: a process may have written anything there.
        local length = min(slot.length, self.capacity)
        local opened = {
            generation = generation,
            slot = slot,
            seq = seq,
            length = length,
            mtime = slot.mtime,
            build_id = text(slot.build_id, 32),
            view = blob.open(self[number], length),
        }
        barrier()
        if opened.view and band(seq, 1) == 0 and slot.seq == seq then
            return opened
        end
    end
    return nil
end


-- What the caller told of the file behind the current generation, and of the one refused last: that
-- one's identity and the reason.
function _M:identities()
    barrier()
    local control = self.control
    local slot = control.slot[band(control.generation, 1)]
    local loaded = control.generation > 0 and text(slot.identity, IDENTITY) or nil
    local refused = control.refused_set == 1 and text(control.refused, IDENTITY) or nil
    return loaded, refused, padded_text(control.refused_reason, REASON)
end


-- Forgets the refused file: it is to be reported anew should it come back. Only under the lock.
function _M:forgive()
    self.control.refused_set = 0
end


-- Remembers that a file is not to be tried again, and why. Only under the lock.
function _M:refuse(identity, reason)
    put(self.control.refused, identity, IDENTITY)
    put(self.control.refused_reason, reason, REASON)
    self.control.refused_set = 1
end


-- A reason as `trouble` and `identities` return it.
function _M.reason(value)
    return value:sub(1, REASON)
end


-- Tells all processes what is wrong with the operator's file: a number of the caller's, 0 for
-- nothing, and a reason. Only under the lock.
function _M:set_trouble(number, reason)
    local control = self.control
    control.trouble_seq = bor(control.trouble_seq + 1, 1)
    barrier()
    control.trouble = number
    put(control.trouble_reason, reason, REASON)
    barrier()
    control.trouble_seq = control.trouble_seq + 1
    barrier()
end


-- The number and the reason that set_trouble has been given last; 0 where nothing can be read.
function _M:trouble()
    local control = self.control
    for _ = 1, OPEN_TRIES do
        barrier()
        local seq = control.trouble_seq
        local number, reason = control.trouble, padded_text(control.trouble_reason, REASON)
        barrier()
        if band(seq, 1) == 0 and control.trouble_seq == seq then
            return number, reason
        end
    end
    return 0, ""
end


-- Loads the next generation. Only under the lock. `fill(base)` writes the `length` bytes to `base`
-- and returns true, or nil and why not; both it and `tick` (see check.whole) may yield or raise:
-- the slot is then left odd, which is simply not current. Returns the new generation, or nil and
-- what is wrong.
function _M:load(length, identity, mtime, fill, tick)
    if length > self.capacity then
        return nil, format("%d bytes, a slot of the shared memory holds %d: raise its size"
            .. " to %d bytes or more", length, self.capacity, self.needed(length))
    end
    barrier()
    local control = self.control
    local generation = control.generation + 1
    local number = band(generation, 1)
    local slot, base = control.slot[number], self[number]
    -- Odd, and another odd one where a loader that died has left it odd.
    slot.seq = bor(slot.seq + 1, 1)
    barrier()
    local ok, err = fill(base)
    if ok then
        ok, err = check.whole(base, length, tick)
    end
    if not ok then
        return nil, err
    end
    slot.length, slot.mtime = length, mtime
    put(slot.build_id, header.build_id(base), 32)
    put(slot.identity, identity, IDENTITY)
    self:forgive()
    barrier()
    slot.seq = slot.seq + 1
    barrier()
    control.generation = generation
    barrier()
    return generation
end


-- The size of shared memory whose slots hold `length` bytes.
function _M.needed(length)
    local pages = (2 * length + FRONT + 4 * PAGE) / (1 - 1 / FRONT_SHARE) / PAGE
    return math.ceil(pages) * PAGE
end


return _M
