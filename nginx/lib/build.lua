-- What an nginx was built with, from its own output: the folders differ between builds.

local posix = require "posix"
local process = require "process"


local concat = table.concat
local find, format, gmatch, match = string.find, string.format, string.gmatch, string.match
local getenv = os.getenv
local ipairs = ipairs

-- Looked for in this order; the last two are OpenResty's.
local CANDIDATES = {
    "nginx", "/usr/sbin/nginx", "openresty", "/usr/local/openresty/bin/openresty",
}
local LUA_BUILT_IN = { "openresty/", "%-%-add%-module=[^ ]*lua%-nginx%-module",
    "%-%-add%-module=[^ ]*ngx_lua" }
-- They must be loaded in this order.
local NDK_MODULE, LUA_MODULE = "ndk_http_module.so", "ngx_http_lua_module.so"

-- An nginx that ends while it reads its configuration, after it has printed Lua's paths.
local PROBE = [[
error_log stderr;
pid /dev/null;
master_process off;
events {}
http {
    access_log off;
    init_by_lua_block {
        io.stdout:write("\npath=", package.path, ";\ncpath=", package.cpath, ";\n")
        io.stdout:flush()
        os.exit(0)
    }
}
]]


local _M = {}


-- Returns the path of a program, which PATH may be searched for; nil if there is none.
function _M.find_program(name)
    if find(name, "/", 1, true) then
        return posix.is_program(name) and name or nil
    end
    for folder in gmatch(getenv("PATH") or "", "[^:]+") do
        local path = concat { folder, "/", name }
        if posix.is_program(path) then
            return path
        end
    end
end


-- Returns the nginx to use where IPGEO_NGINX is not set; nil if there is none.
function _M.find_nginx()
    for _, name in ipairs(CANDIDATES) do
        local path = _M.find_program(name)
        if path then
            return path
        end
    end
end


local function has_lua_built_in(facts)
    for _, pattern in ipairs(LUA_BUILT_IN) do
        if find(facts, pattern) then
            return true
        end
    end
    return false
end


-- Returns the paths of the modules that there are in a folder.
local function modules_in(folder)
    local modules = {}
    for _, name in ipairs { NDK_MODULE, LUA_MODULE } do
        local path = concat { folder, "/", name }
        modules[#modules + 1] = posix.exists(path) and path or nil
    end
    return modules
end


-- Returns the paths of the modules to load; nil and a message where Lua is missing.
local function lua_modules(nginx)
    local status, facts = process.output({ nginx, "-V" }, true)
    if status ~= 0 then
        return nil, format("IPGEO_NGINX: '%s -V' failed: %s", nginx, facts)
    elseif has_lua_built_in(facts) then
        return {}
    end
    local folder = match(facts, "%-%-modules%-path=([^ \n]+)")
    if not folder then
        return nil, format("IPGEO_NGINX: '%s' loads no modules", nginx)
    elseif not posix.exists(concat { folder, "/", LUA_MODULE }) then
        return nil, format("IPGEO_NGINX: there is no %s/%s (Debian: libnginx-mod-http-lua)",
            folder, LUA_MODULE)
    end
    return modules_in(folder)
end


-- The absolute entries of one of Lua's paths: its default `;;` would begin with the current
-- folder.
local function absolute_entries(printed, name)
    local entries = {}
    for entry in gmatch(match(printed, "\n" .. name .. "=([^\n]*)") or "", "([^;]+);") do
        if find(entry, "^/") and not find(entry, '["\\$]') then
            entries[#entries + 1] = entry .. ";"
        end
    end
    return concat(entries)
end


local function probe(nginx, modules)
    local lines = {}
    for _, module in ipairs(modules) do
        lines[#lines + 1] = format('load_module "%s";\n', module)
    end
    return process.with_file(concat(lines) .. PROBE, function(path)
        return process.output({
            -- Not in the current folder, and without the variables that would change the paths.
            "env", "-C", "/", "-u", "LUA_PATH", "-u", "LUA_CPATH", "-u", "LUA_PATH_5_1",
            "-u", "LUA_CPATH_5_1", "-u", "LUA_INIT",
            nginx, "-e", "stderr", "-p", "/", "-c", path, "-g", "daemon off;",
        }, true)
    end)
end


-- Returns the modules that Lua needs, and the folders in which it looks for its own; nil and a
-- message if this nginx has no Lua.
function _M.lua(nginx)
    local modules, problem = lua_modules(nginx)
    if not modules then
        return nil, problem
    end
    local status, printed = probe(nginx, modules)
    if status ~= 0 then
        return nil, format("IPGEO_NGINX: '%s' runs no Lua: %s", nginx, printed)
    end
    return {
        modules = modules,
        path = absolute_entries(printed, "path"),
        cpath = absolute_entries(printed, "cpath"),
    }
end


return _M
