-- The generations of one blob in shared memory, and this worker's view of the current one.
--
-- The dict named by the options is used as an arena (see memory/arena.lua) and must hold nothing
-- else. Where that cannot be had, every worker keeps a copy of the blob of its own: said in the
-- log, never guessed.

local ffi = require "ffi"
local arena = require "ipgeo.memory.arena"
local blob = require "ipgeo.blob.view"
local check = require "ipgeo.blob.check"
local private = require "ipgeo.memory.private"
local crc32 = require "ipgeo.blob.crc32"
local dict = require "ipgeo.memory.dict"
local file = require "ipgeo.file"
local refresh_error = require "ipgeo.memory.refresh_error"


local C = ffi.C
local find, answer, is_intact = blob.find, blob.answer, arena.is_intact
local format = string.format
local ngx = ngx
local log, NOTICE, WARN = ngx.log, ngx.NOTICE, ngx.WARN
local pcall, setmetatable, tostring = pcall, setmetatable, tostring

-- Opening a generation and copying an answer takes microseconds, a load milliseconds: more than a
-- few turns can only mean memory that is being scribbled over.
local READ_TRIES = 100
local LOCK_TRIES, LOCK_PAUSE = 300, 10000 -- 3 s, in microseconds

ffi.cdef "int usleep(unsigned int microseconds);"

-- How the log has what can be wrong with the operator's file.
local VERBS = {
    unreadable = " cannot be read: ",
    refused = " is refused: ",
    moved = " cannot be followed: ",
    unlinked = " is gone: ",
}


-- EXITING is what a `tick` raises to give a load up.
local _M = { EXITING = "the worker is exiting" }

local mt = { __index = _M }


-- One that has nothing yet: see `setup`.
function _M.new()
    -- Also in it, later: `source`, the operator's file; `opened`, this worker's view, which is what
    -- arena:open returns and its `etag`.
    return setmetatable({ memory = private.new() }, mt) -- an arena or private
end


local function head_digest(pointer, length)
    return crc32.update(0, pointer, length)
end


local function identify_once(source)
    local ok, err, kind = source:open()
    if not ok then
        return nil, err, kind
    end
    return source:identify(head_digest)
end


-- Opens and identifies the file; one that is being replaced just now, once more. Returns what
-- file.identify does.
local function identify(source)
    local found, err, kind = identify_once(source)
    if found and found.links == 0 then
        source:close()
        found, err, kind = identify_once(source)
    end
    return found, err, kind
end


-- What is wrong with the file, as the watching process has found at its last look: "unreadable",
-- "refused", "moved" or "unlinked", and the reason. Nil if nothing is.
function _M:trouble()
    return refresh_error.read(self.memory)
end


-- Whether one process looks at the file for all.
function _M:is_shared()
    return self.memory.is_shared
end


function _M:path()
    return self.source.path
end


-- Keeps what is wrong with the file, and says it if it is new.
local function complain(self, kind, reason)
    refresh_error.remember(self.memory, kind, reason, function()
        log(WARN, "ipgeo: ", self.source.path, VERBS[kind], reason)
    end)
end


local function report(self, before, started)
    local now = self.memory:open()
    ngx.update_time()
    log(NOTICE, format("ipgeo: generation %d: build id %s -> %s, %d runs, %d bytes, %.0f ms",
        now.generation, before and before.build_id or "none", now.build_id, now.view.runs,
        now.length, (ngx.now() - started) * 1000))
end


-- Returns the new generation, or nil, what is wrong, and its kind.
local function fill_memory(self, found, identity, tick)
    local unread
    local function fill(base)
        local ok
        ok, unread = self.source:read_all(base, found.size, tick)
        return ok, unread
    end
    local generation, err, kind =
        self.memory:load(found.size, identity, found.mtime, fill, tick)
    return generation, err, kind or unread and "unreadable" or "refused"
end


-- Loads a file that is neither the loaded nor the refused one. Returns nothing, or a kind and a
-- reason. Only bytes that are no good are remembered: what could not be read is tried again.
local function load(self, found, identity, state, tick)
    ngx.update_time()
    local started, before = ngx.now(), self.memory:open()
    local generation, kind
    local ok, err = check.head(found.head, found.size)
    if ok then
        generation, err, kind = fill_memory(self, found, identity, tick)
    end
    if not generation then
        kind, err = kind or "refused", arena.reason(err)
        if kind == "refused" then
            self.memory:refuse(state, err)
        end
        return kind, err
    end
    refresh_error.remember(self.memory)
    report(self, before, started)
