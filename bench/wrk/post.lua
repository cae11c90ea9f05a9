-- POST {"ip": A} for random routable addresses.
--
--     wrk -t1 -c32 -d10s -s bench/wrk/post.lua http://127.0.0.1:8080
--     wrk -t1 -c32 -d10s -s bench/wrk/post.lua http://127.0.0.1:8080 -- object

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local common = dofile(folder .. "common.lua")

local PATH = "/api/ip_query"
local HEADERS = { ["Content-Type"] = "application/json" }


-- The address comes last: LuaJIT hashes a string's ends and middle, and where only the rest differs
-- it takes a minute to make the requests.
function init(args)
    local prefix = args[1] and '{"format":"' .. args[1] .. '","ip":"' or '{"ip":"'
    request = common.prepared(function(next_address)
        return wrk.format("POST", PATH, HEADERS, prefix .. next_address() .. '"}')
    end)
end
