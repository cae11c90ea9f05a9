-- Process settings for the workers of the edge's own nginx.conf; not for other applications.

local ffi = require "ffi"
local process = require "ngx.process"


local C = ffi.C
local pcall = pcall
local get_master_pid = process.get_master_pid

ffi.cdef [[
    int prctl(int option, unsigned long value, ...);
    int getppid(void);
    int mallopt(int parameter, int value);
]]

local PR_SET_PDEATHSIG = 1
local SIGQUIT = 3
local M_MMAP_THRESHOLD = -3
local LARGE = 131072 -- glibc's initial value


local _M = {}


-- Makes this worker finish its requests and exit when the master dies. It would otherwise keep the
-- port, and nginx could not be started again. To be called in init_worker_by_lua, after nginx has
-- changed the user: that clears the setting in the kernel.
function _M.quit_with_master()
    C.prctl(PR_SET_PDEATHSIG, SIGQUIT)
    if C.getppid() ~= get_master_pid() then
        os.exit() -- the master has died already; this worker has no request yet
    end
end


-- Makes malloc return memory of 128 KiB and more to the system as soon as it is freed: request
-- bodies and the answers of batches. By default glibc raises that bound when such memory is first
-- freed, and keeps later blocks. Other C libraries do not have this setting.
function _M.return_large_memory()
    pcall(function() C.mallopt(M_MMAP_THRESHOLD, LARGE) end)
end


return _M
