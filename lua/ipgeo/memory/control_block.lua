-- The layout of an arena's control block, and the texts in it: fields of fixed length, padded with
-- NULs.

local ffi = require "ffi"


local cast, copy, ffi_string = ffi.cast, ffi.copy, ffi.string

-- The lengths of the texts, in bytes.
local BUILD_ID, FINGERPRINT, MESSAGE = 32, 128, 128


local _M = { BUILD_ID = BUILD_ID, FINGERPRINT = FINGERPRINT, MESSAGE = MESSAGE }


-- A pointer to a control block. After a HUP the old workers still use it. So a change of this
-- layout, of the slots' places or of the blob's bytes needs another `memory_layout` in
-- contract/limits.json: it is in the dict's name and in the magic.
_M.pointer_t = ffi.typeof([[
    struct {
        char magic[8];
        int32_t generation;
        int32_t refused_set;
        int64_t mutex[8];
        struct {
            int32_t seq;
            int32_t length;
            char build_id[$];
            double mtime;
            char fingerprint[$];
        } slot[2];
        char refused[$];
        char refused_reason[$];
        int32_t error_seq;
        int32_t error_kind;
        char error_message[$];
    } *]], BUILD_ID, FINGERPRINT, FINGERPRINT, MESSAGE, MESSAGE)


-- All `length` bytes of a field.
function _M.text(field, length)
    return ffi_string(cast("const char *", field), length)
end


-- A field without its padding.
function _M.padded_text(field, length)
    return (_M.text(field, length):gsub("%z.*", ""))
end


-- A value with its field's padding, so that whole fields can be compared.
function _M.pad(value, length)
    return (value .. ("\0"):rep(length)):sub(1, length)
end


function _M.put(field, value, length)
    copy(cast("char *", field), _M.pad(value, length), length)
end


return _M
