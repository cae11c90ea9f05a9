-- The answer of a row. Of a small blob it is a text of the heap, of others it is put together.

local ffi = require "ffi"
local pieces = require "ipgeo.blob.pieces"


local cast, ffi_string = ffi.cast, ffi.string
local functions, locate_text = pieces.functions, pieces.locate

local bytes_t = ffi.typeof("const uint8_t *")
local scratch = ffi.new("uint8_t[?]", pieces.ROOM)
-- The only cell of a row without bytes: its number. Of variable length, for LuaJIT 2.1.0-beta3
-- takes a fixed array of up to 16 bytes for a constant, and then loses it in `address + offset`.
local row_number = ffi.new("int32_t[?]", 1)


-- MAX is the longest answer in bytes, ROOM how many bytes `put` needs.
local _M = { MAX = pieces.MAX_ANSWER, ROOM = pieces.ROOM }


-- Where the answer of a row lies, a pointer and a length, in a view that `is_whole`. `form` is
-- view.ARRAY or view.OBJECT; the object is without its `{"ip":"A",`.
function _M.locate(view, row, form)
    local source, length = locate_text(view, view.form[form].text + row)
    return source, length
end


local function cells_of(view, row)
    local size = view.row_size
    if size == 0 then
        row_number[0] = row
        return cast(bytes_t, row_number)
    end
    return view.row + row * size
end


-- Writes the same answer to `target`, for any view. Returns its length.
function _M.put(view, row, form, target)
    local parts = view.form[form]
    local put_all = functions[parts.put_all]
    return (put_all(view, view.piece + parts.first, cells_of(view, row), target))
end


-- The same answer as a Lua string.
function _M.text(view, row, form)
    if view.is_whole ~= 0 then
        return (ffi_string(_M.locate(view, row, form)))
    end
    return (ffi_string(scratch, _M.put(view, row, form, scratch)))
end


return _M
