-- Puts an answer together from the pieces of its form.
--
-- For each sequence of kinds of pieces, a function is generated that calls one function a piece:
-- LuaJIT compiles it as straight code, where a short loop over the pieces takes twice the time. All
-- else about a piece (which cell, which texts) is data of the view, so the next generation of a
-- database uses the same function and its compiled code.
--
-- The functions here have no branch that depends on what they read, for the code after each branch
-- is compiled once for each side. `return (f())` is no tail call: LuaJIT gives up after some of
-- those.

local ffi = require "ffi"
local bit = require "bit"
local number = require "ipgeo.blob.number"


local cast, copy = ffi.cast, ffi.copy
local concat, format = table.concat, string.format
local loadstring = loadstring
local max, min = math.max, math.min
local put_number = number.put
local rshift = bit.rshift

-- The longest answer in bytes. What comes after it is cut off: a sound blob has nothing there.
local MAX_ANSWER = 65535
local MAX_NUMBER = number.MAX

local i32_t = ffi.typeof("const int32_t *")


-- ROOM is how many bytes the target of an answer needs.
local _M = { MAX_ANSWER = MAX_ANSWER, ROOM = MAX_ANSWER + number.SPILL }


-- Returns where a text of the heap lies, a pointer and a length, for a sound text number.
local function locate(view, text)
    local size = view.heap_size
    local from = max(min(view.offset[text], size), 0)
    return view.heap + from, max(min(view.offset[text + 1], size) - from, 0)
end
_M.locate = locate


local function put_text(view, text, target, at)
    local source, length = locate(view, text)
    length = min(length, MAX_ANSWER - at)
    copy(target + at, source, length)
    return at + length
end


-- The cell that a piece names: the last bytes of a 32-bit word, which may begin before the row,
-- where there is always something of the blob, but does not end after it.
local function read_cell(piece, cells)
    return (rshift(cast(i32_t, cells + piece.at)[0], piece.shift))
end


-- By kind: writes a piece to `target` from `at` on and returns the position after it.
local PUT = {
    CONSTANT = function(view, piece, _, target, at)
        return (put_text(view, piece.text, target, at))
    end,
    TABLE = function(view, piece, cells, target, at)
        local entry = max(min(read_cell(piece, cells), piece.last), 0)
        return (put_text(view, piece.text + entry, target, at))
    end,
    ROW = function(view, piece, _, target, at, row)
        return (put_text(view, piece.text + row, target, at))
    end,
    CELL = function(_, piece, cells, target, at)
        local value = cast(i32_t, cells + piece.at)[0]
        return (put_number(target, min(at, MAX_ANSWER - MAX_NUMBER), value, piece.decimals))
    end,
}


local BEGIN = "local PUT = ...\n"
    .. "local CONSTANT, TABLE, ROW, CELL = PUT.CONSTANT, PUT.TABLE, PUT.ROW, PUT.CELL\n"
    .. "return function(view, piece, cells, target, row)\nlocal at = 0\n"
local STEP = "at = %s(view, piece[%d], cells, target, at, row)\n"
local END = "return at\nend"

local numbers = {} -- by the source code
local functions = {}


-- Returns the number of the function that puts pieces of these kinds (names in PUT) together. It
-- takes a view, its first piece, the cells of the row, where the answer is to go and the row's
-- number, and returns the answer's length.
function _M.function_number(kinds)
    local steps = {}
    for i = 1, #kinds do
        steps[i] = format(STEP, kinds[i], i - 1)
    end
    local code = BEGIN .. concat(steps) .. END
    if not numbers[code] then
        functions[#functions + 1] = loadstring(code)(PUT)
        numbers[code] = #functions
    end
    return numbers[code]
end


-- The functions by their number.
_M.functions = functions


return _M
