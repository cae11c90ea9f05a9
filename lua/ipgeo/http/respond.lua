-- Sends answers and errors, and keeps nginx from changing them by what the request says.

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


-- Answers by a fallback, in the place of this worker.
function _M.ask_fallback()
    local answer = relay.ask(true)
    if not answer then
        return _M.send_error("unavailable")
    end
    return relay.send(answer)
end


-- Lets go of the body of a request that needs none, before the answer begins: nginx would find only
-- afterwards that its framing breaks HTTP, and close without a word.
function _M.drop_body()
    if not pcall(discard_body) then
        exit(400)
    end
end


-- To look for headers is cheaper than to clear those that are not there.
local function clear(names)
    if count(names) > 0 then
        for _, name in pairs(names) do
            clear_header(name)
        end
    end
end


-- nginx's own filter looks at these whatever the answer is. It would answer 412 in the middle of
-- Lua's output, by which a worker may die, and take a date to outdo If-None-Match.
function _M.ignore_preconditions()
    clear(PRECONDITIONS)
end


-- It would also take `If-None-Match: *` to mean every answer, those without an ETag too.
function _M.ignore_validators()
    clear(VALIDATORS)
end


return _M
