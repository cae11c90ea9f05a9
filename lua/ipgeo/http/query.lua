-- The HTTP contract of /api/ip_query: arguments in, answers or an error out.

local arguments = require "ipgeo.http.arguments"
local batch = require "ipgeo.http.batch"
local chunks = require "ipgeo.http.chunks"
local contract = require "ipgeo.contract"
local errors = require "ipgeo.http.errors"
local ipv4 = require "ipgeo.address"
local json = require "ipgeo.http.strict_json"
local respond = require "ipgeo.http.respond"
local store = require("ipgeo.store").default


local ask_fallback = respond.ask_fallback
local get_body_data, get_body_file = ngx.req.get_body_data, ngx.req.get_body_file
local header, var = ngx.header, ngx.var
local lookup, read = store.lookup, store.read
local ipairs, tonumber = ipairs, tonumber
local match = string.match
local parse = ipv4.parse
local print = ngx.print
local read_body = ngx.req.read_body
local send, send_error = respond.send, respond.send_error

local BODIES = errors.BODIES
local NDJSON = "application/x-ndjson"
local ARGUMENTS = { ip = true, format = true }
local MEMBERS = json.members { "ip", "ips", "format" }
-- The usual body, as client libraries write it: it needs no parser.
local PLAIN_BODY = '^{"ip": ?"([%d.]+)"}$'
local MAX_PLAIN_BODY = #'{"ip": ""}' + contract.LIMITS.max_address_bytes

local max_ips


local _M = {}


-- The most addresses that one request may ask for.
function _M.set_batch_limit(limit)
    max_ips = limit
    errors.set_limit("batch_limit", limit)
end


local function default_of(name)
    for _, setting in ipairs(contract.SETTINGS) do
        if setting.name == name then
            return tonumber(setting.default)
        end
    end
end


_M.set_batch_limit(default_of("IPGEO_BATCH_LIMIT"))


-- Sends what `lookup` has found for `ip`. Only GET and HEAD carry an ETag: with one, nginx would
-- turn POST + If-None-Match into 304.
local function send_answer(ip, high, low, as_object, with_etag)
    local opened, answer = lookup(store, high, low, as_object)
    if not opened then
        return ask_fallback()
    end
    if not answer then
        return send_error("no_data")
    end
    if with_etag then
        header["ETag"] = opened.etag
    end
    return send(as_object and '{"ip":"' .. ip .. '",' .. answer or answer)
end


-- Whether the answer is to be an object, or nil for a format that there is not.
local function wants_object(shape)
    if shape == nil or shape == "array" then
        return false
    end
    return shape == "object" or nil
end


-- Answers the wanted values `ip` and `format`, however they came.
local function answer_values(values, with_etag)
    local ip, as_object = values.ip, wants_object(values.format)
    if as_object == nil then
        return send_error("invalid_format")
    end
    if ip == nil then
        return send_error("missing_ip")
    end
    local high, low = parse(ip)
    if not high then
        return send_error("invalid_ip")
    end
    return send_answer(ip, high, low, as_object, with_etag)
end


-- Answers GET and HEAD.
function _M.answer_get()
    respond.ignore_preconditions()
    local values, code = arguments.read(var.args or "", ARGUMENTS)
    if not values then
        return send_error(code)
    end
    return answer_values(values, true)
end


-- Sends what `batch` has written. `opened` is nil while no generation is loaded; `complete` tells
-- whether the batch was within the limit.
local function send_batch(opened, complete, media_type)
    if not opened then
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
    local values, code = arguments.read(var.args or "", ARGUMENTS)
    if not values then
        return send_error(code)
    end
    local as_object = wants_object(values.format)
    if as_object == nil then
        return send_error("invalid_format")
    end
    local opened, complete = read(store, batch.answer_lines, body, max_ips, as_object, BODIES)
    return send_batch(opened, complete, NDJSON)
end


-- Answers a batch as client libraries write it. Returns false, having sent nothing, for every other
-- body and for every error.
local function answer_plain_batch(body)
    local values = batch.read_plain(body, MEMBERS)
    if not values or values.ip ~= nil then
        return false
    end
    local as_object = wants_object(values.format)
    if as_object == nil then
        return false
    end
    local opened, complete =
        read(store, batch.answer_plain_array, body, values.ips, max_ips, as_object, BODIES)
    if opened and not complete then
        chunks.discard()
        return false
    end
    send_batch(opened, complete)
    return true
end


local function answer_batch(body, values)
    local as_object = wants_object(values.format)
    if as_object == nil then
        return send_error("invalid_format")
    end
    if values.ip ~= nil then
        return send_error("ip_and_ips")
    end
    if not values.ips.at then
        return send_error("invalid_ips")
    end
    local opened, complete =
        read(store, batch.answer_array, body, values.ips, max_ips, as_object, BODIES)
    return send_batch(opened, complete)
end


local function answer_object(body)
    local values = {}
    local valid, repeated = json.read_object(body, MEMBERS, values)
    if not valid then
        return send_error("invalid_json")
    end
    if repeated then
        return send_error("repeated_argument")
    end
    if values.ips ~= nil then
        return answer_batch(body, values)
    end
    return answer_values(values, false)
end


local function is_text(media_type)
    local name = media_type and match(media_type, "^%s*([^;%s]*)")
    return name and name:lower() == "text/plain"
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
    local ip = #body <= MAX_PLAIN_BODY and match(body, PLAIN_BODY)
    local high, low = parse(ip)
    if high then
        return send_answer(ip, high, low, false, false)
    end
    return answer_plain_batch(body) or answer_object(body)
end


return _M
