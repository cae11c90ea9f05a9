-- What the edge's own nginx.conf asks of its worker processes; not for other applications.

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
local LARGE = 131072 -- glibc's own beginning


local _M = {}


-- Makes this worker finish its requests and exit when the master dies. It would otherwise live on
-- and keep the port, so that whoever starts nginx again cannot. To be called in init_worker_by_lua:
-- the kernel forgets it when a process changes its user, which nginx does before.
function _M.quit_with_master()
    C.prctl(PR_SET_PDEATHSIG, SIGQUIT)
    if C.getppid() ~= get_master_pid() then
        os.exit() -- the master was faster, and this worker has no request yet
    end
end


-- Has malloc give memory of 128 KiB and more back to the system as soon as it is freed: request
-- bodies and the answers of batches. By itself glibc raises that bound when such memory is freed
-- for the first time, and keeps what comes after. Other C libraries do not know of it.
function _M.return_large_memory()
    pcall(function() C.mallopt(M_MMAP_THRESHOLD, LARGE) end)
end


return _M
