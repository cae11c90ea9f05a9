-- The generations of one blob in shared memory, and this worker's view of the current one.
--
-- The dict named by the options is used as an arena (see memory/arena.lua) and must hold nothing
-- else. Where there is no arena, every worker keeps a copy of the blob of its own; the log says so.

local ffi = require "ffi"
local answers = require "ipgeo.answer"
local arena = require "ipgeo.memory.arena"
local check = require "ipgeo.blob.check"
local crc32 = require "ipgeo.blob.crc32"
local dict = require "ipgeo.memory.dict"
local file = require "ipgeo.file"
local private = require "ipgeo.memory.private"
local refresh_error = require "ipgeo.memory.refresh_error"


local C = ffi.C
local copy_answer = answers.copy
local format = string.format
local is_intact = arena.is_intact
local ngx = ngx
local log, NOTICE, WARN = ngx.log, ngx.NOTICE, ngx.WARN
local pcall, setmetatable, tostring = pcall, setmetatable, tostring

-- A snapshot and the copy of an answer take microseconds, a load milliseconds: more than a few
-- tries mean that something overwrites the memory all the time.
local READ_TRIES = 100
local LOCK_TRIES, LOCK_PAUSE = 300, 10000 -- 3 s, in microseconds

ffi.cdef "int usleep(unsigned int microseconds);"

-- How the log names the kinds of errors.
local VERBS = {
    unreadable = " cannot be read: ",
    refused = " is refused: ",
    moved = " cannot be followed: ",
    unlinked = " is gone: ",
}


-- EXITING is what `on_slice` raises to cancel a load.
local _M = { EXITING = "the worker is exiting" }

local mt = { __index = _M }


-- A store without a file: see `setup`.
function _M.new()
    -- Later also `source`, the operator's file, and `snapshot`, one of `memory` with an `etag`.
    return setmetatable({ memory = private.new() }, mt) -- an arena or private memory
end


local function head_digest(pointer, length)
    return crc32.update(0, pointer, length)
end


local function inspect_once(source)
    local ok, err, kind = source:open()
    if not ok then
        return nil, err, kind
    end
    return source:inspect(head_digest)
end


-- Opens and inspects the file; twice if it was replaced in between. Returns what file.inspect does.
local function inspect(source)
    local found, err, kind = inspect_once(source)
    if found and found.links == 0 then
        source:close()
        found, err, kind = inspect_once(source)
    end
    return found, err, kind
end


-- Why the file cannot be refreshed, as of the last check: "unreadable", "refused", "moved" or
-- "unlinked", and a message. Nil if it can be.
function _M:refresh_error()
    return refresh_error.get(self.memory)
end


-- Whether one process checks the file for all.
function _M:is_shared()
    return self.memory.is_shared
end


function _M:path()
    return self.source.path
end


-- Keeps why the file cannot be refreshed, and logs it if it is new.
local function warn_once(self, kind, message)
    refresh_error.set(self.memory, kind, message, function()
        log(WARN, "ipgeo: ", self.source.path, VERBS[kind], message)
    end)
end


local function log_load(self, before, started)
    local now = self.memory:snapshot()
    local runs = now.view.runs + now.view.runs6
    ngx.update_time()
    log(NOTICE, format("ipgeo: loaded generation %d: build id %s -> %s, %d runs, %d bytes, %.0f ms",
        now.generation, before and before.build_id or "none", now.build_id, runs, now.length,
        (ngx.now() - started) * 1000))
end


-- Returns the new generation, or nil, what is wrong, and its kind.
local function fill_memory(self, found, fingerprint, on_slice)
    local unread
    local function fill(base)
        local ok
        ok, unread = self.source:read_all(base, found.size, on_slice)
        return ok, unread
    end
    local generation, err, kind =
        self.memory:load(found.size, fingerprint, found.mtime, fill, on_slice)
    return generation, err, kind or unread and "unreadable" or "refused"
end


-- Loads the file, and remembers it if its bytes are bad; a read that failed is tried again at the
-- next check. Returns nothing, or the kind of the error and a message.
local function load(self, found, fingerprint, fingerprint_with_ctime, on_slice)
    ngx.update_time()
    local started, before = ngx.now(), self.memory:snapshot()
    local generation, kind
    local ok, err = check.head(found.head, found.size)
    if ok then
        generation, err, kind = fill_memory(self, found, fingerprint, on_slice)
    end
    if not generation then
        kind, err = kind or "refused", arena.message(err)
        if kind == "refused" then
            self.memory:remember_refused(fingerprint_with_ctime, err)
        end
        return kind, err
    end
    refresh_error.set(self.memory)
    log_load(self, before, started)
