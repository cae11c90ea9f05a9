-- Generations in shared memory, and this worker's view of the current one.
--
-- The dict named by the options is used as an arena (see arena.lua) and must hold nothing else.
-- Where that cannot be had, every worker keeps a copy of the blob of its own: said in the log,
-- never guessed.

local ffi = require "ffi"
local arena = require "ipgeo.arena"
local blob = require "ipgeo.blob"
local crc32 = require "ipgeo.crc32"
local file = require "ipgeo.file"


local C = ffi.C
local error = error
local find, answer, is_intact = blob.find, blob.answer, arena.is_intact
local format = string.format
local ngx = ngx
local log, NOTICE, WARN = ngx.log, ngx.NOTICE, ngx.WARN
local pcall = pcall

-- Opening a generation and copying an answer takes microseconds, a load milliseconds: more than a
-- few turns can only mean memory that is being scribbled over.
local READ_TRIES = 100
local EXITING = "the worker is exiting"
local LOCK_TRIES, LOCK_PAUSE = 300, 10000 -- 3 s, in microseconds

pcall(ffi.cdef, "void *ngx_http_lua_ffi_shdict_udata_to_zone(void *zone_udata);")
ffi.cdef [[
    struct ipgeo_zone { void *data; uint8_t *address; size_t size; };
    int usleep(unsigned int microseconds);
]]
local zone_t = ffi.typeof("struct ipgeo_zone *")


local _M = {}

local source -- the operator's file
local shared -- the arena, or nil
local copied -- without an arena: the opened copy
local opened -- this worker's view: what arena:open returns, and its `etag`


-- nginx's shared memory zone behind a dict: its second member is the address, its third the size.
local function zone_of(dict)
    local ok, zone = pcall(function()
        return ffi.cast(zone_t, C.ngx_http_lua_ffi_shdict_udata_to_zone(dict[1]))
    end)
    if not ok or zone == nil or zone.address == nil then
        return nil, "this nginx does not tell where the memory of a dict is"
    end
    return zone
end


local function attach(name)
    local dict = ngx.shared[name]
    if not dict then
        return nil, "there is no lua_shared_dict " .. name
    end
    if #dict:get_keys(1) > 0 then
        return nil, "lua_shared_dict " .. name .. " holds keys of somebody else"
    end
    local zone, err = zone_of(dict)
    if not zone then
        return nil, err
    end
    return arena.attach(zone.address, tonumber(zone.size))
end


local function head_digest(pointer, length)
    return crc32.update(0, pointer, length)
end


-- Opens and identifies the file. A file that cannot be had has an identity too, so that it is
-- reported once. Returns identity, size and mtime, or the identity, nil and what is wrong.
local function identify()
    local ok, err = source:open()
    local identity, size, mtime
    if ok then
        identity, size, mtime = source:identify(head_digest)
        err = size
    end
    if not identity then
        return arena.identity(err), nil, err
    end
    return arena.identity(identity), size, mtime
end


local function load_shared(identity, size, mtime, tick)
    return shared:load(size, identity, mtime, function(base)
        return source:read_all(base, size, tick)
    end, tick)
end


local function load_copy(identity, size, mtime, tick)
    local buffer = ffi.new("uint8_t[?]", size)
    local ok, err = source:read_all(buffer, size, tick)
    local view
    if ok then
        view, err = blob.check(buffer, size, tick)
    end
    if not view then
        return nil, err
    end
    copied = {
        generation = (copied and copied.generation or 0) + 1,
        slot = { seq = 0 },
        seq = 0,
        length = size,
        mtime = mtime,
        build_id = blob.build_id(buffer),
        view = view,
        identity = identity,
        anchor = buffer, -- the view points into it
    }
    return copied.generation
end


local refused_copy


local function identities()
    if shared then
        return shared:identities()
    end
    return copied and copied.identity, refused_copy
end


local function refuse(identity, err)
    if shared then
        shared:refuse(identity)
    else
        refused_copy = identity
    end
    log(WARN, "ipgeo: ", source.path, " is refused: ", err)
end


local function forgive()
    if shared then
        shared:forgive()
    else
        refused_copy = nil
    end
