-- Opens a blob: a view has pointers to its sections and the numbers that every access is clamped
-- to. The layout is in docs/blob-format.md; compiler/ipgeo/blob/ writes and reads the same bytes.
-- Runs under plain luajit too, without nginx.
--
-- The bytes may lie in memory that another process is overwriting. The caller checks its sequence
-- lock before it uses what was read. Every access is clamped to the sizes in the view, so that
-- nothing is read from outside the blob before that check.

local ffi = require "ffi"
local headers = require "ipgeo.blob.header"
local pieces = require "ipgeo.blob.pieces"
local sections = require "ipgeo.blob.sections"
local shapes = require "ipgeo.blob.shape"


local cast = ffi.cast
local tonumber = tonumber

local ARRAY, OBJECT = 0, 1

-- Signed where the format says unsigned: `open` refuses blobs over 2 GiB, and LuaJIT computes with
-- int32 in integer registers, with uint32 in doubles.
local view_t = ffi.typeof([[
    struct {
        const int32_t *index, *index6;
        const uint16_t *low;
        const int64_t *high6, *low6;
        const uint16_t *record16, *record6_16;
        const int32_t *record32, *record6_32;
        const int32_t *offset;
        const uint8_t *heap, *row;
        int32_t runs, wide, runs6, wide6;
        int32_t rows, row_size, texts, heap_size;
        struct { int32_t first, put_all, text, is_whole; } form[2];
        struct { int32_t at, shift, last, text, decimals; } piece[?];
    }]])
local i32_t = ffi.typeof("const int32_t *")
local i64_t = ffi.typeof("const int64_t *")
local u16_t = ffi.typeof("const uint16_t *")
local u8_t = ffi.typeof("const uint8_t *")


-- ARRAY and OBJECT are the numbers of the forms.
local _M = { ARRAY = ARRAY, OBJECT = OBJECT }


local function set_runs(view, base, found, counts)
    view.runs, view.wide = counts.runs4, counts.width4 == 4 and 1 or 0
    view.index = cast(i32_t, base + found.v4index.offset)
    view.low = cast(u16_t, base + found.v4low.offset)
    view.record16 = cast(u16_t, base + found.v4record.offset)
    view.record32 = cast(i32_t, base + found.v4record.offset)
end


local function set_runs_6(view, base, found, counts)
    view.runs6, view.wide6 = counts.runs6, counts.width6 == 4 and 1 or 0
    view.index6 = cast(i32_t, base + found.v6index.offset)
    view.high6 = cast(i64_t, base + found.v6high.offset)
    view.low6 = cast(i64_t, base + found.v6low.offset)
    view.record6_16 = cast(u16_t, base + found.v6record.offset)
    view.record6_32 = cast(i32_t, base + found.v6record.offset)
end


-- Where a cell is, as pieces.lua reads it: before its end, and the other bits of a 32-bit word.
local function set_cell(to, column)
    to.at, to.shift = column.at + column.width - 4, 32 - 8 * column.width
end


-- Sets how a piece is read, and returns its kind.
local function set_piece(to, piece, shape)
    if piece.kind == shapes.CONSTANT then
        to.text = piece.arg
        return "CONSTANT"
    elseif piece.kind == shapes.TABLE then
        local entries = shape.tables[piece.arg]
        local column = shape.columns[entries.column]
        to.text = entries.first
        if column.width == 0 then
            return "ROW"
        end
        set_cell(to, column)
        to.last = column.limit - 1
        return "TABLE"
    end
    local column = shape.columns[piece.arg]
    set_cell(to, column)
    to.decimals = column.limit
    return "CELL"
end


-- Sets the pieces of a form, whose answers may be whole texts, by row number.
local function set_form(view, shape, number)
    local to, from = view.form[number], shape.forms[number]
    local kinds = {}
    for i = 0, from.count - 1 do
        local piece = from.first + i
        kinds[i + 1] = set_piece(view.piece[piece], shape.pieces[piece], shape)
    end
    to.first, to.put_all = from.first, pieces.function_number(kinds)
    to.text = view.piece[from.first].text
    to.is_whole = #kinds == 1 and kinds[1] == "ROW" and 1 or 0
end


local function set_shape(view, shape)
    view.rows, view.row_size = shape.rows, shape.row_size
    for number = ARRAY, OBJECT do
        set_form(view, shape, number)
    end
end


-- Returns the sections and how many elements they have, or nil and what is wrong.
local function read_sections(base, length)
    local header, err = headers.read(base, length)
    if not header then
        return nil, err
    end
    local found
    found, err = sections.read(base, length, tonumber(header.sections))
    if not found then
        return nil, err
    end
    local counts
    counts, err = sections.measure(found)
    return counts and found, counts or err
end


-- Opens `length` bytes, at most header.MAX_BLOB, at `base` (any pointer; the caller keeps the
-- memory alive): reads the header, the section table and the shape only. Returns the view and the
-- shape, or nil and what is wrong.
function _M.open(base, length)
    base = cast(u8_t, base)
    local found, counts = read_sections(base, length)
    if not found then
        return nil, counts
    end
    local row = found.row
    local shape, err = shapes.read(base + found.shape.offset, found.shape.length, counts.texts,
        row and row.length)
    if not shape then
        return nil, err
    end
    local view = view_t(shape.piece_count)
    set_runs(view, base, found, counts)
    if counts.runs6 > 0 then
        set_runs_6(view, base, found, counts)
    end
    view.offset = cast(i32_t, base + found.offset.offset)
    view.heap = cast(u8_t, base + found.heap.offset)
    view.row = base + (row and row.offset or 0)
    view.texts, view.heap_size = counts.texts, found.heap.length
    set_shape(view, shape)
    return view, shape
end


return _M
