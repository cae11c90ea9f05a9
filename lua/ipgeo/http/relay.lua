-- Hands a query on to the fallbacks, and an answer back when it is whole and an ipgeo's. nginx by
-- itself sends an answer's head on at once: a node that dies behind it would leave the client with
-- half an answer, and whatever listens at a wrong address would answer the clients.

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

-- Where nginx asks the nodes that it believes to be there, and where it asks all of them.
local QUERY = { living = "/ipgeo-relay", all = "/ipgeo-relay-all" }
local READINESS = { living = "/ipgeo-relay-readyz", all = "/ipgeo-relay-all-readyz" }
-- By this name, instead of a node's address, nginx says that no node was left to be asked.
local UPSTREAM = "ipgeo_fallback"
-- nginx gives each try to the next node. By their weights several in a row may be no ipgeo; of all,
-- each is asked in its turn.
local MAX_CUT_SHORT, MAX_FOREIGN, MAX_FOREIGN_OF_ALL = 3, 3, 30
-- A request that has come this way through as many edges goes no further: they may ask one another.
local LAST_HOP = tostring(LIMITS.max_relay_hops)
-- nginx's, when no node answers.
local BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504

local HEAD = ngx.HTTP_HEAD
local METHODS = { GET = ngx.HTTP_GET, HEAD = HEAD, POST = ngx.HTTP_POST }
-- What an ipgeo marks its answers with: a fallback always, an edge when a relay asks it.
local SERVED_BY = "X-IPGeo-Served-By"
local MARKS = { fallback = true, edge = true }
local PASSED_ON = { "Content-Type", "ETag" }
-- nginx would judge by these what the fallback has judged already.
local CONDITIONS = { "If-Match", "If-None-Match", "If-Unmodified-Since" }

local NONE = { status = BAD_GATEWAY }

local timeout = 7


local _M = {}


-- After so many seconds no further node is asked; nginx keeps to the same within each try.
function _M.set_timeout(seconds)
    timeout = seconds
end


-- Whether nginx has asked all nodes in vain.
local function has_failed(answer)
    return answer.status == BAD_GATEWAY or answer.status == GATEWAY_TIMEOUT
end


-- Asks until an answer is whole and an ipgeo's; `asked` gets a line for each try, from `note`.
-- Returns it, or what says that there is none; and whether there were answers of others.
local function ask(location, asked, deadline, max_foreign)
    local method = METHODS[get_method()]
    local options = {
        method = method,
        args = var.args,
        always_forward_body = true,
        -- Another's is dropped, and its Content-Length with it.
        body = method ~= METHODS.POST and "" or nil,
        ctx = asked,
    }
    local cut_short, foreign = 0, 0
    repeat
        local answer = capture(location, options)
        if has_failed(answer) then
            return answer, foreign > 0
        elseif not MARKS[answer.header[SERVED_BY]] then
            foreign = foreign + 1
        elseif answer.truncated and method ~= HEAD then
            cut_short = cut_short + 1
        else -- an answer to HEAD is shorter than it says, and so is none at all
            return answer
        end
    until cut_short == MAX_CUT_SHORT or foreign == max_foreign or now() >= deadline
    return NONE, foreign > 0
end


-- The answer of a fallback, or nil. When all nodes have failed a moment ago, some may be back by
-- now: `eager` asks them all again, which takes seconds if they are not. All are asked, too, where
-- others have answered: an ipgeo may be a backup of these, or hidden by their weight.
local function ask_nodes(locations, eager)
    if var.http_x_ipgeo_relay == LAST_HOP then
        return nil
    end
    read_body()
    local asked, deadline = {}, now() + timeout
    local answer, was_foreign = ask(locations.living, asked, deadline, MAX_FOREIGN)
    local left_out = eager and find(concat(asked), UPSTREAM, 1, true)
    if has_failed(answer) and (was_foreign or left_out) and now() < deadline then
        answer = ask(locations.all, asked, deadline, MAX_FOREIGN_OF_ALL)
    end
    var.ipgeo_asked = concat(asked, ", ")
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


-- For log_by_lua of the locations above: keeps what nginx knows of the nodes that it has asked.
function _M.note()
    local asked = ngx.ctx
    asked[#asked + 1] = format("%s %s", var.upstream_status, var.upstream_addr)
end


-- For body_filter_by_lua of the same: what is no ipgeo's is not wanted, however long it is.
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
