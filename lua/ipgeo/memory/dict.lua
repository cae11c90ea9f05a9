-- The memory of a lua_shared_dict as an arena. The dict must hold no keys.

local ffi = require "ffi"
local arena = require "ipgeo.memory.arena"


local cast, C = ffi.cast, ffi.C
local ngx = ngx
local pcall, tonumber = pcall, tonumber

pcall(ffi.cdef, "void *ngx_http_lua_ffi_shdict_udata_to_zone(void *zone_udata);")
ffi.cdef "struct ipgeo_zone { void *data; uint8_t *address; size_t size; };"
local zone_t = ffi.typeof("struct ipgeo_zone *")


local _M = {}


-- A dict's shared memory zone: its second member is the address, its third the size.
local function zone_of(dict)
    local ok, zone = pcall(function()
        return cast(zone_t, C.ngx_http_lua_ffi_shdict_udata_to_zone(dict[1]))
    end)
    if not ok or zone == nil or zone.address == nil then
        return nil, "this nginx does not expose the memory of a dict"
    end
    return zone
end


-- Uses the dict of this name as an arena. Returns the arena, or nil and why it cannot be used.
function _M.attach(name)
    local dict = ngx.shared[name]
    if not dict then
        return nil, "there is no lua_shared_dict " .. name
    end
    if #dict:get_keys(1) > 0 then
        return nil, "lua_shared_dict " .. name .. " already holds keys"
    end
    local zone, err = zone_of(dict)
    if not zone then
        return nil, err
    end
    return arena.attach(zone.address, tonumber(zone.size))
end


return _M
