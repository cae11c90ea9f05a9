-- init_worker_by_lua of test_torn.py. While an answer is copied out of a slot, between the look for
-- the row and the row's parts, two loads happen; the second one writes into that slot. Writes the
-- answer, the answer of the blob that is served at the end, and what was copied each time.

local ffi = require "ffi"
local answers = require "ipgeo.blob.answer"
local check = require "ipgeo.blob.check"
local find = require "ipgeo.blob.find"
local store = require("ipgeo.store").default
local views = require "ipgeo.blob.view"


local PREFIX = ngx.config.prefix() .. "torn/"
local HIGH, LOW = 0x0808, 0x0808


local function load_next(name)
    assert(os.rename(PREFIX .. name, PREFIX .. "served.blob"))
    assert(store:refresh())
end


local function text_of(view, row)
    return answers.text(view, row, views.OBJECT)
end


local function answer_of_file(name)
    local handle = assert(io.open(PREFIX .. name, "rb"))
    local content = handle:read("*a")
    handle:close()
    local view = assert(check.whole(ffi.cast("const uint8_t *", content), #content))
    return text_of(view, find(view, HIGH, LOW))
end


local function tear()
    local copied = {}
    local _, answer = store:with_snapshot(function(view)
        local row = find(view, HIGH, LOW)
        if #copied == 0 then
            load_next("next.blob")
            load_next("last.blob")
        end
        copied[#copied + 1] = text_of(view, row)
        return copied[#copied]
    end)
    local handle = assert(io.open(PREFIX .. "torn.result.tmp", "wb"))
    handle:write(table.concat({ answer, answer_of_file("c.blob"), unpack(copied) }, "\n"))
    handle:close()
    assert(os.rename(PREFIX .. "torn.result.tmp", PREFIX .. "torn.result"))
end


assert(ngx.timer.at(0, tear))
