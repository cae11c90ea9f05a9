-- The HTTP contract: arguments in, answers or an error out.

local ffi = require "ffi"
local arguments = require "ipgeo.http.arguments"
local batch = require "ipgeo.http.batch"
local blob = require "ipgeo.blob.view"
local headers = require "ipgeo.http.headers"
local ipv4 = require "ipgeo.address"
local cjson = require "cjson.safe"
local json = require "ipgeo.http.strict_json"
local relay = require "ipgeo.http.relay"
local store = require "ipgeo.store"


local byte, find, gsub, match = string.byte, string.find, string.gsub, string.match
local cast, copy, ffi_string = ffi.cast, ffi.copy, ffi.string
local encode = cjson.encode
local find_location, locate = blob.find, blob.locate
local collectgarbage = collectgarbage
local count = headers.count
local floor, format, max, min = math.floor, string.format, math.max, math.min
local ngx = ngx
local print = ngx.print
local clear_header, discard_body = ngx.req.clear_header, ngx.req.discard_body
local exit = ngx.exit
local get_body_data, get_body_file = ngx.req.get_body_data, ngx.req.get_body_file
local get_method, read_body = ngx.req.get_method, ngx.req.read_body
local header, var = ngx.header, ngx.var
local ipairs, pcall = ipairs, pcall
local lookup, read = store.lookup, store.read
local parse, parse_at = ipv4.parse, ipv4.parse_at

local QUERY_METHODS, GET_METHODS = "GET, HEAD, POST", "GET, HEAD"
local NDJSON = "application/x-ndjson"
local ARGUMENTS = { ip = true, format = true }
local PRECONDITIONS = { "If-Match", "If-Modified-Since", "If-Unmodified-Since" }
local ANY_PRECONDITION = headers.names(PRECONDITIONS)
local VALIDATORS = { "If-Match", "If-Modified-Since", "If-Unmodified-Since", "If-None-Match" }
local ANY_VALIDATOR = headers.names(VALIDATORS)
-- By which nginx would change the answer, or which asks for the mark. An empty one does, too.
local SPECIAL = headers.names {
    "If-Match", "If-Modified-Since", "If-Unmodified-Since", "X-IPGeo-Relay",
}
local CONTENT_TYPE = headers.names { "Content-Type" }
local MEMBERS = json.members { "ip", "ips", "format" }
-- The usual body, as client libraries write it: it needs no parser.
local PLAIN_BODY = '^{"ip": ?"([%d.]+)"}$'
local LONGEST_PLAIN_BODY = #'{"ip": "255.255.255.255"}'
-- "ip=", with which the usual query string begins.
local LOWER_I, LOWER_P, EQUALS, IP_LENGTH = 0x69, 0x70, 0x3d, 3
local OBJECT_SUFFIX = "&format=object"
local LONGEST_IP, LONGEST_ANSWER = #"255.255.255.255", 8192

-- KiB of Lua's heap, several times what it has between requests.
local MAX_HEAP = 2048
-- KiB that were left when it was last collected, or less by now.
local heap_in_use = 0

local text_t = ffi.typeof("const char *")

local most_ips = 1000


local _M = {}


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


-- Each code's body, ready to be sent.
local BODIES = {}
for code, error in pairs(ERRORS) do
    BODIES[code] = format('{"error":{"code":"%s","message":"%s"}}', code, error[2])
end


-- The most addresses that one request may ask for.
function _M.set_batch_limit(limit)
    most_ips = limit
end


local function send(body)
    header["Content-Length"] = #body
    print(body)
end


local function send_error(code)
    ngx.status = ERRORS[code][1]
    send(BODIES[code])
end


-- Lets go of the body of a request that needs none, before the answer begins: nginx would find only
-- afterwards that its framing breaks HTTP, and close without a word.
local function drop_body()
    if not pcall(discard_body) then
        exit(400)
    end
end


local function refuse_method(allowed)
    header["Allow"] = allowed
    send_error("method_not_allowed")
