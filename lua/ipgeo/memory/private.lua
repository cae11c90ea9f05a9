-- What a process keeps for itself where no arena can be had. It has the methods of an arena; nobody
-- else sees it, so that there is nothing to lock.

local ffi = require "ffi"
local check = require "ipgeo.blob.check"
local header = require "ipgeo.blob.header"


local C = ffi.C
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
    return setmetatable({ trouble_number = 0, trouble_reason = "" }, mt)
end


function _M.try_lock()
    return true
end


function _M.unlock() end


function _M:generation()
    return self.opened and self.opened.generation or 0
end


function _M:open()
    return self.opened
end


function _M:identities()
    return self.opened and self.opened.identity, self.refused, self.refused_reason
end


function _M:forgive()
    self.refused, self.refused_reason = nil, nil
end


function _M:refuse(identity, reason)
    self.refused, self.refused_reason = identity, reason
end


function _M:set_trouble(number, reason)
    self.trouble_number, self.trouble_reason = number, reason
end


function _M:trouble()
    return self.trouble_number, self.trouble_reason
end


-- As arena.load. The kind of what is wrong is told where it is not the blob.
function _M:load(length, identity, mtime, fill, tick)
    local buffer = C.malloc(length)
    if buffer == nil then
        return nil, format("no memory for %.0f bytes", length), "unreadable"
    end
    buffer = ffi.gc(ffi.cast(bytes_t, buffer), C.free)
    local view
    local ok, err = fill(buffer)
    if ok then
        view, err = check.whole(buffer, length, tick)
    end
    if not view then
        return nil, err
    end
    self.opened = {
        generation = self:generation() + 1,
        slot = { seq = 0 },
        seq = 0,
        length = length,
        mtime = mtime,
        build_id = header.build_id(buffer),
        view = view,
        identity = identity,
        anchor = buffer, -- the view points into it
    }
    return self.opened.generation
end


return _M
