-- Hands a query on to the fallbacks, and an answer back when it is whole. nginx by itself sends an
-- answer's head on at once: a node that dies behind it would leave the client with half an answer.

local ngx = ngx
local capture, exit, print = ngx.location.capture, ngx.exit, ngx.print
local clear_header, get_method = ngx.req.clear_header, ngx.req.get_method
local concat, find, format = table.concat, string.find, string.format
local header, var = ngx.header, ngx.var
local ipairs = ipairs
local now = ngx.now
local read_body = ngx.req.read_body

-- Where nginx asks the nodes that it believes to be there, and where it asks all of them.
local LIVING, ALL = "/ipgeo-relay", "/ipgeo-relay-all"
-- By this name, instead of a node's address, nginx says that no node was left to be asked.
local UPSTREAM = "ipgeo_fallback"
-- Each goes to the next node.
local MOST_TRIES = 3
-- nginx's, when no node answers.
local BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504

local HEAD = ngx.HTTP_HEAD
local METHODS = { GET = ngx.HTTP_GET, HEAD = HEAD, POST = ngx.HTTP_POST }
local SERVED_BY = "X-IPGeo-Served-By"
local PASSED_ON = { "Content-Type", "ETag", SERVED_BY }
-- fallback-proxy.conf sets these. It does not see an empty one of the client's in a subrequest.
local REPLACED = { "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP" }
-- nginx would judge by these what the fallback has judged already.
local CONDITIONS = { "If-Match", "If-None-Match", "If-Unmodified-Since" }

local patience = 7


local _M = {}


-- After so many seconds no further node is asked; nginx keeps to the same within each try.
function _M.set_patience(seconds)
    patience = seconds
end


local function clear_headers(names)
    for _, name in ipairs(names) do
        clear_header(name)
    end
end


-- Whether nginx has asked all nodes in vain.
local function has_failed(answer)
    return answer.status == BAD_GATEWAY or answer.status == GATEWAY_TIMEOUT
end


-- Asks until an answer is whole; `asked` gets a line for each try, from `note`.
local function ask(location, asked, deadline)
    local method = METHODS[get_method()]
    local options = {
        method = method,
        args = var.args,
        always_forward_body = true,
        -- Another's is dropped, and its Content-Length with it.
        body = method ~= METHODS.POST and "" or nil,
        ctx = asked,
    }
    for _ = 1, MOST_TRIES do
        local answer = capture(location, options)
        -- An answer to HEAD is shorter than it says, and so is none at all.
        if not answer.truncated or method == HEAD or has_failed(answer) then
            return answer
        end
        if now() >= deadline then
            break
        end
    end
    return { status = BAD_GATEWAY }
end


-- The answer of a fallback to this query, which must be GET, HEAD or POST; nil if there is none.
-- When all nodes have failed a moment ago, some may be back by now: `eager` asks them all again,
-- which takes seconds if they are not.
function _M.ask(eager)
    read_body()
    clear_headers(REPLACED)
    local asked, deadline = {}, now() + patience
    local answer = ask(LIVING, asked, deadline)
    local left_out = has_failed(answer) and find(concat(asked), UPSTREAM, 1, true)
    if eager and left_out and now() < deadline then
        answer = ask(ALL, asked, deadline)
    end
    var.ipgeo_asked = concat(asked, ", ")
    return not has_failed(answer) and answer or nil
end


-- For log_by_lua of the locations above: keeps what nginx knows of the nodes that it has asked.
function _M.note()
    local asked = ngx.ctx
    asked[#asked + 1] = format("%s %s", var.upstream_status, var.upstream_addr)
end


-- Sends what `ask` has returned.
function _M.send(answer)
    if answer.status >= 400 and not answer.header[SERVED_BY] then
        return exit(answer.status < 500 and 400 or 500) -- gunicorn's own words, in HTML
    end
    clear_headers(CONDITIONS)
    ngx.status = answer.status
    for _, name in ipairs(PASSED_ON) do
        header[name] = answer.header[name]
    end
    header["Content-Length"] = answer.header["Content-Length"]
    return print(answer.body)
end


return _M