end


-- To look for headers is cheaper than to clear those that are not there.
local function clear(names, set)
    if count(set) > 0 then
        for _, name in ipairs(names) do
            clear_header(name)
        end
    end
end


-- nginx's own filter looks at these whatever the answer is. It would answer 412 in the middle of
-- Lua's output, by which a worker may die, and take a date to outdo If-None-Match.
local function ignore_preconditions()
    clear(PRECONDITIONS, ANY_PRECONDITION)
end


-- It would also take `If-None-Match: *` to mean every answer, those without an ETag too.
local function ignore_validators()
    clear(VALIDATORS, ANY_VALIDATOR)
end


-- Answers by a fallback, in the place of this worker.
local function pass_on()
    local answer = relay.ask(true)
    if not answer then
        return send_error("unavailable")
    end
    return relay.send(answer)
end


-- Sends what `lookup` has found for `ip`. Only GET and HEAD carry an ETag: with one, nginx would
-- turn POST + If-None-Match into 304.
local function send_answer(ip, high, low, as_object, with_etag)
    local opened, answer = lookup(high, low, as_object)
    if not opened then
        return pass_on()
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


-- Where an object answer is put together: `{"ip":"A",` and what the blob has behind it.
local OBJECT_HEAD, IP_TAIL = '{"ip":"', '",'
local scratch = ffi.new("uint8_t[?]", #OBJECT_HEAD + LONGEST_IP + #IP_TAIL + LONGEST_ANSWER)
ffi.copy(scratch, OBJECT_HEAD, #OBJECT_HEAD)


-- For store.read: puts the object's end behind the `used` bytes in `scratch`. Returns the whole, or
-- nil for no data.
local function finish_object(view, high, low, used)
    local location = find_location(view, high, low)
    if not location then
        return nil
    end
    local members, length = locate(view, view.locations + location)
    if length > LONGEST_ANSWER then
        return nil -- `query` has no such limit
    end
    copy(scratch + used, members, length)
    return ffi_string(scratch, used + length)
end


-- The object for the address that the `length` bytes at `ip` spell. Returns the generation and the
-- answer, or nil.
local function object_answer(ip, length)
    if length > LONGEST_IP then
        return nil
    end
    local used = #OBJECT_HEAD + length
    copy(scratch + #OBJECT_HEAD, ip, length)
    scratch[used] = 0
    local high, low = parse_at(scratch + #OBJECT_HEAD)
    if not high then
        return nil
    end
    copy(scratch + used, IP_TAIL, #IP_TAIL)
    return read(finish_object, high, low, used + #IP_TAIL)
end


-- Answers a query string as nearly all are: `ip=A`, or `ip=A&format=object`, and nothing else.
-- nginx lets no NUL into it. Returns the generation and the answer, or nil for any other query and
-- for every error.
local function answer_plain_query(query)
    local i, p, equals = byte(query, 1, IP_LENGTH)
    if i ~= LOWER_I or p ~= LOWER_P or equals ~= EQUALS then
        return nil
    end
    local ip = cast(text_t, query) + IP_LENGTH
    local high, low = parse_at(ip)
    if high then
        return lookup(high, low, false)
    end
    local behind = find(query, OBJECT_SUFFIX, IP_LENGTH + 1, true)
    if not behind or #query ~= behind + #OBJECT_SUFFIX - 1 then
        return nil
    end
    return object_answer(ip, behind - 1 - IP_LENGTH)
end


-- For set_by_lua: the answer to a plain GET, which nginx then returns by itself: that spares the
-- coroutine and the output of a content handler. Empty for everything else: `query` takes that.
function _M.plain_answer()
    local method = get_method()
    if method ~= "GET" and method ~= "HEAD" then
        return ""
    end
    local query = var.args
    if not query or count(SPECIAL) > 0 then
        return ""
    end
    local opened, answer = answer_plain_query(query)
    if not answer then
        return ""
    end
    header["ETag"] = opened.etag
    return answer
end


local function answer_get()
    ignore_preconditions()
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
        batch.discard()
        return pass_on()
    end
    if not complete then
        batch.discard()
        return send_error("too_many_ips")
    end
    if media_type then
        header["Content-Type"] = media_type
    end
    header["Content-Length"] = batch.length()
    return batch.drain(print)
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
    local opened, complete = read(batch.answer_lines, body, most_ips, as_object, BODIES)
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
        read(batch.answer_plain_array, body, values.ips, most_ips, as_object, BODIES)
    if opened and not complete then
        batch.discard()
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
        read(batch.answer_array, body, values.ips, most_ips, as_object, BODIES)
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


local function answer_post()
    ignore_validators()
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
    local ip = #body <= LONGEST_PLAIN_BODY and match(body, PLAIN_BODY)
    local high, low = parse(ip)
    if high then
        return send_answer(ip, high, low, false, false)
    end
    return answer_plain_batch(body) or answer_object(body)
end


-- Whether there are two: nginx takes the first one, or, from 1.23 on, joins them by a comma.
local function is_ambiguous(media_type)
    if not media_type then
        return false
    end
    local joined = find(media_type, ",", 1, true)
        and find(gsub(media_type, '"[^"]*"', ""), ",", 1, true)
    return joined or count(CONTENT_TYPE) > 1
end


-- Refuses what no server of ours answers at /api/ip_query; tells whether it has.
local function has_refused()
    local method = get_method()
    if method == "POST" then
        return is_ambiguous(var.content_type) and exit(400)
    end
    drop_body()
    if method == "GET" or method == "HEAD" then
        return false
    end
    ignore_validators()
    refuse_method(QUERY_METHODS)
    return true
end


-- What a large request has left is given back now: Lua by itself would wait until as much again is
-- in use. But what many requests at once have in use is no garbage, and looking at it costs time.
local function collect_garbage()
    local used = collectgarbage("count")
    heap_in_use = min(heap_in_use, used)
    if used > max(MAX_HEAP, 2 * heap_in_use) then
        collectgarbage()
        heap_in_use = collectgarbage("count")
    end
end


-- While nothing is loaded a fallback answers.
local function answer_query()
    if has_refused() then
        return
    elseif not store.open() then
        return pass_on()
    elseif get_method() == "POST" then
        return answer_post()
    end
    return answer_get()
end


-- Only if no fallback can answer, this worker does.
local function answer_by_proxy()
    if has_refused() then
        return
    elseif not store.open() then
        return pass_on()
    end
    local answer = relay.ask()
    if answer and answer.status ~= ERRORS.unavailable[1] then
        return relay.send(answer)
    end
    return answer_query()
end


-- Answers /api/ip_query.
function _M.query()
    answer_query()
    collect_garbage()
end


-- Answers /api/ip_query when `query` has failed.
function _M.rescue()
    batch.discard()
    if not has_refused() then
        pass_on()
    end
    collect_garbage()
end


-- Answers /api/ip_query by a fallback.
function _M.proxy()
    answer_by_proxy()
    collect_garbage()
end


local function is_get()
    drop_body()
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


-- Whether a changed file would be served: two members more while something is wrong with it.
local function refresh_members()
    local kind, reason = store.trouble()
    if not kind then
        return '"refresh":"ok"'
    end
    return format('"refresh":"failing","refresh_error":"%s","refresh_message":%s', kind,
        encode(reason))
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
        '{"status":"ready","build_id":"%s","generation":%d,"runs":%d,"data_age":%d,%s}',
        opened.build_id, opened.generation, opened.view.runs, age, refresh_members()))
end


-- Answers /readyz by a fallback.
function _M.proxy_readyz()
    if not is_get() then
        return refuse_method(GET_METHODS)
    end
    local answer = relay.ask_readiness()
    if not answer then
        return send_error("unavailable")
    end
    return relay.send(answer)
end


return _M
