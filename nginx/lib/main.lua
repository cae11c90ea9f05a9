-- For nginx/render and nginx/start:
--
--     luajit main.lua PROGRAM facts                          prints IPGEO_VAR, IPGEO_NGINX, and
--                                                            whether there are names; NUL ends each
--     luajit main.lua PROGRAM render TEMPLATE PARTS FOLDER   writes FOLDER/nginx.conf
--     luajit main.lua PROGRAM print TEMPLATE PARTS           prints it
--     luajit main.lua PROGRAM follow TEMPLATE PARTS <PIPE    follows names until nginx has ended
--     luajit main.lua PROGRAM unknown WHERE <NAMES           warns about names of no setting
--
-- PROGRAM begins the messages. PARTS is the folder of the replacements for Lua; if empty, Lua is
-- used. Status 1 and a message if a setting is not valid.

local arg, package = arg, package

local ROOT = arg[0]:match("^(.*)/nginx/lib/main%.lua$")
if ROOT:find("[;?]") then
    io.stderr:write(arg[1], ": the path of the checkout must not hold ; or ?: Lua's own syntax\n")
    os.exit(1)
end
-- Load nothing from the current folder.
package.path = ROOT .. "/nginx/lib/?.lua;" .. ROOT .. "/lua/?.lua"
package.cpath = ""

local build = require "build"
local configuration = require "configuration"
local follower = require "follower"
local listens = require "listens"
local names = require "names"
local posix = require "posix"
local settings_module = require "settings"
local template = require "template"
local text = require "text"


local concat = table.concat
local exit, getenv = os.exit, os.getenv
local format, gsub = string.format, string.gsub
local ipairs = ipairs
local need = posix.need
local pcall = pcall
local stderr, stdin, stdout = io.stderr, io.stdin, io.stdout

local PROGRAM = arg[1]


local function report(message)
    stderr:write(PROGRAM, ": ", gsub(message, "%s+$", ""), "\n")
end


local function need_absolute(path, name)
    local absolute, problem = text.absolute(path)
    return need(absolute, format("%s%s", name, problem))
end


-- Prints all of it, or raises.
local function print_all(printed)
    local done, problem = stdout:write(printed)
    if done then
        done, problem = stdout:flush()
    end
    need(done, format("cannot write to stdout: %s", problem))
end


local function warn_of_unknown(where, variables)
    for _, name in ipairs(settings_module.unknown(variables)) do
        report(format("%s: there is no setting %s: it has no effect", where, text.shown(name)))
    end
end


-- Checks that need this machine or several settings: whether nginx, the user and IPv6 exist, and
-- whether all addresses differ.
local function check_machine(settings)
    local nginx, user = settings.IPGEO_NGINX, settings.IPGEO_USER
    need(nginx ~= "", "IPGEO_NGINX is not set and neither nginx nor openresty is in PATH")
    local program = need(build.find_program(nginx),
        format("IPGEO_NGINX: cannot run '%s'", text.shown(nginx)))
    settings.IPGEO_NGINX = need_absolute(program, "IPGEO_NGINX")
    need(not posix.is_root() or posix.group_of(user),
        format("IPGEO_USER: there is no user '%s'", user))
    settings.IPGEO_BIND = need(listens.complete(settings.IPGEO_BIND, settings.IPGEO_PORT))
end


local function read_settings()
    local settings = need(settings_module.read(getenv, { ROOT = ROOT, NGINX = build.find_nginx }))
    check_machine(settings)
    return settings
end


-- Reads the settings and the template. Returns the settings, the resolver of names, and a function
-- that renders the present state. Its argument is the template's `lua`.
local function prepare(template_path, parts)
    local path = template_path ~= "" and template_path or ROOT .. "/nginx/nginx.conf.template"
    local settings = read_settings()
    local source = need(posix.read_file(path))
    local fill = need(template.compile(source, path))
    local folder = parts ~= "" and need_absolute(parts, "--without-lua")
    local resolver = names.new(settings.IPGEO_UPSTREAMS, report)
    return settings, resolver, function(lua)
        settings.IPGEO_UPSTREAMS = resolver.upstreams -- the follower takes those of nginx.conf
        return fill(configuration.environment(settings, lua, folder, resolver.resolved))
    end
end


local function rendered(template_path, parts)
    local settings, resolver, render = prepare(template_path, parts)
    local lua = parts == "" and need(build.lua(settings.IPGEO_NGINX))
    resolver:resolve()
    return need(render(lua))
end


local commands = {}


function commands.facts()
    local settings = read_settings()
    local has_names = #names.new(settings.IPGEO_UPSTREAMS).names > 0
    local facts = { settings.IPGEO_VAR, settings.IPGEO_NGINX, has_names and "yes" or "no", "" }
    print_all(concat(facts, "\0"))
end


function commands.render(template_path, parts, folder)
    warn_of_unknown("environment", posix.variables())
    local conf = rendered(template_path, parts)
    need(posix.write_file(folder, "nginx.conf", conf))
end


function commands.print(template_path, parts)
    print_all(rendered(template_path, parts))
end


function commands.follow(template_path, parts)
    posix.ignore_interrupt() -- it ends nginx, which ends this process
    local settings, resolver, render = prepare(template_path, parts)
    -- Only the `server` lines of this are used: no need to ask nginx for its modules.
    local lua = parts == "" and { modules = {}, path = "", cpath = "" }
    follower.follow(settings, resolver, function() return render(lua) end, report)
end


function commands.unknown(where)
    local variables = {}
    for name in stdin:lines() do
        variables[#variables + 1] = name
    end
    warn_of_unknown(where, variables)
end


posix.reserve_streams()
local ok, problem = pcall(commands[arg[2]], arg[3], arg[4], arg[5])
if not ok then
    report(problem)
    exit(1)
end
