-- What can be wrong with a query, or with this server: by code, the status and the body, ready to
-- be sent.

local format = string.format
local pairs = pairs

local ERRORS = {
    missing_ip = { 400, "the argument ip is missing" },
    invalid_ip = { 400, "ip is not an IPv4 address in dotted decimal" },
    invalid_ips = { 400, "ips is not an array" },
    ip_and_ips = { 400, "ip and ips exclude each other" },
    too_many_ips = { 400, "more addresses than this server takes in one request" },
    invalid_format = { 400, "format is neither array nor object" },
    invalid_json = { 400, "the body is not one JSON object in UTF-8, nested at most 8 deep" },
    repeated_argument = { 400, "ip, ips or format occurs more than once" },
    too_many_arguments = { 400, "more than 8 arguments" },
    method_not_allowed = { 405, "this path does not take this method" },
    body_too_large = { 413, "the request body is too large" },
    no_data = { 501, "the database has nothing for this address" },
    unavailable = { 503, "no database is loaded" },
}


local _M = { STATUSES = {}, BODIES = {} }


for code, error in pairs(ERRORS) do
    local status, message = error[1], error[2]
    _M.STATUSES[code] = status
    _M.BODIES[code] = format('{"error":{"code":"%s","message":"%s"}}', code, message)
end


return _M
