-- The section `shape`: how the cells of a row and the texts of the heap make up an answer. See
-- docs/blob-format.md.
--
-- Every number is read once and checked as read, for the bytes may change at any time. What a shape
-- names is inside the blob as long as the cells are: those are clamped where they are read.

local ffi = require "ffi"


local cast = ffi.cast
local format = string.format
local tonumber = tonumber

-- The kinds of columns and of pieces.
local ENTRY, NUMBER = 0, 1
local CONSTANT, TABLE, CELL = 0, 1, 2

local COUNTS = 6
local MAX_COLUMNS, MAX_TABLES, MAX_FORMS, MAX_PIECES = 64, 256, 64, 1024
local MIN_FORMS = 2
local MAX_DECIMALS = 9
local MAX_ROWS = 0x7fffffff
local WIDTHS = { [1] = true, [2] = true, [4] = true }

local words_t = ffi.typeof("const uint32_t *")


local _M = { ENTRY = ENTRY, NUMBER = NUMBER, CONSTANT = CONSTANT, TABLE = TABLE, CELL = CELL }


-- Reads `count` groups of words from word `at` on into tables with the members `names`; the first
-- one has the index 0. Returns them and the position after them.
local function read_groups(words, at, count, names)
    local groups = {}
    for i = 0, count - 1 do
        local group = {}
        for j = 1, #names do
            group[names[j]] = tonumber(words[at])
            at = at + 1
        end
        groups[i] = group
    end
    return groups, at
end


-- Returns the shape in the `length` bytes at `base`, its parts not yet looked at; or nil and what
-- is wrong.
local function read(base, length)
    if length % 4 ~= 0 or length < COUNTS * 4 then
        return nil, format("shape has %d bytes", length)
    end
    local words = cast(words_t, base)
    local columns, tables = tonumber(words[2]), tonumber(words[3])
    local forms, pieces = tonumber(words[4]), tonumber(words[5])
    if columns > MAX_COLUMNS or tables > MAX_TABLES
        or forms < MIN_FORMS or forms > MAX_FORMS or pieces > MAX_PIECES
    then
        return nil, format("shape has %d columns, %d tables, %d forms and %d pieces", columns,
            tables, forms, pieces)
    end
    if length / 4 ~= COUNTS + 4 * columns + 2 * tables + 2 * forms + 2 * pieces then
        return nil, "shape does not have the length of its parts"
    end
    local shape = { rows = tonumber(words[0]), row_size = tonumber(words[1]) }
    shape.column_count, shape.table_count = columns, tables
    shape.form_count, shape.piece_count = forms, pieces
    local at = COUNTS
    shape.columns, at = read_groups(words, at, columns, { "kind", "at", "width", "limit" })
    shape.tables, at = read_groups(words, at, tables, { "column", "first" })
    shape.forms, at = read_groups(words, at, forms, { "first", "count" })
    shape.pieces = read_groups(words, at, pieces, { "kind", "arg" })
    return shape
end


-- Whether the section `row`, of `row_bytes` bytes or nil, is what the shape says.
local function check_rows(shape, _, row_bytes)
    if shape.rows > MAX_ROWS then
        return false, format("shape has %.0f rows", shape.rows)
    elseif shape.row_size == 0 then
        return row_bytes == nil, "section row is there, and shape has no bytes for a row"
    elseif row_bytes == nil then
        return false, "section row is missing"
    end
    return shape.rows * shape.row_size == row_bytes, "section row does not fit the rows"
end


-- A column without bytes is the row's own number.
local function is_sound(column, shape)
    if column.at + column.width > shape.row_size then
        return false
    elseif column.width == 0 then
        return column.kind == ENTRY and column.at == 0 and column.limit == shape.rows
    elseif column.kind == NUMBER then
        return column.width == 4 and column.limit <= MAX_DECIMALS
    end
    return column.kind == ENTRY and WIDTHS[column.width] and column.limit <= MAX_ROWS
end


local function overlap(a, b)
    return a.at < b.at + b.width and b.at < a.at + a.width or a.width + b.width == 0
end


local function check_columns(shape)
    local columns = shape.columns
    for i = 0, shape.column_count - 1 do
        if not is_sound(columns[i], shape) then
            return false, format("column %d of shape is not valid", i)
        end
        for j = 0, i - 1 do
            if overlap(columns[i], columns[j]) then
                return false, format("columns %d and %d of shape overlap", j, i)
            end
        end
    end
    return true
end


local function check_tables(shape, texts)
    for i = 0, shape.table_count - 1 do
        local one = shape.tables[i]
        local column = one.column < shape.column_count and shape.columns[one.column]
        if not column or column.kind ~= ENTRY then
            return false, format("table %d of shape has no column of entries", i)
        elseif one.first + column.limit > texts then
            return false, format("table %d of shape has more entries than there are texts", i)
        end
    end
    return true
end


local function is_piece_sound(shape, piece, texts)
    if piece.kind == CONSTANT then
        return piece.arg < texts
    elseif piece.kind == TABLE then
        return piece.arg < shape.table_count
    end
    return piece.kind == CELL and piece.arg < shape.column_count
        and shape.columns[piece.arg].kind == NUMBER
end


local function check_pieces(shape, texts)
    for i = 0, shape.piece_count - 1 do
        if not is_piece_sound(shape, shape.pieces[i], texts) then
            return false, format("piece %d of shape is not valid", i)
        end
    end
    return true
end


local function check_forms(shape)
    local next_piece = 0
    for i = 0, shape.form_count - 1 do
        local form = shape.forms[i]
        local first, stop = form.first, form.first + form.count
        if first ~= next_piece or form.count < 1 or stop > shape.piece_count then
            return false, format("form %d of shape has no pieces of its own", i)
        elseif shape.pieces[first].kind == CELL or shape.pieces[stop - 1].kind == CELL then
            return false, format("form %d of shape begins or ends with a number", i)
        end
        next_piece = stop
    end
    return next_piece == shape.piece_count, "a piece of shape belongs to no form"
end


local CHECKS = { check_rows, check_columns, check_tables, check_pieces, check_forms }


-- Returns the shape in the `length` bytes at `base`: `rows`, `row_size`, and by number from 0 on
-- `columns` (kind, at, width, limit), `tables` (column, first), `forms` (first piece, count) and
-- `pieces` (kind, arg), with the number of each in `column_count` and so on. Returns nil and what
-- is wrong if it does not fit `texts` texts and `row_bytes` bytes of rows (nil: no such section).
function _M.read(base, length, texts, row_bytes)
    local shape, err = read(base, length)
    if not shape then
        return nil, err
    end
    for i = 1, #CHECKS do
        local ok, problem = CHECKS[i](shape, texts, row_bytes)
        if not ok then
            return nil, problem
        end
    end
    return shape
end


return _M
