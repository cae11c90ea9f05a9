-- Generations in shared memory, and this worker's view of the current one.
--
-- The dict named by the options is used as an arena (see arena.lua) and must hold nothing else.
-- Where that cannot be had, every worker keeps a copy of the blob of its own: said in the log,
-- never guessed.

local ffi = require "ffi"
local arena = require "ipgeo.memory.arena"
local check = require "ipgeo.blob.check"
local blob = require "ipgeo.blob.view"
local crc32 = require "ipgeo.blob.crc32"
local file = require "ipgeo.file"
local header = require "ipgeo.blob.header"


local C = ffi.C
local error = error
local find, answer, is_intact = blob.find, blob.answer, arena.is_intact
local format = string.format
local ngx = ngx
local log, NOTICE, WARN = ngx.log, ngx.NOTICE, ngx.WARN
local pcall, tostring = pcall, tostring

-- Opening a generation and copying an answer takes microseconds, a load milliseconds: more than a
-- few turns can only mean memory that is being scribbled over.
local READ_TRIES = 100
local EXITING = "the worker is exiting"
local LOCK_TRIES, LOCK_PAUSE = 300, 10000 -- 3 s, in microseconds

pcall(ffi.cdef, "void *ngx_http_lua_ffi_shdict_udata_to_zone(void *zone_udata);")
ffi.cdef [[
    struct ipgeo_zone { void *data; uint8_t *address; size_t size; };
    int usleep(unsigned int microseconds);
    void *malloc(size_t size);
    void free(void *memory);
]]
local zone_t = ffi.typeof("struct ipgeo_zone *")
local bytes_t = ffi.typeof("uint8_t *")

-- What can be wrong with the operator's file, in the order of its numbers in shared memory, and how
-- the log has it.
local KINDS = { "unreadable", "refused", "moved", "unlinked" }
local VERBS = {
    unreadable = " cannot be read: ",
    refused = " is refused: ",
    moved = " cannot be followed: ",
    unlinked = " is gone: ",
}


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


local function identify_once()
    local ok, err, kind = source:open()
    if not ok then
        return nil, err, kind
    end
    return source:identify(head_digest)
end


-- Opens and identifies the file; one that is being replaced just now, once more. Returns what
-- file.identify does.
local function identify()
    local found, err, kind = identify_once()
    if found and found.links == 0 then
        source:close()
        found, err, kind = identify_once()
    end
    return found, err, kind
end


-- Both return the new generation, or nil, what is wrong, and its kind.
local function load_shared(found, identity, tick)
    local unread
    local generation, err = shared:load(found.size, identity, found.mtime, function(base)
        local ok
        ok, unread = source:read_all(base, found.size, tick)
        return ok, unread
    end, tick)
    return generation, err, unread and "unreadable" or "refused"
end


local function load_copy(found, identity, tick)
    local buffer = C.malloc(found.size)
    if buffer == nil then
        return nil, format("no memory for %.0f bytes", found.size), "unreadable"
    end
    buffer = ffi.gc(ffi.cast(bytes_t, buffer), C.free)
    local ok, err = source:read_all(buffer, found.size, tick)
    if not ok then
        return nil, err, "unreadable"
    end
    local view
    view, err = check.whole(buffer, found.size, tick)
    if not view then
        return nil, err, "refused"
    end
    copied = {
        generation = (copied and copied.generation or 0) + 1,
        slot = { seq = 0 },
        seq = 0,
        length = found.size,
        mtime = found.mtime,
        build_id = header.build_id(buffer),
        view = view,
        identity = identity,
        anchor = buffer, -- the view points into it
    }
    return copied.generation
end


-- Of a copy: what the arena keeps otherwise.
local refused_copy = {}
local trouble_of_copy = { number = 0, reason = "" }


local function identities()
    if shared then
        return shared:identities()
    end
    return copied and copied.identity, refused_copy.identity, refused_copy.reason
end


local function refuse(identity, reason)
    if shared then
        shared:refuse(identity, reason)
    else
        refused_copy = { identity = identity, reason = reason }
    end
end


local function forgive()
    if shared then
        shared:forgive()
    else
        refused_copy = {}
    end
end


local function set_trouble(number, reason)
    if shared then
        shared:set_trouble(number, reason)
    else
        trouble_of_copy = { number = number, reason = reason }
    end
