-- The HTTP contract: arguments in, an answer or an error out.

local ffi = require "ffi"
local ipv4 = require "ipgeo.ipv4"
local json = require "ipgeo.json"
local store = require "ipgeo.store"


local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local cast = ffi.cast
local char = string.char
local floor, format, max = math.floor, string.format, math.max
local lookup = store.lookup
local ngx = ngx
local exec, print = ngx.exec, ngx.print
local get_body_data, get_body_file = ngx.req.get_body_data, ngx.req.get_body_file
local get_method, read_body = ngx.req.get_method, ngx.req.read_body
local clear_header = ngx.req.clear_header
local header, var = ngx.header, ngx.var
local parse, parse_bytes = ipv4.parse, ipv4.parse_bytes
local read_object = json.read_object
local tonumber = tonumber

local FALLBACK = "@fallback"
local MOST_ARGUMENTS = 8
local WANTED = { ip = true, format = true }
local QUERY_METHODS, GET_METHODS = "GET, HEAD, POST", "GET, HEAD"

local bytes_t = ffi.typeof("const uint8_t *")

-- "ip=" as it begins the usual query string.
local LOWER_I, LOWER_P, EQUALS = 0x69, 0x70, 0x3d
local IP_LENGTH = #"ip="
local LONGEST_QUERY = IP_LENGTH + #"255.255.255.255"


local _M = {}


local ERRORS = {
    missing_ip = { 400, "the argument ip is missing" },
    invalid_ip = { 400, "ip is not an IPv4 address in dotted decimal" },
    invalid_format = { 400, "format is neither array nor object" },
    invalid_json = { 400, "the body is not one JSON object in UTF-8, nested at most 8 deep" },
    repeated_argument = { 400, "ip or format occurs more than once" },
    too_many_arguments = { 400, "more than 8 arguments" },
    method_not_allowed = { 405, "this path does not take this method" },
    body_too_large = { 413, "the body is larger than this server takes" },
    no_data = { 501, "the database has nothing for this address" },
    unavailable = { 503, "no database is loaded" },
}


local function send(body)
    header["Content-Length"] = #body
    print(body)
end


local function send_error(code)
    local status, message = ERRORS[code][1], ERRORS[code][2]
    ngx.status = status
    send(format('{"error":{"code":"%s","message":"%s"}}', code, message))
end


local function refuse_method(allowed)
    header["Allow"] = allowed
    send_error("method_not_allowed")
end


local function unescape(text)
    if not find(text, "[%%+]") then
        return text
    end
    text = gsub(text, "+", " ")
    return (gsub(text, "%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end


-- Reads the query string. A bare argument has the value false. Returns the wanted arguments by
-- name, or nil and the error's code.
local function read_arguments(query)
    local _, separators = gsub(query, "&", "")
    if separators >= MOST_ARGUMENTS then
        return nil, "too_many_arguments"
    end
    local arguments, repeated = {}, false
    for piece in query:gmatch("[^&]+") do
        local raw_name, equals, raw_value = match(piece, "^([^=]*)(=?)(.*)$")
        local name = unescape(raw_name)
        if WANTED[name] then
            repeated = repeated or arguments[name] ~= nil
            arguments[name] = equals == "=" and unescape(raw_value)
        end
    end
    if repeated then
        return nil, "repeated_argument"
    end
    return arguments
end


-- Checks the wanted values, however they came. Returns the address, its high and low 16 bits and
-- whether the answer is to be an object, or nil and the error's code.
local function interpret(values)
    local ip, shape = values.ip, values.format
    if shape ~= nil and shape ~= "array" and shape ~= "object" then
        return nil, "invalid_format"
    end
    if ip == nil then
        return nil, "missing_ip"
    end
    local high, low = parse(ip)
    if not high then
        return nil, "invalid_ip"
    end
    return ip, high, low, shape == "object"
end


-- The usual query string is `ip=A` and nothing else: it needs no table and no pattern.
local function read_plain_query(query)
    local length = #query
    if length > LONGEST_QUERY then
        return nil
    end
    local i, p, equals = byte(query, 1, IP_LENGTH)
    if i ~= LOWER_I or p ~= LOWER_P or equals ~= EQUALS then
        return nil
    end
    return parse_bytes(cast(bytes_t, query), IP_LENGTH, length)
end


local function read_get()
    local query = var.args or ""
    local high, low = read_plain_query(query)
    if high then
        return sub(query, IP_LENGTH + 1), high, low, false
    end
    local arguments, code = read_arguments(query)
    if not arguments then
        return nil, code
    end
    return interpret(arguments)
end


-- nginx's own filter looks at these whatever the answer is. It would answer 412 in the middle of
-- Lua's output, by which a worker may die.
local function ignore_preconditions()
    clear_header("If-Match")
    clear_header("If-Unmodified-Since")
end


-- It would also take `If-None-Match: *` to mean every answer, those without an ETag too.
local function ignore_validators()
    ignore_preconditions()
    clear_header("If-None-Match")
end


local function read_post()
    ignore_validators()
    read_body()
    local body = get_body_data()
    if not body then
        return nil, get_body_file() and "body_too_large" or "invalid_json"
    end
    local members = {}
    local valid, repeated = read_object(body, WANTED, members)
    if not valid then
        return nil, "invalid_json"
    end
    if repeated then
        return nil, "repeated_argument"
    end
    return interpret(members)
end


-- Answers /api/ip_query. While nothing is loaded the fallback does, for requests of every kind.
function _M.query()
    if not store.open() then
        return exec(FALLBACK)
    end
    local method = get_method()
    local ip, high, low, as_object
    if method == "POST" then
        ip, high, low, as_object = read_post()
    elseif method == "GET" or method == "HEAD" then
        ignore_preconditions()
        ip, high, low, as_object = read_get()
    else
        ignore_validators()
        return refuse_method(QUERY_METHODS)
    end
    if not ip then
        return send_error(high)
    end
    local answer, opened = lookup(high, low, as_object)
    if not opened then
        return exec(FALLBACK)
    end
    if not answer then
        return send_error("no_data")
    end
    if method ~= "POST" then -- with an ETag, nginx would turn POST + If-None-Match into 304
        header["ETag"] = opened.etag
    end
    return send(as_object and '{"ip":"' .. ip .. '",' .. answer or answer)
end


local function is_get()
    ignore_validators()
    local method = get_method()
    return method == "GET" or method == "HEAD"
end


-- Answers /healthz: the process lives.
function _M.healthz()
    if not is_get() then
        return refuse_method(GET_METHODS)
    end
    return send('{"status":"ok"}')
end


-- Answers /readyz: which generation is served. `data_age` is in seconds, by the file's mtime.
function _M.readyz()
    if not is_get() then
        return refuse_method(GET_METHODS)
    end
    local opened = store.open()
    if not opened then
        return send_error("unavailable")
    end
    local age = max(0, floor(ngx.time() - opened.mtime))
    return send(format(
        '{"status":"ready","build_id":"%s","generation":%d,"runs":%d,"data_age":%d}',
        opened.build_id, opened.generation, opened.view.runs, age))
end


return _M
