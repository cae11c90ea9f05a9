-- Renders the edge's template once for each hostile value of a setting, over the environment's own
-- settings. VALUES has NAME NUL TEXT NUL, again and again; RESULTS gets the same of `refused` and a
-- message, or `rendered` and the configuration. With `unchecked` the settings' checks are skipped:
-- only the template's own protection is left.
--
-- usage: luajit render.lua TEMPLATE VALUES RESULTS [unchecked]

local configuration = require "configuration"
local listens = require "listens"
local posix = require "posix"
local settings = require "settings"
local template = require "template"

local LUA = { modules = {}, path = "/usr/share/lua/5.1/?.lua;", cpath = "/usr/lib/lua/5.1/?.so;" }
local DEFAULTS = { ROOT = "/opt/ipgeo", NGINX = function() return "/usr/sbin/nginx" end }

-- Every name is a user here, so that each valid one is rendered.
posix.is_root = function() return true end
posix.group_of = function(user) return user end

local fill = assert(template.compile(posix.read_file(arg[1]), "template"))


-- An address for each name, so that names are rendered too.
local function resolved(upstreams)
    local found = {}
    for i, upstream in ipairs(upstreams) do
        found[upstream.address] = { ("192.0.2.%d:80"):format(i % 256) }
    end
    return found
end


local function filled(checked)
    checked.IPGEO_BIND = assert(listens.complete(checked.IPGEO_BIND, checked.IPGEO_PORT))
    local names = resolved(checked.IPGEO_UPSTREAMS)
    return fill(configuration.environment(checked, LUA, false, names))
end


local function render(name, text)
    local checked, problem = settings.read(function(other)
        return other == name and text or os.getenv(other)
    end, DEFAULTS)
    if not checked then
        return "refused", problem
    end
    return "rendered", assert(filled(checked))
end


local function render_unchecked(name, text)
    local values = assert(settings.read(os.getenv, DEFAULTS))
    if name == "IPGEO_TRUSTED_PROXIES" then
        values[name] = { text }
    elseif name == "IPGEO_BIND" then
        values[name][1].host = text
    elseif name == "IPGEO_UPSTREAMS" then
        values[name][1].address, values[name][1].is_name = text, false
    else
        values[name] = text
    end
    local ok, conf = pcall(filled, values)
    if ok and conf then
        return "rendered", conf
    end
    return "refused", name .. " is not rendered"
end


local render_one = arg[4] == "unchecked" and render_unchecked or render
local results = {}
for name, text in posix.read_file(arg[2]):gmatch("(%Z+)%z(%Z+)%z") do
    local verdict, result = render_one(name, text)
    results[#results + 1] = verdict .. "\0" .. result .. "\0"
end
local file = assert(io.open(arg[3], "wb"))
file:write(table.concat(results))
file:close()
