-- The contract's errors, ready to be sent: by code, the status and the body.

local contract = require "ipgeo.contract"


local format, gsub = string.format, string.gsub
local pairs = pairs

local ERRORS = contract.ERRORS
-- A limit in a message: its name in braces.
local PLACEHOLDER = "{([%l_]+)}"


local _M = { STATUSES = {}, BODIES = {} }

local limits = {} -- by name


local function render()
    for code, error in pairs(ERRORS) do
        local message = gsub(error.message, PLACEHOLDER, limits)
        _M.STATUSES[code] = error.status
        _M.BODIES[code] = format('{"error":{"code":"%s","message":"%s"}}', code, message)
    end
end


render()


-- Puts `value` in the place of `{name}` in every message: of "batch_limit" (addresses) or
-- "body_limit" (bytes). Until then the placeholder stays.
function _M.set_limit(name, value)
    limits[name] = value
    render()
end


return _M
