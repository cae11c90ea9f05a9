-- Prints the bodies of two errors whose messages name limits: before these are set, after one and
-- after both.
--
-- usage: luajit errors.lua

local contract = require "ipgeo.contract"

contract.ERRORS.too_many_ips.message = "the limit is {batch_limit}"
contract.ERRORS.body_too_large.message = "{body_limit} bytes, {batch_limit} addresses"

local errors = require "ipgeo.http.errors"


local function report()
    print(errors.STATUSES.too_many_ips, errors.BODIES.too_many_ips)
    print(errors.STATUSES.body_too_large, errors.BODIES.body_too_large)
end


report()
errors.set_limit("batch_limit", 100000)
report()
errors.set_limit("body_limit", 65536)
report()
