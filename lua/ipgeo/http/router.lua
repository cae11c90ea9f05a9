-- What nginx.conf calls. Decides whether this worker or a fallback answers a request.

local chunks = require "ipgeo.http.chunks"
local errors = require "ipgeo.http.errors"
local fast = require "ipgeo.http.fast"
local headers = require "ipgeo.http.headers"
local health = require "ipgeo.http.health"
local query = require "ipgeo.http.query"
local relay = require "ipgeo.http.relay"
local respond = require "ipgeo.http.respond"
local store = require("ipgeo.store").default


local ask_fallback = respond.ask_fallback
local collectgarbage = collectgarbage
local count = headers.count
local exit, var = ngx.exit, ngx.var
local find, gsub = string.find, string.gsub
local get_method = ngx.req.get_method
local max, min = math.max, math.min

local METHODS = "GET, HEAD, POST"
local CONTENT_TYPE = headers.names { "Content-Type" }
local UNAVAILABLE = errors.STATUSES.unavailable

-- In KiB: several times the Lua heap between requests.
local MAX_HEAP = 2048
-- In KiB: the smallest heap since the last full collection.
local heap_in_use = 0


local _M = {
    fast_get = fast.fast_get,
    healthz = health.healthz,
    proxy_readyz = health.proxy_readyz,
    readyz = health.readyz,
    set_batch_limit = query.set_batch_limit,
}


-- Sets how many bytes a body may have: nginx holds to it, the message names it.
function _M.set_body_limit(limit)
    errors.set_limit("body_limit", limit)
end


-- Whether there are two: nginx takes the first one, or, from 1.23 on, joins them by a comma.
local function is_ambiguous(media_type)
    if not media_type then
        return false
    end
    local joined = find(media_type, ",", 1, true)
        and find(gsub(media_type, '"[^"]*"', ""), ",", 1, true)
    return joined or count(CONTENT_TYPE) > 1
end


-- Rejects a request that neither edge nor fallback answers. Returns whether it did.
local function has_rejected()
    local method = get_method()
    if method == "POST" then
        return is_ambiguous(var.content_type) and exit(400)
    end
    respond.drop_body()
    if method == "GET" or method == "HEAD" then
        return false
    end
    respond.ignore_validators()
    respond.reject_method(METHODS)
    return true
end


-- Collects the garbage of a large request at once: Lua alone would wait until the heap has doubled.
-- What many concurrent requests use is not garbage, and a collection then costs time for nothing.
local function collect_garbage()
    local used = collectgarbage("count")
    heap_in_use = min(heap_in_use, used)
    if used > max(MAX_HEAP, 2 * heap_in_use) then
        collectgarbage()
        heap_in_use = collectgarbage("count")
    end
end


-- This worker answers; a fallback does while no generation is loaded.
local function answer_query()
    if has_rejected() then
        return
    elseif not store:current() then
        return ask_fallback()
    elseif get_method() == "POST" then
        return query.answer_post()
    end
    return query.answer_get()
end


-- A fallback answers; this worker does if none can.
local function answer_by_proxy()
    if has_rejected() then
        return
    elseif not store:current() then
        return ask_fallback()
    end
    local answer = relay.ask()
    if answer and answer.status ~= UNAVAILABLE then
        return relay.send(answer)
    end
    return answer_query()
end


-- Answers /api/ip_query.
function _M.query()
    answer_query()
    collect_garbage()
end


-- Answers /api/ip_query when `query` or `fast_get` has failed.
function _M.handle_after_error()
    chunks.discard()
    if not has_rejected() then
        ask_fallback()
    end
    collect_garbage()
end


-- Answers /api/ip_query by a fallback.
function _M.proxy()
    answer_by_proxy()
    collect_garbage()
end


return _M
