-- Many addresses in one request: they are read from the body and answered into one buffer, without
-- a string or a table for each. All answers come from one generation.

local ffi = require "ffi"
local blob = require "ipgeo.blob"
local ipv4 = require "ipgeo.ipv4"
local json = require "ipgeo.json"


local cast, copy, ffi_string = ffi.cast, ffi.copy, ffi.string
local find, locate = blob.find, blob.locate
local max = math.max
local parse, step, finish = ipv4.parse, ipv4.step, ipv4.finish
local skip_space, skip_value, value_at = json.skip_space, json.skip_value, json.value_at

local bytes_t = ffi.typeof("const uint8_t *")
local buffer_t = ffi.typeof("uint8_t[?]")

local LINE_FEED, RETURN, SPACE = 0x0a, 0x0d, 0x20
local QUOTE, COMMA, CLOSE_BRACKET = 0x22, 0x2c, 0x5d

local HEAD, TAIL = '{"results":[', "]}"
local IP_HEAD, IP_TAIL = '{"ip":"', '",'


local _M = {}

-- What is being written: reused by all requests of this worker, for none of them yields meanwhile.
local buffer, capacity, used = nil, 0, 0


local function reserve(length)
    if used + length > capacity then
        local larger = max(2 * capacity, used + length, 65536)
        local grown = buffer_t(larger)
        if used > 0 then
            copy(grown, buffer, used)
        end
        buffer, capacity = grown, larger
    end
end


local function put(source, length)
    reserve(length)
    copy(buffer + used, source, length)
    used = used + length
end


local function put_byte(byte)
    reserve(1)
    buffer[used] = byte
    used = used + 1
end


-- Begins a response: `view` is where to look up, `errors` has the bodies for `invalid_ip` and
-- `no_data`. What is returned goes through the functions below.
local function start(view, as_object, errors)
    used = 0
    return { view = view, as_object = as_object, errors = errors }
end


-- The answer of the address whose text is the `length` bytes at `ip`; a `high` of nil means that it
-- is none.
local function put_answer(response, high, low, ip, length)
    if not high then
        return put(response.errors.invalid_ip, #response.errors.invalid_ip)
    end
    local view = response.view
    local entry = find(view, high, low)
    if not entry then
        return put(response.errors.no_data, #response.errors.no_data)
    end
    if response.as_object then
        put(IP_HEAD, #IP_HEAD)
        put(ip, length)
        put(IP_TAIL, #IP_TAIL)
        entry = entry + view.locations
    end
    put(locate(view, entry))
end


-- Answers the lines of `body`, LF or CRLF, each with a line. Returns the response's body and the
-- number of lines; a line feed at the end of `body` begins no further one.
function _M.answer_lines(view, body, as_object, errors)
    local text, length = cast(bytes_t, body), #body
    local response = start(view, as_object, errors)
    local address, octet, digits, dots = 0, 0, 0, 0
    local from, count = 0, 0
    for at = 0, length do
        local byte = text[at]
        if byte == LINE_FEED or (at == length and from < length) then
            local high, low = finish(address, octet, digits, dots)
            local stop = at > from and text[at - 1] == RETURN and at - 1 or at
            put_answer(response, high, low, text + from, stop - from)
            put_byte(LINE_FEED)
            address, octet, digits, dots = 0, 0, 0, 0
            from, count = at + 1, count + 1
        elseif byte ~= RETURN or text[at + 1] ~= LINE_FEED then
            address, octet, digits, dots = step(byte, address, octet, digits, dots)
        end
    end
    return used > 0 and ffi_string(buffer, used) or "", count
end


-- Answers an array of strings without escapes that lies between `from` and the bracket at `to`.
-- Returns the response's body and the number of elements, or nil if it is anything else.
local function answer_plain_array(response, text, from, to)
    local address, octet, digits, dots = 0, 0, 0, 0
    local inside, expected, begun, count = false, true, 0, 0
    put(HEAD, #HEAD)
    for at = from, to - 1 do
        local byte = text[at]
        if byte == QUOTE then
            if inside then
                local high, low = finish(address, octet, digits, dots)
                put_answer(response, high, low, text + begun, at - begun)
                count = count + 1
            elseif not expected then
                return nil
            end
            inside, expected, begun = not inside, false, at + 1
            address, octet, digits, dots = 0, 0, 0, 0
        elseif inside then
            if byte < SPACE then
                return nil
            end
            address, octet, digits, dots = step(byte, address, octet, digits, dots)
        elseif byte == COMMA and not expected then
            put_byte(COMMA)
            expected = true
        elseif byte == COMMA or byte > SPACE then
            return nil
        end
    end
    if inside or expected and count > 0 then
        return nil
    end
    put(TAIL, #TAIL)
    return ffi_string(buffer, used), count
end


-- Answers any array; `at` is behind its bracket, and it is known to be valid JSON.
local function answer_any_array(response, text, at)
    local count = 0
    put(HEAD, #HEAD)
    at = skip_space(text, at)
    while text[at] ~= CLOSE_BRACKET do
        local behind = skip_value(text, at, 0)
        local ip = value_at(text, at, behind)
        local high, low = parse(ip)
        put_answer(response, high, low, ip, high and #ip)
        count = count + 1
        at = skip_space(text, behind)
        if text[at] == COMMA then
            put_byte(COMMA)
            at = skip_space(text, at + 1)
        end
    end
    put(TAIL, #TAIL)
    return ffi_string(buffer, used), count
end


-- Answers the elements of an array in `body`; `span` is what read_batch says of it. Returns the
-- response's body and the number of elements, or nil for a body that is not valid.
function _M.answer_array(view, body, span, as_object, errors)
    local text = cast(bytes_t, body)
    local response = start(view, as_object, errors)
    if span.plain_to then
        return answer_plain_array(response, text, span.at + 1, span.plain_to)
    end
    return answer_any_array(response, text, span.at + 1)
end


-- Reads a body as json.read_object does. Where the member `ips` is an array of nothing but quoted
-- digits and dots, its content is left out of that: answer_array looks at each of its bytes anyway.
-- `members.ips` then has `plain_to`, the position of its closing bracket.
function _M.read_body(body, wanted, members)
    local from, to = body:find('"ips"[ \t\r\n]*:[ \t\r\n]*%[["%d., \t\r\n]*%]')
    if not from then
        return json.read_object(body, wanted, members)
    end
    local bracket = body:find("[", from, true)
    local skeleton = body:sub(1, bracket) .. body:sub(to)
    local valid, repeated = json.read_object(skeleton, wanted, members)
    local ips = members.ips
    if valid and ips and ips.at == bracket - 1 then
        ips.plain_to = to - 1
    end
    return valid, repeated
end


return _M
