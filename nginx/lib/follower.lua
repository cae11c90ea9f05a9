-- Follows the names in IPGEO_UPSTREAMS while nginx runs. When their addresses have changed, and
-- only then, nginx gets them by a HUP.
--
-- Only the `server` lines of the upstreams are replaced in nginx.conf: other settings that an
-- operator has rendered since the start stay, and an upgrade of the checkout is not half-applied.

local posix = require "posix"
local process = require "process"


local concat, sort = table.concat, table.sort
local gmatch, match = string.gmatch, string.match
local ipairs, pairs = ipairs, pairs
local tonumber = tonumber

local POLL_SECONDS = 0.1
local LOG_MASK = 23 -- 027: logs hold clients' addresses
local CONF = "nginx.conf"


local _M = {}


-- Calls `each(line, upstream)` for every line; `upstream` is the name of the one whose `server`
-- line it is, or nil.
local function scan(conf, each)
    local block
    for line in gmatch(conf, "[^\n]*\n") do
        block = match(line, "^%s*upstream%s+(%S+)%s*{") or block
        each(line, match(line, "^%s*server%s") and block)
        if match(line, "^%s*}") then
            block = nil
        end
    end
end


-- The `server` lines of each upstream.
local function server_lines(conf)
    local lines = {}
    scan(conf, function(line, upstream)
        if upstream then
            lines[upstream] = (lines[upstream] or "") .. line
        end
    end)
    return lines
end


-- The configuration with `lines` in the place of its upstreams' own.
local function with_servers(conf, lines)
    local parts, written = {}, {}
    scan(conf, function(line, upstream)
        if not upstream then
            parts[#parts + 1] = line
        elseif not written[upstream] then
            written[upstream] = true
            parts[#parts + 1] = lines[upstream]
        end
    end)
    return concat(parts)
end


-- All lines as one text; the upstreams differ in arguments only, so one text tells all changes.
local function joined(lines)
    local texts = {}
    for _, text in pairs(lines) do
        texts[#texts + 1] = text
    end
    sort(texts)
    return concat(texts)
end


-- The addresses in quotes: the placeholder where there is no node is none.
local function addresses(lines)
    local found = {}
    for address in gmatch(lines, 'server "(.-)"') do
        found[address] = true
    end
    return found
end


-- What is gone (-) and what is new (+).
local function difference(old, new)
    local before, after, changes = addresses(old), addresses(new), {}
    for address in pairs(before) do
        changes[#changes + 1] = not after[address] and { address, " -" } or nil
    end
    for address in pairs(after) do
        changes[#changes + 1] = not before[address] and { address, " +" } or nil
    end
    sort(changes, function(a, b) return a[1] < b[1] end)
    local texts = {}
    for i, change in ipairs(changes) do
        texts[i] = change[2] .. change[1]
    end
    return concat(texts)
end


-- Fails where nginx would refuse the configuration, or is about to write its pid file anew.
local function reload(settings, folder)
    local var = settings.IPGEO_VAR
    local status = process.run({
        settings.IPGEO_NGINX, "-p", var, "-e", var .. "/log/error.log",
        "-c", concat { folder, "/", CONF }, "-t", "-q",
    }, LOG_MASK)
    local pid = tonumber(posix.read_file(var .. "/nginx.pid") or "")
    return status == 0 and pid and posix.hang_up(pid)
end


local function write_servers(folder, lines)
    local conf = posix.read_file(concat { folder, "/", CONF })
    return conf and posix.write_file(folder, CONF, with_servers(conf, lines))
end


-- Before nginx has its pid file, a HUP would be lost or, worse, end it. Returns false if nginx has
-- ended: it holds the other end of the pipe that is stdin.
local function wait_for_nginx(pid_file)
    while (posix.read_file(pid_file) or "") == "" do
        if posix.wait_for_stdin(POLL_SECONDS) then
            return false
        end
    end
    return true
end


-- Looks the names up once; gives nginx what has changed. Returns whether that worked.
local function follow_once(self)
    self.names:resolve()
    local lines = server_lines(self.render() or "")
    local new = joined(lines)
    if new == self.given then
        return true
    elseif new == "" or not write_servers(self.folder, lines)
        or not reload(self.settings, self.folder)
    then
        return false
    end
    self.report("nginx reloads:" .. difference(self.given, new))
    self.given = new
    return true
end


-- Follows until nginx and all its workers have ended. `names` is their resolver, `render()` returns
-- the configuration of now, or nil and why there is none; `report(message)` is called for changes.
function _M.follow(settings, names, render, report)
    local folder = settings.IPGEO_VAR .. "/nginx"
    local conf = posix.read_file(concat { folder, "/", CONF }) or ""
    local self = {
        settings = settings,
        folder = folder,
        names = names,
        render = render,
        report = report,
        given = joined(server_lines(conf)), -- what nginx has got
    }
    names:recall(self.given)
    if not wait_for_nginx(settings.IPGEO_VAR .. "/nginx.pid") then
        return
    end
    while not posix.wait_for_stdin(settings.IPGEO_RESOLVE_INTERVAL) do
        -- A full disk, say, may be gone at the next turn.
        if not follow_once(self) then
            report("the names are not followed this time")
        end
    end
end


return _M
