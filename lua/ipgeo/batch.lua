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
local read_object, value_at = json.read_object, json.value_at
local skip_space, skip_value = json.skip_space, json.skip_value
local find_text, sub = string.find, string.sub

local bytes_t = ffi.typeof("const uint8_t *")
local buffer_t = ffi.typeof("uint8_t[?]")

local LINE_FEED, RETURN, SPACE = 0x0a, 0x0d, 0x20
local QUOTE, COMMA, CLOSE_BRACKET = 0x22, 0x2c, 0x5d

local HEAD, TAIL = '{"results":[', "]}"
local PLAIN_ARRAY = '"ips"[ \t\r\n]*:[ \t\r\n]*%[["%d., \t\r\n]*%]'
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


-- Answers the array at `ips.at`, in a body that is known to be valid JSON. Returns the response's
-- body and the number of elements.
function _M.answer_array(view, body, ips, as_object, errors)
    local text = cast(bytes_t, body)
    local response = start(view, as_object, errors)
    local count = 0
    put(HEAD, #HEAD)
    local at = skip_space(text, ips.at + 1)
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


-- Reads a body whose member `ips` is an array of nothing but digits, dots, quotes and commas. What
-- is between its brackets is not looked at: answer_plain_array does that anyway. Returns the wanted
-- members, with the position of the closing bracket in `ips.last`; or nil, which says nothing about
-- the body but that it takes json.read_object to read it.
function _M.read_plain(body, wanted)
    local from, to = find_text(body, PLAIN_ARRAY)
    if not from then
        return nil
    end
    local bracket = find_text(body, "[", from, true)
    local members = {}
    local skeleton = sub(body, 1, bracket) .. sub(body, to)
    local valid, repeated = read_object(skeleton, wanted, members)
    local ips = members.ips
    if not valid or repeated or not ips or ips.at ~= bracket - 1 then
        return nil
    end
    ips.last = to - 1
    return members
end


-- Answers the array that read_plain has found. Returns the response's body and the number of
-- elements, or nil if there is more between the brackets than strings and commas.
function _M.answer_plain_array(view, body, ips, as_object, errors)
    local text = cast(bytes_t, body)
    local response = start(view, as_object, errors)
    local address, octet, digits, dots = 0, 0, 0, 0
    local inside, expected, begun, count = false, true, 0, 0
    put(HEAD, #HEAD)
    for at = ips.at + 1, ips.last - 1 do
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


return _M
