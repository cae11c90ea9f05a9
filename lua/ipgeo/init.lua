-- The public module of ipgeo, for any OpenResty application:
--
--     init_by_lua_block { require("ipgeo").setup{ blob = "/var/lib/ipgeo/ipgeo.blob" } }
--     init_worker_by_lua_block { require("ipgeo").init_worker() }
--     content_by_lua_block { ngx.say(require("ipgeo").lookup("1.2.3.4")) }
--
-- For several blobs in one nginx, `new` takes the same options as `setup` and returns an object
-- with the methods `init_worker` and `lookup`. Each object needs a dict of its own:
--
--     init_by_lua_block { towns = require("ipgeo").new{ blob = "towns.blob", dict = "towns" } }
--     init_worker_by_lua_block { towns:init_worker() }
--     content_by_lua_block { ngx.say(towns:lookup("1.2.3.4")) }

local addresses = require "ipgeo.address"
local answers = require "ipgeo.answer"
local contract = require "ipgeo.contract"
local stores = require "ipgeo.store"
local watch = require "ipgeo.watch"


local canonical, parse = addresses.canonical, addresses.parse
local error = error
local format = string.format
local pairs, setmetatable, tostring, type = pairs, setmetatable, tostring, type

-- The name carries the layout's version: old workers never share the dict of another layout.
local DICT = "ipgeo_blob_" .. contract.LIMITS.memory_layout
local INTERVAL = 1

local OPTIONS = { blob = "string", dict = "string", interval = "number" }

local _M = { _VERSION = contract.VERSION }

local Ipgeo = {}
local mt = { __index = Ipgeo }

local default = setmetatable({ store = stores.default, interval = INTERVAL }, mt)
local users = {} -- the object of each dict, by name


-- What is wrong with the options; nil if nothing is.
local function mistake_in(options)
    if type(options) ~= "table" or type(options.blob) ~= "string" then
        return "{ blob = PATH } expected"
    end
    for name, value in pairs(options) do
        if not OPTIONS[name] then
            return format("there is no option %s", tostring(name))
        elseif type(value) ~= OPTIONS[name] then
            return format("the option %s is not a %s", name, OPTIONS[name])
        end
    end
    if options.interval and options.interval <= 0 then
        return "the option interval is not above 0"
    end
end


-- Two objects would overwrite each other's blob in one dict.
local function conflict_of(self, dict)
    if users[dict] and users[dict] ~= self then
        return format("lua_shared_dict %s is already in use by another object of ipgeo", dict)
    end
end


-- Raises an error of the function `name` at the line that called it, if the options are wrong.
local function start(name, self, options)
    local mistake = mistake_in(options) or conflict_of(self, options.dict or DICT)
    if mistake then
        error(format("ipgeo.%s: %s", name, mistake), 3)
    end
    local dict = options.dict or DICT
    users[dict] = self
    self.interval = options.interval or self.interval
    self.store:setup(options.blob, dict)
end


-- To be called in init_by_lua. `options.blob` is the path of the blob; `options.dict` the name of
-- the lua_shared_dict that is to hold it (default "ipgeo_blob_2"), which no other object may use;
-- `options.interval` how often to check the file for changes, in seconds (default 1). A missing or
-- bad blob is logged and does not raise; wrong options do.
function _M.new(options)
    local self = setmetatable({ store = stores.new(), interval = INTERVAL }, mt)
    start("new", self, options)
    return self
end


-- The same for the object that the functions below and HTTP use.
function _M.setup(options)
    start("setup", default, options)
end


-- To be called in init_worker_by_lua: from then on a changed file is loaded.
function Ipgeo:init_worker()
    watch.start(self.store, self.interval)
end


function _M.init_worker()
    default:init_worker()
end


-- Looks up an address: IPv4 in strict dotted decimal, or IPv6 without a zone. An IPv6 address in
-- ::ffff:0:0/96 or 64:ff9b::/96 has the answer of the IPv4 address in it. Returns the answer as
-- JSON text: an object, which repeats `ip` (IPv6 as RFC 5952 writes it), if `shape` is "object", or
-- else an array of eight. Returns nil and "invalid_ip", "no_data" (the database has nothing for it)
-- or "unavailable" (no blob is loaded).
function Ipgeo:lookup(ip, shape)
    local high, low, is_ipv6 = parse(ip)
    if not high then
        return nil, "invalid_ip"
    end
    local text, length = canonical(is_ipv6, ip, #ip)
    local answer, code = self.store:lookup(high, low, answers.is_object(shape), text, length)
    if not answer then
        return nil, code
    end
    return answer
end


function _M.lookup(ip, shape)
    return default:lookup(ip, shape)
end


return _M
