-- The face of ipgeo for any OpenResty application:
--
--     init_by_lua_block { require("ipgeo").setup{ blob = "/var/lib/ipgeo/ipgeo.blob" } }
--     init_worker_by_lua_block { require("ipgeo").init_worker() }
--     content_by_lua_block { ngx.say(require("ipgeo").lookup("1.2.3.4")) }

local ipv4 = require "ipgeo.address"
local store = require "ipgeo.store"
local watch = require "ipgeo.watch"


local error = error
local match = string.match
local type = type

-- The name carries the layout's version: an upgrade of the format never meets the workers of the
-- edge before it.
local DICT = "ipgeo_blob_1"

-- How nginx writes the address of an IPv4 client of a listener for both families.
local MAPPED = "^::[Ff][Ff][Ff][Ff]:(.*)$"

local interval = 1


local _M = { _VERSION = "0.1.0" }


-- To be called in init_by_lua. `options.blob` is the path of the blob; `options.dict` the name of
-- the lua_shared_dict that is to hold it (default "ipgeo_blob_1"); `options.interval` how often to
-- look whether the file has changed, in seconds (default 1). A missing or bad blob is logged and
-- does not raise; a caller's mistake does.
function _M.setup(options)
    if type(options) ~= "table" or type(options.blob) ~= "string" then
        error("ipgeo.setup: { blob = PATH } expected", 2)
    end
    interval = options.interval or interval
    store.setup(options.blob, options.dict or DICT)
end


-- To be called in init_worker_by_lua: from then on a changed file is loaded.
function _M.init_worker()
    watch.start(interval)
end


-- Looks up an address in strict dotted decimal, also where it is mapped into IPv6 (::ffff:1.2.3.4).
-- Returns its answer as JSON text: an array of eight, or an object, which repeats `ip`, if `format`
-- is "object". Returns nil and "invalid_ip", "no_data" (the database has nothing for it) or
-- "unavailable" (no blob is loaded).
function _M.lookup(ip, format)
    local high, low = ipv4.parse(type(ip) == "string" and match(ip, MAPPED) or ip)
    if not high then
        return nil, "invalid_ip"
    end
    local as_object = format == "object"
    local opened, answer = store.lookup(high, low, as_object)
    if not opened then
        return nil, "unavailable"
    end
    if not answer then
        return nil, "no_data"
    end
    return as_object and '{"ip":"' .. ip .. '",' .. answer or answer
end


return _M
