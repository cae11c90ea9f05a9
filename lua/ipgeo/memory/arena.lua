-- Shared memory with two slots for blobs and a control block. Works without nginx: any mapping that
-- several processes share will do.
--
-- One process at a time loads, under a lock (mutex.lua); all others read without one. A load fills
-- the slot that is not current, and makes it current by one store. The slot's `seq` is odd while it
-- is being written. A reader may use what it copied out of a slot only if `seq` is still the same
-- as in its snapshot (a sequence lock).
--
-- x86-64 only: there, loads and stores of one process reach memory in program order. barrier.lua
-- makes LuaJIT keep that order too.

local ffi = require "ffi"
local bit = require "bit"
local barrier = require "ipgeo.memory.barrier"
local check = require "ipgeo.blob.check"
local contract = require "ipgeo.contract"
local control_block = require "ipgeo.memory.control_block"
local header = require "ipgeo.blob.header"
local mutex = require "ipgeo.memory.mutex"
local views = require "ipgeo.blob.view"


local band, bor = bit.band, bit.bor
local cast = ffi.cast
local floor, min = math.floor, math.min
local char, format = string.char, string.format
local pad, padded_text = control_block.pad, control_block.padded_text
local put, text = control_block.put, control_block.text
local setmetatable = setmetatable

local LIMITS = contract.LIMITS
local PAGE = LIMITS.arena_page
-- nginx's slab allocator uses the front of a zone, for its descriptors (24 bytes a page) and for
-- what it allocates: 1/128 of the zone and 64 KiB are left to it.
local FRONT_SHARE, FRONT = LIMITS.arena_front_share, LIMITS.arena_front
local MIN_SIZE = LIMITS.min_arena
local MAGIC = "ipgeo" .. char(LIMITS.memory_layout, 0, 0)
local SNAPSHOT_TRIES = 1000

local bytes_t = ffi.typeof("uint8_t *")
local control_t = control_block.pointer_t
local BUILD_ID, FINGERPRINT = control_block.BUILD_ID, control_block.FINGERPRINT
local MESSAGE = control_block.MESSAGE


local _M = { is_shared = true }
local mt = { __index = _M }


-- A fingerprint in the form in which `fingerprints` returns it.
function _M.fingerprint(value)
    return pad(value, FINGERPRINT)
end


-- The arena in the `size` bytes at `address`: where its control block and its slots lie.
local function lay_out(address, size)
    local control_at = floor(size / PAGE) * PAGE - PAGE
    local front = FRONT + floor(size / FRONT_SHARE / PAGE) * PAGE
    local slot_size = floor((control_at - front) / 2 / PAGE) * PAGE
    return setmetatable({
        control = cast(control_t, address + control_at),
        capacity = slot_size,
        [0] = address + front,
        [1] = address + front + slot_size,
    }, mt)
end


