-- POST of many random routable addresses at once: {"ips": [A, ...]}, or as text one on each line.
-- The first argument is how many (1000), the second the form (json).
--
--     wrk -t1 -c8 -d10s -s bench/wrk/batch.lua http://127.0.0.1:8080
--     wrk -t1 -c8 -d10s -s bench/wrk/batch.lua http://127.0.0.1:8080 -- 1000 text

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local common = dofile(folder .. "common.lua")

local PATH = "/api/ip_query"
local BODIES = 64
local FORMS = {
    json = { type = "application/json", head = '{"ips":["', separator = '","', tail = '"]}' },
    text = { type = "text/plain", head = "", separator = "\n", tail = "\n" },
}


function init(args)
    local size = tonumber(args[1] or 1000)
    local form = FORMS[args[2] or "json"]
    local headers = { ["Content-Type"] = form.type }
    request = common.prepared(function(next_address)
        local addresses = {}
        for i = 1, size do
            addresses[i] = next_address()
        end
        local body = form.head .. table.concat(addresses, form.separator) .. form.tail
        return wrk.format("POST", PATH, headers, body)
    end, BODIES)
end
