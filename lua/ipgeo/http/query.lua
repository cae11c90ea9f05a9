-- The HTTP contract of /api/ip_query: arguments in, answers or an error out.

local addresses = require "ipgeo.address"
local answers = require "ipgeo.answer"
local arguments = require "ipgeo.http.arguments"
local batch = require "ipgeo.http.batch"
local chunks = require "ipgeo.http.chunks"
local contract = require "ipgeo.contract"
local errors = require "ipgeo.http.errors"
local json = require "ipgeo.http.strict_json"
local respond = require "ipgeo.http.respond"
local store = require("ipgeo.store").default


local ask_fallback = respond.ask_fallback
local canonical, parse = addresses.canonical, addresses.parse
local get_body_data, get_body_file = ngx.req.get_body_data, ngx.req.get_body_file
local header, var = ngx.header, ngx.var
local ipairs, tonumber = ipairs, tonumber
local is_object = answers.is_object
local lookup, with_snapshot = store.lookup, store.with_snapshot
local match = string.match
local print = ngx.print
local read_body = ngx.req.read_body
local send, send_error = respond.send, respond.send_error

local NDJSON = "application/x-ndjson"
local ARGUMENTS = { ip = true, format = true }
local MEMBERS = json.members { "ip", "ips", "format" }
-- The usual body, as client libraries write it: it needs no parser.
local PLAIN_BODY = '^{"ip": ?"([%x.:]+)"}$'
local MAX_PLAIN_BODY = #'{"ip": ""}' + contract.LIMITS.max_address_bytes

local max_ips


local _M = {}


local function default_of(name)
    for _, setting in ipairs(contract.SETTINGS) do
        if setting.name == name then
            return tonumber(setting.default)
        end
    end
end


-- Sets how many addresses one request may ask for.
function _M.set_batch_limit(limit)
    max_ips = limit
    errors.set_limit("batch_limit", limit)
end


_M.set_batch_limit(default_of("IPGEO_BATCH_LIMIT"))


-- Returns `values` with `as_object`, which their `format` means, or nil and the error's code.
local function read_format(values)
    values.as_object = is_object(values.format)
    if values.as_object == nil then
        return nil, "invalid_format"
    end
    return values
end


-- Returns the values in the query string, or nil and the error's code.
local function read_query_string()
    local values, code = arguments.read(var.args or "", ARGUMENTS)
    if not values then
        return nil, code
    end
    return read_format(values)
end


-- Returns the values in a JSON body, or nil and the error's code.
local function read_json(body)
    local values = {}
    local valid, repeated = json.read_object(body, MEMBERS, values)
    if not valid then
        return nil, "invalid_json"
    end
    if repeated then
        return nil, "repeated_argument"
    end
    return read_format(values)
end


-- Answers one address. Only GET and HEAD carry an ETag: with one, nginx would turn
-- POST + If-None-Match into 304.
local function answer_address(ip, as_object, with_etag)
    local high, low, is_ipv6 = parse(ip)
    if not high then
        return send_error("invalid_ip")
    end
    local text, length = canonical(is_ipv6, ip, #ip)
    local answer, code, snapshot = lookup(store, high, low, as_object, text, length)
    if code == "unavailable" then
        return ask_fallback()
    elseif code then
        return send_error(code)
    end
    if with_etag then
        header["ETag"] = snapshot.etag
    end
    return send(answer)
end


local function answer_single(values, with_etag)
    if values.ip == nil then
        return send_error("missing_ip")
    end
    return answer_address(values.ip, values.as_object, with_etag)
end


-- Answers GET and HEAD.
function _M.answer_get()
    respond.ignore_preconditions()
    local values, code = read_query_string()
    if not values then
        return send_error(code)
    end
    return answer_single(values, true)
end


-- Sends what `batch` has written. `snapshot` is nil while no generation is loaded; `complete` is
-- whether the batch was within the limit.
local function send_batch(snapshot, complete, media_type)
    if not snapshot then
        chunks.discard()
        return ask_fallback()
    end
    if not complete then
        chunks.discard()
        return send_error("too_many_ips")
    end
    if media_type then
        header["Content-Type"] = media_type
    end
    header["Content-Length"] = chunks.length()
    return chunks.drain(print)
end


local function answer_lines(body)
    local values, code = read_query_string()
    if not values then
        return send_error(code)
    end
    local snapshot, complete =
        with_snapshot(store, batch.answer_lines, body, max_ips, values.as_object)
    return send_batch(snapshot, complete, NDJSON)
end


-- Answers a batch as client libraries write it. Returns false, having sent nothing, for every other
-- body and for every error.
local function answer_plain_batch(body)
    local values = batch.read_plain(body, MEMBERS)
    if not values or values.ip ~= nil or not read_format(values) then
        return false
    end
    local snapshot, complete = with_snapshot(store, batch.answer_plain_array, body, max_ips,
        values.as_object, values.ips)
    if snapshot and not complete then
        chunks.discard()
        return false
    end
    send_batch(snapshot, complete)
    return true
end


local function answer_batch(body, values)
    if values.ip ~= nil then
        return send_error("ip_and_ips")
    end
    if not values.ips.at then
        return send_error("invalid_ips")
    end
    local snapshot, complete =
        with_snapshot(store, batch.answer_array, body, max_ips, values.as_object, values.ips)
    return send_batch(snapshot, complete)
end


local function answer_json(body)
    local values, code = read_json(body)
    if not values then
        return send_error(code)
    end
    if values.ips ~= nil then
        return answer_batch(body, values)
    end
    return answer_single(values, false)
end


local function is_text(media_type)
    local name = media_type and match(media_type, "^%s*([^;%s]*)")
    return name and name:lower() == "text/plain"
end


local function answer_body(body)
    local ip = #body <= MAX_PLAIN_BODY and match(body, PLAIN_BODY)
    if ip then
        return answer_address(ip, false, false)
    end
    return answer_plain_batch(body) or answer_json(body)
end


-- Answers POST.
function _M.answer_post()
    respond.ignore_validators()
    read_body()
    local body = get_body_data()
    if not body and get_body_file() then
        return send_error("body_too_large")
    end
    if is_text(var.content_type) then
        return answer_lines(body or "")
    end
    if not body then
        return send_error("invalid_json")
    end
    return answer_body(body)
end


return _M
