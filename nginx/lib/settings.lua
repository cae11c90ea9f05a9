-- The settings: their types, checks and defaults, as contract/settings.json has them. The
-- fallback's are checked by the same rules, in the same words (compiler/ipgeo/settings/checks.py).

local addresses = require "addresses"
local contract = require "ipgeo.contract"
local listens = require "listens"
local text = require "text"
local upstreams = require "upstreams"


local LIMITS = contract.LIMITS
local concat = table.concat
local find, format, gsub, lower, match, sub =
    string.find, string.format, string.gsub, string.lower, string.match, string.sub
local ipairs = ipairs
local max = math.max
local shown = text.shown
local tonumber = tonumber

local BYTES = { [""] = 1, k = 2 ^ 10, m = 2 ^ 20, g = 2 ^ 30 }
local MAX_TAG = 128


local _M = {}

local by_name = {}
for _, setting in ipairs(contract.SETTINGS) do
    by_name[setting.name] = setting
end


-- --- types ---------------------------------------------------------------------------------------

-- Each takes the setting and its text and returns the value, or nil and what is wrong: the rest of
-- a message that begins with the setting's name.
local types = {}


local function wrong(value, meaning)
    return nil, format(" must be %s, not '%s'", meaning, shown(value))
end


-- "a", "a or b", "a, b or c".
local function joined(values)
    local last = #values
    return last < 2 and values[1]
        or concat({ concat(values, ", ", 1, last - 1), values[last] }, " or ")
end


local function is_among(value, values)
    for _, other in ipairs(values or {}) do
        if value == other then
            return true
        end
    end
    return false
end


function types.integer(setting, value)
    if is_among(value, setting.values) then
        return value
    end
    local number = find(value, "^[1-9]%d*$") and #value <= 9 and tonumber(value)
    if number and number >= setting.min and number <= setting.max then
        return number
    end
    local range = format("a number from %d to %d", setting.min, setting.max)
    return wrong(value, setting.values and joined(setting.values) .. " or " .. range or range)
end


function types.choice(setting, value)
    if is_among(value, setting.values) then
        return value
    end
    return wrong(value, joined(setting.values))
end


local function bytes(value, units)
    local number, unit = match(value, "^([1-9]%d*)(%a?)$")
    unit = unit and lower(unit)
    if number and #number <= 9 and (unit == "" or find(units, unit, 1, true)) then
        return number * BYTES[unit]
    end
end


-- A size in bytes: `units` are the letters that it may end with.
local function size(setting, value, units)
    local number = bytes(value, units)
    if number and number >= bytes(setting.min, units) and number <= bytes(setting.max, units) then
        return number
    end
    return wrong(value, format("a size from %s to %s", setting.min, setting.max))
end


function types.size(setting, value)
    return size(setting, value, "km")
end


function types.memory(setting, value)
    return size(setting, value, "kmg")
end


function types.seconds(setting, value)
    local whole, fraction = match(value, "^(%d+)(.*)$")
    local is_number = whole and #whole <= 5 and not find(whole, "^0%d")
        and (fraction == "" or find(fraction, "^%.%d%d?%d?$"))
    local number = is_number and tonumber(value)
    if number and number >= setting.min and number <= setting.max then
        return number
    end
    return wrong(value, format("a number of seconds from %.14g to %.14g", setting.min, setting.max))
end


local function safe(path, problem)
    if not path or text.is_safe_path(path) then
        return path, problem
    end
    return nil, format(" holds a character that is not allowed in a path: '%s'", shown(path))
end


function types.path(_, value)
    return safe(text.absolute(value))
end


function types.log(_, value)
    if value == "" or value == "-" then
        return value
    end
    return safe(text.absolute(value))
end


-- A name without a slash is found in PATH.
function types.program(setting, value)
    if find(value, "/", 1, true) then
        return types.path(setting, value)
    end
    return safe(value)
end


function types.address(_, value)
    local address = addresses.parse(value)
    if address then
        return address
    end
    return wrong(value, "an IPv4 or IPv6 address")
