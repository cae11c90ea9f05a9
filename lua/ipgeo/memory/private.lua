-- Private memory, for a process that has no arena. It has the methods of an arena; no other process
-- sees it, so there is nothing to lock.

local ffi = require "ffi"
local check = require "ipgeo.blob.check"
local header = require "ipgeo.blob.header"


local cast, C = ffi.cast, ffi.C
local format = string.format
local setmetatable = setmetatable

ffi.cdef [[
    void *malloc(size_t size);
    void free(void *memory);
]]
local bytes_t = ffi.typeof("uint8_t *")


local _M = { is_shared = false }
local mt = { __index = _M }


function _M.new()
    return setmetatable({ error_kind = 0, error_message = "" }, mt)
end


function _M.try_lock()
    return true
end


function _M.unlock() end


function _M:generation()
    return self.current and self.current.generation or 0
end


function _M:snapshot()
    return self.current
end


function _M:fingerprints()
    return self.current and self.current.fingerprint, self.refused, self.refused_reason
end


function _M:clear_refused()
    self.refused, self.refused_reason = nil, nil
end


function _M:remember_refused(fingerprint, reason)
    self.refused, self.refused_reason = fingerprint, reason
end


function _M:set_refresh_error(kind, message)
    self.error_kind, self.error_message = kind, message
end


function _M:refresh_error()
    return self.error_kind, self.error_message
end


local function allocate(length)
    local buffer = C.malloc(length)
    return buffer ~= nil and ffi.gc(cast(bytes_t, buffer), C.free) or nil
end


-- As arena.load. Returns the kind of the error, too, where it is not the blob's.
function _M:load(length, fingerprint, mtime, fill, on_slice)
    local buffer = allocate(length)
    if not buffer then
        return nil, format("no memory for %.0f bytes", length), "unreadable"
    end
    local view
    local ok, err = fill(buffer)
    if ok then
        view, err = check.whole(buffer, length, on_slice)
    end
    if not view then
        return nil, err
    end
    self.current = {
        generation = self:generation() + 1,
        slot = { seq = 0 },
        seq = 0,
        length = length,
        mtime = mtime,
        build_id = header.build_id(buffer),
        view = view,
        fingerprint = fingerprint,
        anchor = buffer, -- the view points into it
    }
    return self.current.generation
end


return _M
