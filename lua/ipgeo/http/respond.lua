-- Sends answers and errors, and keeps nginx from changing them because of the request's headers.

local errors = require "ipgeo.http.errors"
local headers = require "ipgeo.http.headers"
local relay = require "ipgeo.http.relay"


local clear_header, discard_body = ngx.req.clear_header, ngx.req.discard_body
local count = headers.count
local exit = ngx.exit
local header = ngx.header
local pairs, pcall = pairs, pcall
local ngx = ngx
local print = ngx.print

local BODIES, STATUSES = errors.BODIES, errors.STATUSES
local PRECONDITIONS = headers.names { "If-Match", "If-Modified-Since", "If-Unmodified-Since" }
local VALIDATORS = headers.names {
    "If-Match", "If-Modified-Since", "If-Unmodified-Since", "If-None-Match",
}


local _M = {}


function _M.send(body)
    header["Content-Length"] = #body
    print(body)
end


function _M.send_error(code)
    ngx.status = STATUSES[code]
    _M.send(BODIES[code])
end


function _M.reject_method(allowed)
    header["Allow"] = allowed
    _M.send_error("method_not_allowed")
end


-- Sends the answer of a fallback instead of one by this worker.
function _M.ask_fallback()
    local answer = relay.ask(true)
    if not answer then
        return _M.send_error("unavailable")
    end
    return relay.send(answer)
end


-- Discards the body of a request that needs none, before the answer begins: a framing error would
-- otherwise be found only later, and nginx would close the connection without an answer.
function _M.drop_body()
    if not pcall(discard_body) then
        exit(400)
    end
end


-- Counting headers is cheaper than clearing those that are absent.
local function clear(names)
    if count(names) > 0 then
        for _, name in pairs(names) do
            clear_header(name)
        end
    end
end


-- nginx's own filter evaluates these for every answer. It would send 412 in the middle of Lua's
-- output, which can crash a worker, and prefer a date to If-None-Match.
function _M.ignore_preconditions()
    clear(PRECONDITIONS)
end


-- The same filter would also apply `If-None-Match: *` to answers without an ETag.
function _M.ignore_validators()
    clear(VALIDATORS)
end


return _M
