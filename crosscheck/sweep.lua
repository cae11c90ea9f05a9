-- Asks the edge's own `find` for every one of the 2^32 IPv4 addresses, in order, and prints where
-- the row changes and what each row answers:
--
--     change ADDRESS ROW        (ROW -1: no data)
--     answer ROW ARRAY<TAB>MEMBERS
--
-- Of a blob with IPv6 it asks `find6` for the first and the last address of each /16, and for each
-- run's first address and the one before it: between those the answer cannot change. ADDRESS has 32
-- hexadecimal digits:
--
--     change6 ADDRESS ROW
--
-- usage: luajit sweep.lua LUA_FOLDER BLOB

local ffi = require "ffi"

local USAGE = "usage: luajit sweep.lua LUA_FOLDER BLOB"

if arg[1] == "-h" or arg[1] == "--help" then
    print(USAGE)
    os.exit(0)
elseif #arg ~= 2 then
    io.stderr:write(USAGE, "\n")
    os.exit(2)
end

-- Nothing from the current folder, in which Lua's own path begins.
package.path = arg[1] .. "/?.lua;" .. arg[1] .. "/?/init.lua"
package.cpath = ""

local bit = require "bit"
local answers = require "ipgeo.blob.answer"
local check = require "ipgeo.blob.check"
local find = require "ipgeo.blob.find"
local find6 = require "ipgeo.blob.find6"
local header = require "ipgeo.blob.header"
local views = require "ipgeo.blob.view"


ffi.cdef "void (*signal(int number, void (*handler)(int)))(int);"
local SIGINT = 2
-- Ctrl-C ends it like any other program: luajit's own handler would print a traceback.
ffi.C.signal(SIGINT, nil)


local function read_file(path)
    local handle, err = io.open(path, "rb")
    if not handle then
        return nil, err
    end
    local size = handle:seek("end")
    local content
    if size and size <= header.MAX_BLOB then
        handle:seek("set")
        content, err = handle:read("*a")
    elseif size then
        err = ("%.0f bytes, a blob has at most %d"):format(size, header.MAX_BLOB)
    end
    handle:close()
    return content, err or "cannot be read"
end


-- Rows that were found are added to `seen`.
local function sweep(view, seen)
    local before
    for high = 0, 65535 do
        for low = 0, 65535 do
            local row = find(view, high, low) or -1
            if row ~= before then
                io.write("change ", ("%.0f"):format(high * 65536 + low), " ", row, "\n")
                seen[row] = true
                before = row
            end
        end
    end
end


local bytes = ffi.new("uint8_t[?]", 16)
local words = ffi.cast("uint64_t *", bytes)


-- A function that looks an IPv6 address up, given by its upper and its lower 64 bits, and prints it
-- if its row is another one than that of the address before.
local function asker(view, seen)
    local before
    return function(high, low)
        words[0], words[1] = bit.bswap(high), bit.bswap(low)
        local row = find6(view, bytes) or -1
        if row ~= before then
            io.write("change6 ", bit.tohex(high), bit.tohex(low), " ", row, "\n")
            seen[row] = true
            before = row
        end
    end
end


local function sweep_6(view, seen)
    local ask = asker(view, seen)
    local highs, lows = view.high6, view.low6
    for bucket = 0, 65535 do
        local first = bit.lshift(0ULL + bucket, 48)
        ask(first, 0ULL)
        for run = view.index6[bucket], view.index6[bucket + 1] - 1 do
            local high, low = ffi.cast("uint64_t", highs[run]), ffi.cast("uint64_t", lows[run])
            if low > 0 then
                ask(high, low - 1)
            elseif high > first then
                ask(high - 1, 0ULL - 1)
            end
            ask(high, low)
        end
        ask(bit.bor(first, 0xffffffffffffULL), 0ULL - 1)
    end
end


local function main(path)
    local content, err = read_file(path)
    local view
    if content then
        view, err = check.whole(ffi.cast("const uint8_t *", content), #content)
    end
    if not view then
        io.stderr:write(path, ": ", err, "\n")
        return 1
    end
    local seen = {}
    sweep(view, seen)
    if view.runs6 > 0 then
        sweep_6(view, seen)
    end
    for row in pairs(seen) do
        if row >= 0 then
            io.write("answer ", row, " ", answers.text(view, row, views.ARRAY), "\t",
                answers.text(view, row, views.OBJECT), "\n")
        end
    end
    return 0, content -- returned so that what the view points into lives until here
end


os.exit((main(arg[2])))