end


-- Loads the file if it is another one than the loaded and the refused one. Under the lock. Returns
-- nothing, or the kind of what is wrong and the reason.
local function look(self, tick)
    local found, reason, kind = identify(self.source)
    if not found then
        return kind, reason
    end
    local identity, state = arena.identity(found.identity), arena.identity(found.state)
    local loaded, refused, why = self.memory:identities()
    if identity == loaded then
        -- Only by the watching worker: the master may be able to read what the workers may not.
        if refused and tick then
            self.memory:forgive()
        end
    elseif state == refused then
        return "refused", why
    else
        kind, reason = load(self, found, identity, state, tick)
    end
    if not kind and found.links == 0 then
        kind, reason = "unlinked", "the file at this path has been deleted"
    end
    return kind, reason
end


-- What an error says, without the place in the code.
local function plain(err)
    return (tostring(err):gsub("^[^:]*:%d+: ", ""))
end


-- Looks at the file and loads it if it has changed; never raises. Returns false if another process
-- is loading. `tick` may yield, or raise to give up.
function _M:refresh(tick)
    local memory, source = self.memory, self.source
    if not memory:try_lock() then
        return false
    end
    local ok, kind, reason = pcall(look, self, tick)
    source:close()
    if not ok and kind == _M.EXITING then
        log(WARN, "ipgeo: the load of ", source.path, " was given up: ", kind)
    elseif not ok then
        complain(self, "unreadable", plain(kind))
    elseif kind then
        complain(self, kind, reason)
    elseif tick then
        refresh_error.remember(memory)
    end
    memory:unlock()
    return true
end


-- For init_by_lua: takes the dict into use and loads the file. Data never makes it raise, so that a
-- reload of the configuration does not depend on data.
function _M:setup(path, dict_name)
    self.source = file.new(path)
    local shared, err = dict.attach(dict_name)
    self.memory, self.opened = shared or private.new(), nil
    if not shared then
        log(WARN, "ipgeo: every worker keeps a copy of its own: ", err)
    end
    for _ = 1, LOCK_TRIES do
        if self:refresh() then
            return
        end
        C.usleep(LOCK_PAUSE)
    end
    log(WARN, "ipgeo: another process is loading; left to it")
end


-- For a worker that is to watch the file: the master may have opened what this worker cannot.
function _M:say_if_closed()
    local memory, source = self.memory, self.source
    local ok, err, kind = source:open()
    source:close()
    if ok then
        return
    end
    log(WARN, "ipgeo: this worker cannot open ", source.path, ": ", err)
    if memory:try_lock() then
        refresh_error.remember(memory, kind, err)
        memory:unlock()
    end
end


-- This worker's view of the current generation, brought up to date; nil before the first load.
function _M:open()
    local opened, generation = self.opened, self.memory:generation()
    if not opened or opened.generation ~= generation then
        opened = self.memory:open()
        self.opened = opened
        if opened then
            opened.etag = '"' .. opened.build_id .. '"'
        end
    end
    return opened
end


-- Calls `action(view, a, b, c, d, e)`, which copies something out of the view, until nobody wrote
-- there meanwhile. Returns the opened generation and the action's two results; nil while none is
-- loaded.
function _M:read(action, a, b, c, d, e)
    for _ = 1, READ_TRIES do
        local now = _M.open(self)
        if not now then
            return nil
        end
        local first, second = action(now.view, a, b, c, d, e)
        if is_intact(now) then
            return now, first, second
        end
    end
    return nil
end


local function answer_one(view, high, low, members)
    local location = find(view, high, low)
    return location and answer(view, members and view.locations + location or location)
end


-- Looks up an address given by its high and low 16 bits. Returns the opened generation (nil while
-- none is loaded) and its answer (nil: no data): the array form, or, with `members`, the object
-- form without its `{"ip":"A",`.
function _M:lookup(high, low, members)
    return _M.read(self, answer_one, high, low, members)
end


-- The one that HTTP answers from.
_M.default = _M.new()


return _M
