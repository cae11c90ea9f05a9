-- Text of settings: how it is shown in messages, lists, and paths.

local posix = require "posix"


local byte, find, format, gsub, match, sub =
    string.byte, string.find, string.format, string.gsub, string.match, string.sub
local concat = table.concat

-- What nginx, Lua or (%) supervisor would take for syntax or for a pattern, even inside quotes.
local UNSAFE = "[%[%]'\"`\\$;{}*?<>%%%c]"

-- Valid UTF-8 of more than one byte (RFC 3629): ranges of the first and second byte, and how many
-- more there are.
local SEQUENCES = {
    { "^[\194-\223][\128-\191]", 2 },
    { "^\224[\160-\191][\128-\191]", 3 },
    { "^[\225-\236\238\239][\128-\191][\128-\191]", 3 },
    { "^\237[\128-\159][\128-\191]", 3 },
    { "^\240[\144-\191][\128-\191][\128-\191]", 4 },
    { "^[\241-\243][\128-\191][\128-\191][\128-\191]", 4 },
    { "^\244[\128-\143][\128-\191][\128-\191]", 4 },
}


local _M = {}


-- The length in bytes of the valid UTF-8 at `start`; nil if there is none.
local function sequence_length(text, start)
    if byte(text, start) < 128 then
        return 1
    end
    for i = 1, #SEQUENCES do
        if find(text, SEQUENCES[i][1], start) then
            return SEQUENCES[i][2]
        end
    end
end


-- The text as a message has it: what a terminal would obey, and what is not UTF-8, becomes \xNN.
function _M.shown(text)
    local parts, at = {}, 1
    while at <= #text do
        local length = sequence_length(text, at)
        local part = sub(text, at, at + (length or 1) - 1)
        if not length or find(part, "%c") then
            part = format("\\x%02x", byte(part))
        end
        parts[#parts + 1] = part
        at = at + (length or 1)
    end
    return concat(parts)
end


-- The entries of a list with commas, without the spaces around them; nil and what is wrong.
function _M.entries(text)
    if find(text, "%c") then
        return nil, " holds a control character"
    end
    local entries = {}
    if text == "" then
        return entries
    end
    for part in (text .. ","):gmatch("([^,]*),") do
        local entry = match(part, "^ *(.-) *$")
        if entry == "" then
            return nil, format(" has an empty entry: '%s'", _M.shown(text))
        end
        entries[#entries + 1] = entry
    end
    return entries
end


-- Whether a path holds nothing that a program would take for syntax.
function _M.is_safe_path(path)
    return not find(path, UNSAFE)
end


-- The path from the root, without `.`, `..` and repeated slashes; links are not looked at. Returns
-- nil and what is wrong where it is relative to a folder that cannot be found.
function _M.absolute(path)
    if byte(path) ~= byte("/") then
        local folder, problem = posix.current_folder()
        if not folder then
            return nil, " is relative, and the current folder cannot be found: " .. problem
        end
        path = concat { folder, "/", path }
    end
    local parts = {}
    gsub(path, "[^/]+", function(part)
        if part == ".." then
            parts[#parts] = nil
        elseif part ~= "." then
            parts[#parts + 1] = part
        end
    end)
    return "/" .. concat(parts, "/")
end


return _M
