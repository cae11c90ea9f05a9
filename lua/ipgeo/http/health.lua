-- Whether the process is alive, and which generation it serves.

local cjson = require "cjson.safe"
local relay = require "ipgeo.http.relay"
local respond = require "ipgeo.http.respond"
local store = require("ipgeo.store").default


local encode = cjson.encode
local floor, format, max = math.floor, string.format, math.max
local get_method = ngx.req.get_method
local ngx = ngx
local reject_method, send, send_error = respond.reject_method, respond.send, respond.send_error

local METHODS = "GET, HEAD"


local _M = {}


local function is_get()
    respond.drop_body()
    respond.ignore_validators()
    local method = get_method()
    return method == "GET" or method == "HEAD"
end


-- Answers /healthz: the process is alive.
function _M.healthz()
    if not is_get() then
        return reject_method(METHODS)
    end
    return send('{"status":"ok"}')
end


-- Whether a changed file would be served: with two further members if it would not.
local function refresh_members()
    local kind, message = store:refresh_error()
    if not kind then
        return '"refresh":"ok"'
    end
    return format('"refresh":"failing","refresh_error":"%s","refresh_message":%s', kind,
        encode(message))
end


-- Answers /readyz: which generation is served. `data_age` is in seconds, by the file's mtime.
function _M.readyz()
    if not is_get() then
        return reject_method(METHODS)
    end
    local snapshot = store:current()
    if not snapshot then
        return send_error("unavailable")
    end
    local age = max(0, floor(ngx.time() - snapshot.mtime))
    return send(format(
        '{"status":"ready","build_id":"%s","generation":%d,"runs":%d,"data_age":%d,%s}',
        snapshot.build_id, snapshot.generation, snapshot.view.runs, age, refresh_members()))
end


-- Answers /readyz by a fallback.
function _M.proxy_readyz()
    if not is_get() then
        return reject_method(METHODS)
    end
    local answer = relay.ask_readiness()
    if not answer then
        return send_error("unavailable")
    end
    return relay.send(answer)
end


return _M
