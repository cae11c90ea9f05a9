-- Checks a file for changes at intervals. One worker does so for all, unless every worker has a
-- copy of its own.

local stores = require "ipgeo.store"


local error = error
local log, WARN = ngx.log, ngx.WARN
local ngx = ngx


local _M = {}


-- Lets the worker answer requests between two slices of a load. Cancels the load of a worker that
-- is exiting: its successor loads the file.
local function yield_to_requests()
    if ngx.worker.exiting() then
        error(stores.EXITING, 0)
    end
    ngx.sleep(0.001) -- not 0, about which nginx without OpenResty's patches warns each time
end


-- Returns the timers' callback.
local function refresher(store)
    local refreshing = false
    return function(premature)
        -- A load may take longer than the interval.
        if premature or refreshing then
            return
        end
        refreshing = true
        store:refresh(yield_to_requests)
        refreshing = false
    end
end


-- For init_worker_by_lua: checks the file of `store` now and every `interval` seconds.
function _M.start(store, interval)
    if store:is_shared() and ngx.worker.id() ~= 0 then
        return
    end
    store:warn_if_unreadable()
    local refresh = refresher(store)
    local ok, err = ngx.timer.at(0, refresh)
    if ok then
        ok, err = ngx.timer.every(interval, refresh)
    end
    if not ok then
        log(WARN, "ipgeo: ", store:path(), " is not watched: ", err)
    end
end


return _M