-- Uses the `size` bytes at `address` as an arena; zeroed memory becomes an empty one. The first
-- call must be made by one process alone. Returns the arena, or nil and why it cannot be used.
function _M.attach(address, size)
    if jit.arch ~= "x64" then
        return nil, "the order of stores is only known for x86-64, not for " .. jit.arch
    end
    if size < MIN_SIZE then
        return nil, format("%d bytes of shared memory, at least %d are needed", size, MIN_SIZE)
    end
    local self = lay_out(cast(bytes_t, address), size)
    local magic = text(self.control.magic, #MAGIC)
    if magic == ("\0"):rep(#MAGIC) then
        return self:format()
    elseif magic ~= MAGIC then
        return nil, "the end of the shared memory is already in use"
    end
    return self
end


-- Writes the control block of an empty arena. Returns the arena, or nil and why it cannot be used.
function _M:format()
    if not mutex.init(self.control.mutex) then
        return nil, "no robust mutex is available"
    end
    put(self.control.magic, MAGIC, #MAGIC)
    return self
end


-- Takes the lock if it is free or its owner has died; never waits. Returns whether it was taken.
function _M:try_lock()
    return mutex.try_lock(self.control.mutex)
end


function _M:unlock()
    mutex.unlock(self.control.mutex)
end


-- Whether what was copied out of a snapshot may be used: no process has begun to write into its
-- slot since the snapshot was taken.
function _M.is_intact(snapshot)
    barrier()
    return snapshot.slot.seq == snapshot.seq
end


-- The generation that is served; 0 before the first load.
function _M:generation()
    barrier()
    return self.control.generation
end


-- A snapshot of generation `generation`, or nil while its slot is being written or holds no blob.
local function take_snapshot(self, generation)
    local number = band(generation, 1)
    local slot = self.control.slot[number]
    local seq = slot.seq
    -- Read once, and bounded by the slot: a process may have written anything there.
    local length = min(slot.length, self.capacity)
    local snapshot = {
        generation = generation,
        slot = slot,
        seq = seq,
        length = length,
        mtime = slot.mtime,
        build_id = text(slot.build_id, BUILD_ID),
        view = views.open(self[number], length), -- and no shape
    }
    barrier()
    return snapshot.view and band(seq, 1) == 0 and slot.seq == seq and snapshot or nil
end


-- Describes the current generation: `view` to look up in, `slot` and `seq` for `is_intact`,
-- `generation`, `build_id`, `mtime` (of the file, in seconds), `length` (bytes). Nil before the
-- first load.
function _M:snapshot()
    for _ = 1, SNAPSHOT_TRIES do
        local generation = self:generation()
        local snapshot = generation > 0 and take_snapshot(self, generation)
        if snapshot or generation == 0 then
            return snapshot or nil
        end
    end
    return nil
end


-- The fingerprints of the loaded file and of the file that was refused last, and why that one was.
-- Nil if there is no such file.
function _M:fingerprints()
    barrier()
    local control = self.control
    local slot = control.slot[band(control.generation, 1)]
    local loaded = control.generation > 0 and text(slot.fingerprint, FINGERPRINT) or nil
    local refused = control.refused_set == 1 and text(control.refused, FINGERPRINT) or nil
    return loaded, refused, padded_text(control.refused_reason, MESSAGE)
end


-- Forgets the refused file: it will be tried and reported again if it comes back. Needs the
-- lock.
function _M:clear_refused()
    self.control.refused_set = 0
end


-- Records that a file must not be tried again, and why. Needs the lock.
function _M:remember_refused(fingerprint, reason)
    put(self.control.refused, fingerprint, FINGERPRINT)
    put(self.control.refused_reason, reason, MESSAGE)
    self.control.refused_set = 1
end


-- A message, cut to the length in which the arena keeps it.
function _M.message(value)
    return value:sub(1, MESSAGE)
end


-- Publishes to all processes why the file cannot be refreshed: the number of a kind, 0 for no
-- error, and a message. Needs the lock.
function _M:set_refresh_error(kind, message)
    local control = self.control
    control.error_seq = bor(control.error_seq + 1, 1)
    barrier()
    control.error_kind = kind
    put(control.error_message, message, MESSAGE)
    barrier()
    control.error_seq = control.error_seq + 1
    barrier()
end


-- The kind and the message that were set last; 0 where none can be read.
function _M:refresh_error()
    local control = self.control
    for _ = 1, SNAPSHOT_TRIES do
        barrier()
        local seq = control.error_seq
        local kind, message = control.error_kind, padded_text(control.error_message, MESSAGE)
        barrier()
        if band(seq, 1) == 0 and control.error_seq == seq then
            return kind, message
        end
    end
    return 0, ""
end


local function too_long(self, length)
    return format("%d bytes, a slot of the shared memory holds %d: raise its size"
        .. " to %d bytes or more", length, self.capacity, self.needed(length))
end


-- Marks a slot as being written. Odd, and another odd number where a loader died and left it odd.
local function begin_writing(slot)
    barrier()
    slot.seq = bor(slot.seq + 1, 1)
    barrier()
end


-- Marks a slot as written and makes it current.
local function publish(control, slot, generation)
    barrier()
    slot.seq = slot.seq + 1
    barrier()
    control.generation = generation
    barrier()
end


-- Loads the next generation. Needs the lock. `fill(base)` writes the `length` bytes to `base` and
-- returns true, or nil and why not. Both it and `on_slice` (see check.whole) may yield or raise:
-- the slot then stays odd and never becomes current. Returns the new generation, or nil and what
-- is wrong.
function _M:load(length, fingerprint, mtime, fill, on_slice)
    if length > self.capacity then
        return nil, too_long(self, length)
    end
    local control = self.control
    local generation = self:generation() + 1
    local number = band(generation, 1)
    local slot, base = control.slot[number], self[number]
    begin_writing(slot)
    local ok, err = fill(base)
    if ok then
        ok, err = check.whole(base, length, on_slice)
    end
    if not ok then
        return nil, err
    end
    slot.length, slot.mtime = length, mtime
    put(slot.build_id, header.build_id(base), BUILD_ID)
    put(slot.fingerprint, fingerprint, FINGERPRINT)
    self:clear_refused()
    publish(control, slot, generation)
    return generation
end


-- How many bytes of shared memory have slots for `length` bytes.
function _M.needed(length)
    local pages = (2 * length + FRONT + 4 * PAGE) / (1 - 1 / FRONT_SHARE) / PAGE
    return math.ceil(pages) * PAGE
end


return _M
