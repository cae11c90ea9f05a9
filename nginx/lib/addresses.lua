-- Addresses and networks of both families, and names of hosts, as text.

local find, gsub, match = string.find, string.gsub, string.match
local tonumber = tonumber


local _M = {}


-- Whether it is a number from 0 to 255 without leading zeros.
function _M.is_octet(text)
    return find(text, "^%d%d?%d?$") ~= nil and not find(text, "^0%d") and tonumber(text) <= 255
end


function _M.is_ipv4(text)
    local a, b, c, d = match(text, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
    return a ~= nil
        and _M.is_octet(a) and _M.is_octet(b) and _M.is_octet(c) and _M.is_octet(d)
end


-- How many IPv6 groups a part of an address has; nil if it is not valid.
local function count_groups(text)
    if text == "" then
        return 0
    end
    local rest, count = gsub(text .. ":", "(%x+):", function(group)
        return #group <= 4 and "" or nil
    end)
    return rest == "" and count or nil
end


-- The address with its IPv4 ending written as two groups; nil if that ending is not valid.
local function without_ipv4(text)
    local head, tail = match(text, "^(.*:)([^:]*%.[^:]*)$")
    if not head then
        return text
    end
    return _M.is_ipv4(tail) and head .. "0:0" or nil
end


function _M.is_ipv6(text)
    local plain = without_ipv4(text)
    if not plain then
        return false
    end
    local head, tail = match(plain, "^(.-)::(.*)$")
    if not head then
        return count_groups(plain) == 8
    end
    local before, after = count_groups(head), count_groups(tail)
    -- `::` stands for one group at least.
    return before ~= nil and after ~= nil and before + after < 8
end


-- The address in `text`, without brackets; nil if it is not an address.
function _M.parse(text)
    local inner = match(text, "^%[(.*)%]$")
    if inner then
        return _M.is_ipv6(inner) and inner or nil
    end
    return (_M.is_ipv4(text) or _M.is_ipv6(text)) and text or nil
end


-- Whether it is an address, or one with the length of a prefix (10.0.0.0/8).
function _M.is_network(text)
    local address, slash, prefix = match(text, "^([^/]*)(/?)(.*)$")
    local bits = _M.is_ipv4(address) and 32 or _M.is_ipv6(address) and 128
    if not bits or slash == "" then
        return bits ~= false
    end
    return find(prefix, "^%d%d?%d?$") ~= nil and not find(prefix, "^0%d")
        and tonumber(prefix) <= bits
end


local function is_label(text)
    return #text <= 63 and find(text, "^%w") ~= nil and find(text, "%w$") ~= nil
        and not find(text, "[^%w_-]")
end


-- Whether it is a valid host name.
function _M.is_host_name(text)
    local rest = gsub(gsub(text, "%.$", "") .. ".", "([^.]*)%.", function(label)
        return is_label(label) and "" or nil
    end)
    return rest == ""
end


-- Whether it can stand before a port: IPv4, IPv6 in brackets, or a name.
function _M.is_host(text)
    local inner = match(text, "^%[(.*)%]$")
    if inner then
        return _M.is_ipv6(inner)
    elseif find(text, "^[%d.]*$") then
        return _M.is_ipv4(text)
    end
    return _M.is_host_name(text)
end


-- Splits HOST:PORT; nil if there is no port from 1 to 65535.
function _M.split_port(text)
    local host, port = match(text, "^(.*):([1-9]%d*)$")
    if host and #port <= 5 and tonumber(port) <= 65535 then
        return host, port
    end
end


-- Whether an address is valid in its own network only; nginx takes no zone.
function _M.is_link_local(text)
    return find(text, "^[Ff][Ee][89AaBb]%x:") ~= nil
end


return _M
