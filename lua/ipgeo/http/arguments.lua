-- The arguments of a raw query string. ngx.req.get_uri_args does not suffice: it repairs invalid
-- percent-encoding, which can turn an invalid address into a valid one.

local LIMITS = require("ipgeo.contract").LIMITS


local char, find, gmatch = string.char, string.find, string.gmatch
local gsub, match = string.gsub, string.match
local tonumber = tonumber

local MAX_ARGUMENTS = LIMITS.max_arguments


local _M = {}


local function unescape(text)
    if not find(text, "[%%+]") then
        return text
    end
    text = gsub(text, "+", " ")
    return (gsub(text, "%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end


-- Reads the arguments whose names are in `wanted`; one without "=" has the value false. Returns the
-- values by name, or nil and the error's code.
function _M.read(query, wanted)
    local _, separators = gsub(query, "&", "")
    if separators >= MAX_ARGUMENTS then
        return nil, "too_many_arguments"
    end
    local values, repeated = {}, false
    for piece in gmatch(query, "[^&]+") do
        local raw_name, equals, raw_value = match(piece, "^([^=]*)(=?)(.*)$")
        local name = unescape(raw_name)
        if wanted[name] then
            repeated = repeated or values[name] ~= nil
            values[name] = equals == "=" and unescape(raw_value)
        end
    end
    if repeated then
        return nil, "repeated_argument"
    end
    return values
end


return _M
