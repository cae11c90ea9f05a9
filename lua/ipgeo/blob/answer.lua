-- The answer of a row. It is a text of the heap where the form's answers are whole, else it is put
-- together.

local ffi = require "ffi"
local pieces = require "ipgeo.blob.pieces"


local ffi_string = ffi.string
local functions, locate_text = pieces.functions, pieces.locate

local scratch = ffi.new("uint8_t[?]", pieces.ROOM)


-- MAX is the longest answer in bytes, ROOM how many bytes `put` needs.
local _M = { MAX = pieces.MAX_ANSWER, ROOM = pieces.ROOM }


-- Whether the answers of a form, view.ARRAY or view.OBJECT, are whole.
function _M.is_whole(view, form)
    return view.form[form].is_whole ~= 0
end


-- Where the answer of a row lies, a pointer and a length, if the form is whole. The object is
-- without its `{"ip":"A",`.
function _M.locate(view, row, form)
    local source, length = locate_text(view, view.form[form].text + row)
    return source, length
end


-- Writes the same answer to `target`, whole or not. Returns its length.
function _M.put(view, row, form, target)
    local parts = view.form[form]
    local put_all = functions[parts.put_all]
    local cells = view.row + row * view.row_size
    return (put_all(view, view.piece + parts.first, cells, target, row))
end


-- The same answer as a Lua string.
function _M.text(view, row, form)
    if _M.is_whole(view, form) then
        return (ffi_string(_M.locate(view, row, form)))
    end
    return (ffi_string(scratch, _M.put(view, row, form, scratch)))
end


return _M
