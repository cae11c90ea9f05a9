-- Asks the edge's own `find` for every one of the 2^32 addresses, in order, and prints where the
-- location changes, and the answer of each location:
--
--     change ADDRESS LOCATION        (LOCATION -1: no data)
--     answer LOCATION ARRAY<TAB>MEMBERS
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

-- Load nothing from the current folder: Lua's default path begins there.
package.path = arg[1] .. "/?.lua;" .. arg[1] .. "/?/init.lua"
package.cpath = ""

local blob = require "ipgeo.blob.view"
local check = require "ipgeo.blob.check"
local header = require "ipgeo.blob.header"


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


local function sweep(view)
    local find = blob.find
    local seen = {}
    local before
    for high = 0, 65535 do
        for low = 0, 65535 do
            local location = find(view, high, low) or -1
            if location ~= before then
                io.write("change ", ("%.0f"):format(high * 65536 + low), " ", location, "\n")
                seen[location] = true
                before = location
            end
        end
    end
    return seen
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
    for location in pairs(sweep(view)) do
        if location >= 0 then
            io.write("answer ", location, " ", blob.answer(view, location), "\t",
                blob.answer(view, view.locations + location), "\n")
        end
    end
    return 0, content -- returned so that what the view points into lives until here
end


os.exit((main(arg[2])))