end


local function current()
    if shared then
        return shared:open()
    end
    return copied
end


local function report(before, started)
    local now = current()
    ngx.update_time()
    log(NOTICE, format("ipgeo: generation %d: build id %s -> %s, %d runs, %d bytes, %.0f ms",
        now.generation, before and before.build_id or "none", now.build_id, now.view.runs,
        now.length, (ngx.now() - started) * 1000))
end


-- Loads the file if it is another one than the loaded and the refused one. Under the lock.
local function load_if_new(tick)
    local identity, size, mtime = identify()
    local loaded, refused = identities()
    if identity == loaded then
        -- Only by the watching worker: the master may be able to read what the workers may not.
        return refused and tick and forgive()
    elseif identity == refused then
        return
    end
    if not size then
        return refuse(identity, mtime)
    elseif size > blob.LARGEST then
        return refuse(identity, format("%.0f bytes, this edge reads at most %d", size,
            blob.LARGEST))
    end
    ngx.update_time()
    local started, before = ngx.now(), current()
    local load = shared and load_shared or load_copy
    local generation, err = load(identity, size, mtime, tick)
    if not generation then
        return refuse(identity, err)
    end
    report(before, started)
end


-- Looks at the file and loads it if it has changed; never raises. Returns false if another process
-- is loading. `tick` may yield, or raise to give up.
function _M.refresh(tick)
    if shared and not shared:try_lock() then
        return false
    end
    local ok, err = pcall(load_if_new, tick)
    source:close()
    if shared then
        shared:unlock()
    end
    if not ok then
        log(WARN, "ipgeo: the load of ", source.path, " was given up: ", err)
    end
    return true
end


-- For init_by_lua: takes the dict into use and loads the file. Data never makes it raise, so that a
-- reload of the configuration does not depend on data.
function _M.setup(path, dict_name)
    source = file.new(path)
    local err
    shared, err = attach(dict_name)
    if not shared then
        log(WARN, "ipgeo: every worker keeps a copy of its own: ", err)
    end
    for _ = 1, LOCK_TRIES do
        if _M.refresh() then
            return
        end
        C.usleep(LOCK_PAUSE)
    end
    log(WARN, "ipgeo: another process is loading; left to it")
end


-- Lets the worker's requests in between two slices of a load, and ends the load of a worker that is
-- to go: the one that follows will do it.
local function give_way()
    if ngx.worker.exiting() then
        error(EXITING, 0)
    end
    ngx.sleep(0.001) -- not 0, about which nginx without OpenResty's patches warns each time
end


local refreshing = false


local function refresh_in_slices(premature)
    -- A load may take longer than the interval.
    if premature or refreshing then
        return
    end
    refreshing = true
    _M.refresh(give_way)
    refreshing = false
end


-- For init_worker_by_lua: looks at the file every `interval` seconds from now on. One worker does
-- so for all, unless every worker has a copy of its own.
function _M.watch(interval)
    if shared and ngx.worker.id() ~= 0 then
        return
    end
    local ok, err = source:open()
    if not ok then
        log(WARN, "ipgeo: this worker cannot open ", source.path, ": ", err)
    end
    source:close()
    ok, err = ngx.timer.every(interval, refresh_in_slices)
    if not ok then
        log(WARN, "ipgeo: ", source.path, " is not watched: ", err)
    end
end


-- This worker's view of the current generation, brought up to date; nil before the first load.
function _M.open()
    local generation
    if shared then
        generation = shared:generation()
    else
        generation = copied and copied.generation or 0
    end
    if not opened or opened.generation ~= generation then
        opened = current()
        if opened then
            opened.etag = '"' .. opened.build_id .. '"'
        end
    end
    return opened
end


-- Calls `action(view, a, b, c, d, e)`, which copies something out of the view, until nobody wrote
-- there meanwhile. Returns the opened generation and the action's two results; nil while none is
-- loaded.
function _M.read(action, a, b, c, d, e)
    for _ = 1, READ_TRIES do
        local now = _M.open()
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
function _M.lookup(high, low, members)
    return _M.read(answer_one, high, low, members)
end


return _M