end


-- Loads the file that was found unless it is the loaded or the refused one. Returns what `load`
-- does.
local function load_if_new(self, found, on_slice)
    local fingerprint = arena.fingerprint(found.fingerprint)
    local fingerprint_with_ctime = arena.fingerprint(found.fingerprint_with_ctime)
    local loaded, refused, why = self.memory:fingerprints()
    if fingerprint == loaded then
        -- Only by the watching worker: the master may be able to read what the workers may not.
        if refused and on_slice then
            self.memory:clear_refused()
        end
    elseif fingerprint_with_ctime == refused then
        return "refused", why
    else
        return load(self, found, fingerprint, fingerprint_with_ctime, on_slice)
    end
end


-- Checks the file, and loads it if it has changed. Needs the lock. Returns nothing, or the kind of
-- the error and a message.
local function load_if_changed(self, on_slice)
    local found, message, kind = inspect(self.source)
    if not found then
        return kind, message
    end
    kind, message = load_if_new(self, found, on_slice)
    if not kind and found.links == 0 then
        kind, message = "unlinked", "the file at this path has been deleted"
    end
    return kind, message
end


-- An error's message without the position in the code.
local function without_position(err)
    return (tostring(err):gsub("^[^:]*:%d+: ", ""))
end


-- Loads the file if it has changed; never raises. Returns false if another process is loading.
-- `on_slice`, which the watching worker gives, may yield, or raise to cancel the load.
function _M:refresh(on_slice)
    local memory, source = self.memory, self.source
    if not memory:try_lock() then
        return false
    end
    local ok, kind, message = pcall(load_if_changed, self, on_slice)
    source:close()
    if not ok and kind == _M.EXITING then
        log(WARN, "ipgeo: the load of ", source.path, " was cancelled: ", kind)
    elseif not ok then
        warn_once(self, "unreadable", without_position(kind))
    elseif kind then
        warn_once(self, kind, message)
    elseif on_slice then
        refresh_error.set(memory)
    end
    memory:unlock()
    return true
end


-- For init_by_lua: attaches the dict and loads the file. A missing or bad file does not raise:
-- reloading the configuration does not depend on data.
function _M:setup(path, dict_name)
    self.source = file.new(path)
    local shared, err = dict.attach(dict_name)
    self.memory, self.snapshot = shared or private.new(), nil
    if not shared then
        log(WARN, "ipgeo: every worker keeps a copy of its own: ", err)
    end
    for _ = 1, LOCK_TRIES do
        if self:refresh() then
            return
        end
        C.usleep(LOCK_PAUSE)
    end
    log(WARN, "ipgeo: another process is still loading; this one does not wait for it")
end


-- For the worker that is to watch the file: the master may be able to open what the worker cannot.
function _M:warn_if_unreadable()
    local memory, source = self.memory, self.source
    local ok, err, kind = source:open()
    source:close()
    if ok then
        return
    end
    log(WARN, "ipgeo: this worker cannot open ", source.path, ": ", err)
    if memory:try_lock() then
        refresh_error.set(memory, kind, err)
        memory:unlock()
    end
end


-- This worker's snapshot of the current generation; nil before the first load.
function _M:current()
    local snapshot, generation = self.snapshot, self.memory:generation()
    if not snapshot or snapshot.generation ~= generation then
        snapshot = self.memory:snapshot()
        self.snapshot = snapshot
        if snapshot then
            snapshot.etag = '"' .. snapshot.build_id .. '"'
        end
    end
    return snapshot
end


-- Calls `action(view, a, b, c, d, e)`, which copies something out of the view, again if a process
-- wrote there at the same time. Returns the snapshot and the action's two results; nil while no
-- generation is loaded.
function _M:with_snapshot(action, a, b, c, d, e)
    for _ = 1, READ_TRIES do
        local snapshot = _M.current(self)
        if not snapshot then
            return nil
        end
        local first, second = action(snapshot.view, a, b, c, d, e)
        if is_intact(snapshot) then
            return snapshot, first, second
        end
    end
    return nil
end


-- Looks up an address as address.parse returns it. Returns the answer as answer.copy does, nil and
-- the snapshot; or nil and the error's code: "no_data", or "unavailable" while no generation is
-- loaded.
function _M:lookup(high, low, as_object, ip, length)
    local snapshot, answer =
        _M.with_snapshot(self, copy_answer, high, low, as_object, ip, length)
    if not answer then
        return nil, snapshot and "no_data" or "unavailable"
    end
    return answer, nil, snapshot
end


-- The store that HTTP answers from.
_M.default = _M.new()


return _M
