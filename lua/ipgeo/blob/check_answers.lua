-- Checks what answers are made of: the texts, the cells of the rows, and that the pieces of a form
-- make up no more than an answer may have. The bytes may change while they are read: no number that
-- was read leads out of the blob (see view.lua).

local ffi = require "ffi"
local bit = require "bit"
local number = require "ipgeo.blob.number"
local pieces = require "ipgeo.blob.pieces"
local shapes = require "ipgeo.blob.shape"
local views = require "ipgeo.blob.view"


local band = bit.band
local cast = ffi.cast
local format = string.format
local max = math.max

local MAX_ANSWER = pieces.MAX_ANSWER
-- How many bytes or elements are checked between two calls of `on_slice`.
local SLICE = 65536

local OPEN_BRACKET, CLOSE_BRACKET, QUOTE, CLOSE_BRACE = 0x5b, 0x5d, 0x22, 0x7d
-- The first and the last byte of the forms that are sent.
local ENDS = {
    [views.ARRAY] = { OPEN_BRACKET, CLOSE_BRACKET },
    [views.OBJECT] = { QUOTE, CLOSE_BRACE },
}

local CELL_TYPES = {
    [1] = ffi.typeof("const uint8_t *"),
    [2] = ffi.typeof("const uint16_t *"),
    [4] = ffi.typeof("const int32_t *"),
}


local _M = {}


function _M.check_offsets(view, on_slice)
    local offset, texts = view.offset, view.texts
    if offset[0] ~= 0 or offset[texts] ~= view.heap_size then
        return nil, "offset does not span the heap"
    end
    for text = 0, texts - 1 do
        if offset[text] > offset[text + 1] then
            return nil, "offset descends"
        end
        if band(text, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


-- A line feed in an answer would break the answers of a batch of lines apart.
function _M.check_heap(view, on_slice)
    local heap = view.heap
    for at = 0, view.heap_size - 1 do
        if heap[at] < 0x20 then
            return nil, format("byte %d of the heap is a control character", at)
        end
        if band(at, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


local function check_column(view, column, on_slice)
    local limit, size = column.limit, view.row_size
    local cell_t, cell = CELL_TYPES[column.width], view.row + column.at
    for row = 0, view.rows - 1 do
        local entry = cast(cell_t, cell)[0]
        if entry < 0 or entry >= limit then
            return nil, format("row %d names an entry that is not there", row)
        end
        cell = cell + size
        if band(row, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


function _M.check_cells(view, on_slice, shape)
    for i = 0, shape.column_count - 1 do
        local column = shape.columns[i]
        if column.kind == shapes.ENTRY and column.width > 0 then
            local ok, err = check_column(view, column, on_slice)
            if not ok then
                return nil, err
            end
        end
    end
    return true
end


-- The first text of a piece, and how many it may be.
local function texts_of(shape, piece)
    if piece.kind == shapes.CONSTANT then
        return piece.arg, 1
    end
    local entries = shape.tables[piece.arg]
    return entries.first, shape.columns[entries.column].limit
end


local function longest_text(view, first, count, on_slice)
    local offset, longest = view.offset, 0
    for text = first, first + count - 1 do
        longest = max(longest, offset[text + 1] - offset[text])
        if band(text, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return longest
end


-- The longest that a piece may be, in bytes; `known` has those of tables.
local function longest_piece(view, shape, piece, known, on_slice)
    if piece.kind == shapes.CELL then
        return number.MAX
    end
    local first, count = texts_of(shape, piece)
    if piece.kind == shapes.CONSTANT then
        return longest_text(view, first, count, on_slice)
    end
    known[piece.arg] = known[piece.arg] or longest_text(view, first, count, on_slice)
    return known[piece.arg]
end


function _M.check_lengths(view, on_slice, shape)
    local known = {}
    for i = 0, shape.form_count - 1 do
        local form, sum = shape.forms[i], 0
        for j = form.first, form.first + form.count - 1 do
            sum = sum + longest_piece(view, shape, shape.pieces[j], known, on_slice)
        end
        if sum > MAX_ANSWER then
            return nil, format("answers of %.0f bytes (limit %d)", sum, MAX_ANSWER)
        end
    end
    return true
end


-- Whether each text of a piece has `byte` for its first byte, or its last one if `at_end`; any byte
-- if that is nil.
local function check_end(view, shape, piece, byte, at_end, on_slice)
    local offset, heap, size = view.offset, view.heap, view.heap_size
    local first, count = texts_of(shape, piece)
    for text = first, first + count - 1 do
        local from, to = offset[text], offset[text + 1]
        if from < 0 or to > size or from >= to then
            return nil, format("text %d is empty", text)
        elseif byte and heap[at_end and to - 1 or from] ~= byte then
            return nil, format("text %d makes an answer that is not JSON", text)
        end
        if band(text, SLICE - 1) == 0 then
            on_slice()
        end
    end
    return true
end


function _M.check_ends(view, on_slice, shape)
    for i = 0, shape.form_count - 1 do
        local form, ends = shape.forms[i], ENDS[i] or {}
        local first = shape.pieces[form.first]
        local ok, err = check_end(view, shape, first, ends[1], false, on_slice)
        if ok then
            local last = shape.pieces[form.first + form.count - 1]
            ok, err = check_end(view, shape, last, ends[2], true, on_slice)
        end
        if not ok then
            return nil, err
        end
    end
    return true
end


return _M