end


function types.networks(_, value)
    local entries, problem = text.entries(value)
    for _, entry in ipairs(entries or {}) do
        if not addresses.is_network(entry) then
            return nil, format(": '%s' is neither an address nor a network such as 10.0.0.0/8",
                shown(entry))
        end
    end
    return entries, problem
end


local function list(parse)
    return function(_, value)
        return parse(value)
    end
end


types.binds = list(upstreams.parse_binds)
types.listens = list(listens.parse)
types.upstreams = list(upstreams.parse)


function types.user(_, value)
    if find(value, "^[%w_][%w_.-]*$") then
        return value
    end
    return wrong(value, "the name of a user")
end


function types.prefix(_, value)
    local a, b, c = match(value, "^(%d+)%.(%d+)%.(%d+)$")
    if a and addresses.is_octet(a) and addresses.is_octet(b) and addresses.is_octet(c) then
        return value
    end
    return wrong(value, "the first three numbers of an IPv4 network such as 172.31.57")
end


function types.tag(_, value)
    if find(value, "^[%w_][%w_.-]*$") and #value <= MAX_TAG then
        return value
    end
    return wrong(value, "the tag of an image")
end


-- --- the settings --------------------------------------------------------------------------------

-- Returns the value of the setting `name` that `value`, a text, stands for; nil and a message if it
-- is not valid. Numbers come as numbers, sizes in bytes, lists as tables.
function _M.check(name, value)
    local setting = by_name[name]
    local checked, problem = types[setting.type](setting, value)
    if checked == nil then
        return nil, name .. problem
    end
    return checked
end


-- The bytes that the longest batch needs, and never less than a plain query may have.
local function body_limit(batch_limit)
    local needed = batch_limit * LIMITS.body_bytes_per_address + LIMITS.body_bytes_overhead
    return format("%d", max(needed, LIMITS.min_body_limit))
end


local value_of


-- What {NAME} in a default stands for.
local function default_part(reader, name)
    if name == "BODY_LIMIT" then
        return body_limit(value_of(reader, "IPGEO_BATCH_LIMIT") or 0)
    elseif name == "NGINX" then
        return reader.defaults.NGINX() or ""
    end
    return reader.defaults[name] or value_of(reader, name) or ""
end


-- Returns a setting's value; nil after the first setting that is not valid, which the reader's
-- `problem` names.
function value_of(reader, name)
    local values = reader.values
    if values[name] ~= nil or reader.problem then
        return values[name]
    end
    local given = reader.getenv(name)
    if not given or given == "" then
        given = gsub(by_name[name].default, "{([%w_]+)}", function(part)
            return default_part(reader, part)
        end)
    end
    if not reader.problem then
        values[name], reader.problem = _M.check(name, given)
    end
    return values[name]
end


-- Checks the edge's settings. `getenv(name)` returns a variable's text, `defaults` has what the
-- contract's defaults name: ROOT, and NGINX, a function. Returns the values by name, or nil and a
-- message. An empty variable counts as not set.
function _M.read(getenv, defaults)
    local reader = { getenv = getenv, defaults = defaults, values = {} }
    value_of(reader, "IPGEO_VAR") -- first: it is part of others' defaults
    for _, setting in ipairs(contract.SETTINGS) do
        if is_among("edge", setting.by) then
            value_of(reader, setting.name)
        end
    end
    return not reader.problem and reader.values or nil, reader.problem
end


-- The names that begin like a setting but are not one.
function _M.unknown(names)
    local known, found = {}, {}
    for _, setting in ipairs(contract.SETTINGS) do
        known[setting.name] = true
    end
    for _, name in ipairs(contract.INTERNAL_SETTINGS) do
        known[name] = true
    end
    for _, name in ipairs(names) do
        if sub(name, 1, 6) == "IPGEO_" and not known[name] then
            found[#found + 1] = name
        end
    end
    return found
end


return _M
