-- Looks at the file again and again. One worker does so for all, unless every worker has a copy of
-- its own.

local store = require "ipgeo.store"


local error = error
local log, WARN = ngx.log, ngx.WARN
local ngx = ngx


local _M = {}

local refreshing = false


-- Lets the worker's requests in between two slices of a load, and ends the load of a worker that is
-- to go: the one that follows will do it.
local function give_way()
    if ngx.worker.exiting() then
        error(store.EXITING, 0)
    end
    ngx.sleep(0.001) -- not 0, about which nginx without OpenResty's patches warns each time
end


local function refresh_in_slices(premature)
    -- A load may take longer than the interval.
    if premature or refreshing then
        return
    end
    refreshing = true
    store.refresh(give_way)
    refreshing = false
end


-- For init_worker_by_lua: looks at the file now and every `interval` seconds.
function _M.start(interval)
    if store.is_shared() and ngx.worker.id() ~= 0 then
        return
    end
    store.say_if_closed()
    local ok, err = ngx.timer.at(0, refresh_in_slices)
    if ok then
        ok, err = ngx.timer.every(interval, refresh_in_slices)
    end
    if not ok then
        log(WARN, "ipgeo: ", store.path(), " is not watched: ", err)
    end
end


return _M
