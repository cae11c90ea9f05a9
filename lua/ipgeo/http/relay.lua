-- Forwards a query to the fallbacks, and sends an answer back once it is complete and from an
-- ipgeo. nginx alone forwards the head of an answer at once: if the node then died, the client
-- would get half an answer; and any server at a misconfigured address could answer clients.

local LIMITS = require("ipgeo.contract").LIMITS


local ngx = ngx
local capture, print = ngx.location.capture, ngx.print
local clear_header, get_method = ngx.req.clear_header, ngx.req.get_method
local concat, find, format = table.concat, string.find, string.format
local header, var = ngx.header, ngx.var
local ipairs = ipairs
local now = ngx.now
local read_body = ngx.req.read_body
local tostring = tostring

-- Locations: of the nodes that nginx considers healthy, and of all nodes.
local QUERY = { healthy = "/ipgeo-relay", all = "/ipgeo-relay-all" }
local READINESS = { healthy = "/ipgeo-relay-readyz", all = "/ipgeo-relay-all-readyz" }
-- nginx logs this name instead of a node's address when it had no node left to ask.
local UPSTREAM = "ipgeo_fallback"
-- nginx sends each try to the next node. By their weights several foreign ones may come in a row;
-- among all nodes, each is asked in turn.
local MAX_TRUNCATED, MAX_FOREIGN, MAX_FOREIGN_OF_ALL = 3, 3, 30
-- A request that came through so many edges is not forwarded again: edges may ask one another.
local LAST_HOP = tostring(LIMITS.max_relay_hops)
-- nginx's statuses when no node answers.
local BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504

local HEAD = ngx.HTTP_HEAD
local METHODS = { GET = ngx.HTTP_GET, HEAD = HEAD, POST = ngx.HTTP_POST }
-- Marks the answers of an ipgeo: of a fallback always, of an edge when a relay asks it.
local SERVED_BY = "X-IPGeo-Served-By"
local MARKS = { fallback = true, edge = true }
local PASSED_ON = { "Content-Type", "ETag" }
-- The fallback has evaluated these; nginx must not do so again.
local CONDITIONS = { "If-Match", "If-None-Match", "If-Unmodified-Since" }

local NONE = { status = BAD_GATEWAY }

local timeout = 7


local _M = {}


-- Sets after how many seconds no further node is asked. nginx has the same timeout within each try.
function _M.set_timeout(seconds)
    timeout = seconds
end


-- Whether nginx got no answer from any node.
local function has_failed(answer)
    return answer.status == BAD_GATEWAY or answer.status == GATEWAY_TIMEOUT
end


-- The options of the subrequests; `tries` gets a line for each, from `note`.
local function subrequest(method, tries)
    return {
        method = method,
        args = var.args,
        always_forward_body = true,
        -- The body of another method is dropped, and its Content-Length with it.
        body = method ~= METHODS.POST and "" or nil,
        ctx = tries,
    }
end


-- Asks until an answer is complete and from an ipgeo. Returns it, or one that has failed; and
-- whether others than an ipgeo answered.
local function ask(location, tries, deadline, max_foreign)
    local method = METHODS[get_method()]
    local options = subrequest(method, tries)
    local truncated, foreign = 0, 0
    repeat
        local answer = capture(location, options)
        if has_failed(answer) then
            return answer, foreign > 0
        elseif not MARKS[answer.header[SERVED_BY]] then
            foreign = foreign + 1
        elseif answer.truncated and method ~= HEAD then
            truncated = truncated + 1
        else -- HEAD: an answer without a body counts as truncated
            return answer
        end
    until truncated == MAX_TRUNCATED or foreign == max_foreign or now() >= deadline
    return NONE, foreign > 0
end


-- The answer of a fallback, or nil. Nodes that failed a moment ago may be back: `eager` asks all of
-- them again, which takes seconds if they are not. All are also asked if others than an ipgeo
-- answered: an ipgeo may be their backup, or hidden by their weight.
local function ask_nodes(locations, eager)
    if var.http_x_ipgeo_relay == LAST_HOP then
        return nil
    end
    read_body()
    local tries, deadline = {}, now() + timeout
    local answer, was_foreign = ask(locations.healthy, tries, deadline, MAX_FOREIGN)
    local skipped = eager and find(concat(tries), UPSTREAM, 1, true)
    if has_failed(answer) and (was_foreign or skipped) and now() < deadline then
        answer = ask(locations.all, tries, deadline, MAX_FOREIGN_OF_ALL)
    end
    var.ipgeo_asked = concat(tries, ", ")
    return not has_failed(answer) and answer or nil
end


-- The answer to this query, which must be GET, HEAD or POST.
function _M.ask(eager)
    return ask_nodes(QUERY, eager)
end


-- The answer to /readyz, for GET and HEAD.
function _M.ask_readiness()
    return ask_nodes(READINESS, false)
end


-- For log_by_lua of the locations above: records which nodes nginx asked, and their statuses.
function _M.note()
    local tries = ngx.ctx
    tries[#tries + 1] = format("%s %s", var.upstream_status, var.upstream_addr)
end


-- For body_filter_by_lua of the same: drops a body that is not from an ipgeo, however long it is.
function _M.drop_foreign()
    if not MARKS[header[SERVED_BY]] then
        ngx.arg[1] = nil
    end
end


-- Sends what `ask` or `ask_readiness` has returned.
function _M.send(answer)
    for _, name in ipairs(CONDITIONS) do
        clear_header(name)
    end
    ngx.status = answer.status
    for _, name in ipairs(PASSED_ON) do
        header[name] = answer.header[name]
    end
    var.ipgeo_served_by = answer.header[SERVED_BY]
    header["Content-Length"] = answer.header["Content-Length"]
    return print(answer.body)
end


return _M