end


local function current()
    if shared then
        return shared:open()
    end
    return copied
end


-- What is wrong with the file, as the watching process has found at its last look: "unreadable",
-- "refused", "moved" or "unlinked", and the reason. Nil if nothing is.
function _M.trouble()
    local number, reason = trouble_of_copy.number, trouble_of_copy.reason
    if shared then
        number, reason = shared:trouble()
    end
    return KINDS[number], reason
end


-- What is compared: of a file that cannot be read the numbers may differ from look to look.
local function gist(kind, reason)
    return kind == "unreadable" and reason:gsub("%d+", "") or reason
end


local function number_of(kind)
    for i = 1, #KINDS do
        if KINDS[i] == kind then
            return i
        end
    end
    return 0
end


-- Keeps what a look has found, for all workers; no kind if nothing is wrong. `tell` gets what is
-- new before that: whoever hears of it from a worker finds it in the log. Under the lock.
local function remember(kind, reason, tell)
    local kept = kind and arena.reason(reason) or ""
    local known_kind, known_reason = _M.trouble()
    local is_known = kind == known_kind
        and (not kind or gist(kind, kept) == gist(kind, known_reason))
    if tell and not is_known then
        tell(kind, reason)
    end
    if kind ~= known_kind or kept ~= known_reason then
        set_trouble(number_of(kind), kept)
    end
end


local function complain(kind, reason)
    log(WARN, "ipgeo: ", source.path, VERBS[kind], reason)
end


local function report(before, started)
    local now = current()
    ngx.update_time()
    log(NOTICE, format("ipgeo: generation %d: build id %s -> %s, %d runs, %d bytes, %.0f ms",
        now.generation, before and before.build_id or "none", now.build_id, now.view.runs,
        now.length, (ngx.now() - started) * 1000))
end


-- Loads a file that is neither the loaded nor the refused one. Returns nothing, or a kind and a
-- reason. Only bytes that are no good are remembered: what could not be read is tried again.
local function load(found, identity, tick)
    ngx.update_time()
    local started, before = ngx.now(), current()
    local generation, kind
    local ok, err = check.head(found.head, found.size)
    if ok then
        local load_file = shared and load_shared or load_copy
        generation, err, kind = load_file(found, identity, tick)
    end
    if not generation then
        kind, err = kind or "refused", arena.reason(err)
        if kind == "refused" then
            refuse(identity, err)
        end
        return kind, err
    end
    remember(nil)
    report(before, started)
end


-- Loads the file if it is another one than the loaded and the refused one. Under the lock. Returns
-- nothing, or the kind of what is wrong and the reason.
local function look(tick)
    local found, reason, kind = identify()
    if not found then
        return kind, reason
    end
    local identity = arena.identity(found.identity)
    local loaded, refused, why = identities()
    if identity == loaded then
        -- Only by the watching worker: the master may be able to read what the workers may not.
        if refused and tick then
            forgive()
        end
    elseif identity == refused then
        return "refused", why
    else
        kind, reason = load(found, identity, tick)
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
function _M.refresh(tick)
    if shared and not shared:try_lock() then
        return false
    end
    local ok, kind, reason = pcall(look, tick)
    source:close()
    if not ok and kind == EXITING then
        log(WARN, "ipgeo: the load of ", source.path, " was given up: ", EXITING)
    elseif not ok then
        remember("unreadable", plain(kind), complain)
    elseif kind then
        remember(kind, reason, complain)
    elseif tick then
        remember(nil)
    end
    if shared then
        shared:unlock()
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


-- The master may have opened what this worker cannot.
local function say_if_closed()
    local ok, err, kind = source:open()
    source:close()
    if ok then
        return
    end
    log(WARN, "ipgeo: this worker cannot open ", source.path, ": ", err)
    if not shared then
        remember(kind, err)
    elseif shared:try_lock() then
        remember(kind, err)
        shared:unlock()
    end
end


-- For init_worker_by_lua: looks at the file now and every `interval` seconds. One worker does
-- so for all, unless every worker has a copy of its own.
function _M.watch(interval)
    if shared and ngx.worker.id() ~= 0 then
        return
    end
    say_if_closed()
    local ok, err = ngx.timer.at(0, refresh_in_slices)
    if ok then
        ok, err = ngx.timer.every(interval, refresh_in_slices)
    end
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
