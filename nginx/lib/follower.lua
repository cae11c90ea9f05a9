-- Follows the names in IPGEO_UPSTREAMS while nginx runs. When their addresses have changed, and
-- only then, nginx gets them by a HUP.
--
-- Only the `server` lines in nginx.conf are replaced, for the list of upstreams that stands there:
-- a configuration rendered since the start is kept, and an upgrade of the checkout is not
-- half-applied.

local posix = require "posix"
local process = require "process"
local upstreams = require "upstreams"


local concat, sort = table.concat, table.sort
local gmatch, match = string.gmatch, string.match
local ipairs, pairs = ipairs, pairs
local need = posix.need
local pcall = pcall
local tonumber = tonumber

local POLL_SECONDS = 0.1
local LOG_MASK = 23 -- 027: logs hold clients' addresses
local CONF = "nginx.conf"


local _M = {}


-- Calls `each(line, upstream)` for every line; `upstream` is the name of the upstream that a
-- `server` line belongs to; nil for other lines.
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


-- The configuration with `lines` in the place of its upstreams' own. An upstream without a line
-- here keeps its own.
local function with_servers(conf, lines)
    local parts, written = {}, {}
    scan(conf, function(line, upstream)
        if not (upstream and lines[upstream]) then
            parts[#parts + 1] = line
        elseif not written[upstream] then
            written[upstream] = true
            parts[#parts + 1] = lines[upstream]
        end
    end)
    return concat(parts)
end


-- The upstreams that the configuration was rendered for; nil if it names none.
local function listed_upstreams(conf)
    local entries = {}
    for entry in gmatch(conf, '\n *# upstream "([^\n]*)"') do
        entries[#entries + 1] = entry
    end
    return entries[1] and upstreams.parse(concat(entries, ", ")) or nil
end


-- The addresses in quotes; the placeholder for "no node" is not one of them.
local function addresses(conf)
    local found = {}
    for address in gmatch(conf, 'server "(.-)"') do
        found[address] = true
    end
    return found
end


local function addresses_of_names(lists)
    local found = {}
    for _, list in pairs(lists) do
        for _, address in ipairs(list) do
            found[address] = true
        end
    end
    return found
end


-- The removed (-) and the added (+) addresses.
local function difference(before, after)
    local changes = {}
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


-- Fails if nginx refuses the configuration, or is just rewriting its pid file.
local function reload(self)
    local var = self.settings.IPGEO_VAR
    local status = process.run({
        self.settings.IPGEO_NGINX, "-p", var, "-e", var .. "/log/error.log",
        "-c", concat { self.folder, "/", CONF }, "-t", "-q",
    }, LOG_MASK)
    need(status == 0, "nginx refuses the configuration")
    local pid = tonumber(posix.read_file(var .. "/nginx.pid") or "")
    need(pid and posix.hang_up(pid), "there is no nginx to reload")
end


local function read_conf(self)
    return posix.read_file(concat { self.folder, "/", CONF })
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


-- Takes over the upstreams of a configuration. For a new name, nginx has the addresses that stand
-- there. Returns whether there is a list of upstreams.
local function take_over(self, conf)
    local names, upstreams_now = self.names, listed_upstreams(conf)
    names:use(upstreams_now or names.upstreams)
    names:recall(conf)
    for _, name in ipairs(names.names) do
        self.given[name] = self.given[name] or names.resolved[name] or {}
    end
    return upstreams_now ~= nil
end


-- Whether the addresses of some name differ from those that nginx has.
local function is_stale(self)
    for _, name in ipairs(self.names.names) do
        if concat(self.given[name], " ") ~= concat(self.names.resolved[name] or {}, " ") then
            return true
        end
    end
    return false
end


-- The changes of nginx.conf; or those of nginx, if another rendering has already changed the file.
local function changes_of(self, conf, changed)
    local changes = difference(addresses(conf), addresses(changed))
    if changes ~= "" then
        return changes
    end
    return difference(addresses_of_names(self.given), addresses_of_names(self.names.resolved))
end


local function give(self, conf, changed)
    if changed ~= conf then
        need(posix.write_file(self.folder, CONF, changed, conf))
    end
    reload(self)
    self.report("nginx reloads:" .. changes_of(self, conf, changed))
    self.given = {}
    for _, name in ipairs(self.names.names) do
        self.given[name] = self.names.resolved[name] or {}
    end
end


-- Looks the names up once, and gives nginx the changes. Raises if that fails.
local function follow_once(self)
    local conf = need(read_conf(self))
    need(take_over(self, conf), "nginx.conf names no upstreams")
    self.names:resolve()
    local changed = with_servers(conf, server_lines(need(self.render())))
    if changed ~= conf or is_stale(self) then
        give(self, conf, changed)
    end
end


-- A failure, from a full disk or too many processes, may be over at the next turn.
local function try_to_follow(self)
    local ok, problem = pcall(follow_once, self)
    if not ok then
        self.report("the names could not be followed, will retry: " .. problem)
    end
end


-- Follows until nginx and all its workers have ended. `names` is their resolver, `render()` returns
-- the present configuration, or nil and why there is none; `report(message)` is called for changes.
function _M.follow(settings, names, render, report)
    local self = {
        settings = settings,
        folder = settings.IPGEO_VAR .. "/nginx",
        names = names,
        render = render,
        report = report,
        given = {}, -- the addresses that nginx has got of each name
    }
    take_over(self, read_conf(self) or "")
    if not wait_for_nginx(settings.IPGEO_VAR .. "/nginx.pid") then
        return
    end
    while not posix.wait_for_stdin(settings.IPGEO_RESOLVE_INTERVAL) do
        try_to_follow(self)
    end
end


return _M
