-- A template of an nginx configuration. A line that begins with % is Lua; of another line,
-- {{ expression }} is replaced by the expression's value.
--
-- A value cannot change the configuration's structure. Inside quotes it may hold no quote of this
-- kind, no backslash, no dollar sign and no control character. Outside of quotes it is one word of
-- letters, digits and -_.:/=,[], or a list of such words. Any other value is an error.

local concat = table.concat
local error = error
local find, format, gmatch, gsub, match, sub =
    string.find, string.format, string.gmatch, string.gsub, string.match, string.sub
local loadstring, pcall, setfenv = loadstring, pcall, setfenv
local type = type

local WORD = "^[%w%-_.:/=,%[%]]+$"
local UNQUOTABLE = { ['"'] = '["\\$%c]', ["'"] = "['\\$%c]" }


local _M = {}


-- Returns the text of a string or a number for a place inside the quotes `quote`; nil means outside
-- of quotes. Returns nil and what is wrong if it is not allowed there.
local function scalar_text(value, quote)
    local text = type(value) == "number" and format("%.14g", value) or value
    if type(text) ~= "string" then
        return nil, "is " .. type(value)
    elseif quote and find(text, UNQUOTABLE[quote]) or not quote and not find(text, WORD) then
        return nil, "holds a character that is not allowed here"
    end
    return text
end


-- Returns the text of any value. An error has the line of the template.
local function value_text(value, quote, expression)
    local words = type(value) == "table" and not quote and value or { value }
    local texts, problem = {}, nil
    for i = 1, #words do
        texts[i], problem = scalar_text(words[i], quote)
        if problem then
            break
        end
    end
    if problem or #texts == 0 then
        local what = value == nil and "is nil" or "is an empty list"
        error(format("{{ %s }} %s", expression, problem or what), 2)
    end
    return concat(texts, " ")
end


-- The quote that is open after `text`, if `quote` was before it.
local function quote_after(text, quote)
    for character in gmatch(gsub(text, "\\.", ""), "[\"']") do
        if not quote then
            quote = character
        elseif quote == character then
            quote = nil
        end
    end
    return quote
end


-- The Lua of a line of configuration.
local function line_code(line)
    local code, quote, at = {}, nil, 1
    while true do
        local from, to, expression = find(line, "{{%s*(.-)%s*}}", at)
        local literal = sub(line, at, (from or 0) - 1)
        if not from then
            code[#code + 1] = format("_put(%q)", literal)
            return concat(code, " ") .. ' _put("\\n")'
        end
        quote = quote_after(literal, quote)
        code[#code + 1] = format("_put(%q) _put(_value(%s, %s, %q))",
            literal, expression, quote and format("%q", quote) or "nil", expression)
        at = to + 1
    end
end


-- The Lua of a template, whose last line may lack its end.
local function template_code(text)
    local lines = {}
    if sub(text, -1) ~= "\n" then
        text = text .. "\n"
    end
    for line in gmatch(text, "([^\n]*)\n") do
        lines[#lines + 1] = match(line, "^%s*%%(.*)$") or line_code(line)
    end
    -- In the first line, so that errors have the template's line numbers.
    return "local _put, _value = ... " .. concat(lines, "\n")
end


-- Compiles a template; `name` is its name in errors. Returns a function, or nil and what is wrong.
-- The function takes a table with all that the template may use, and returns the text, or nil and
-- what is wrong.
function _M.compile(text, name)
    local chunk, problem = loadstring(template_code(text), "@" .. name)
    if not chunk then
        return nil, problem
    end
    return function(environment)
        local parts = {}
        setfenv(chunk, environment)
        local ok, failure = pcall(chunk, function(part) parts[#parts + 1] = part end, value_text)
        if not ok then
            return nil, failure
        end
        return concat(parts)
    end
end


return _M
