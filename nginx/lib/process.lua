-- Runs programs by lists of arguments: no text of a setting goes through a shell. If the system
-- lacks a process, file or memory for that, a function raises a text without a position.

local ffi = require "ffi"
local posix = require "posix"


local C, errno, ffi_string = ffi.C, ffi.errno, ffi.string
local concat = table.concat
local floor = math.floor
local need = posix.need
local tonumber = tonumber

ffi.cdef [[
    int pipe2(int ends[2], int flags);
    int fork(void);
    int dup2(int from, int to);
    unsigned umask(unsigned mask);
    int execvp(const char *program, const char *const arguments[]);
    void _exit(int status);
    int waitpid(int pid, int *status, int options);
    int memfd_create(const char *name, unsigned flags);
    ssize_t read(int fd, void *buffer, size_t size);
    ssize_t write(int fd, const void *buffer, size_t size);
    int close(int fd);
]]

local O_CLOEXEC = 0x80000
local EINTR = 4
local NOT_FOUND = 127
local READ_SIZE = 65536
local STDOUT, STDERR = 1, 2


local _M = {}


-- In the new process: never returns.
local function execute(program, list)
    C.execvp(program, list)
    local message = concat { program, ": ", posix.last_error(), "\n" }
    C.write(STDERR, message, #message)
    C._exit(NOT_FOUND)
end


-- Starts a program; `prepare` runs in the new process first. Returns the process id; or nil and why
-- it could not start.
local function spawn(arguments, prepare)
    local list = ffi.new("const char *[?]", #arguments + 1, arguments)
    list[#arguments] = nil
    local pid = C.fork()
    if pid == 0 then
        prepare()
        execute(arguments[1], list)
    elseif pid < 0 then
        return nil, "cannot start a process: " .. posix.last_error()
    end
    return pid
end


-- Returns the status of a process that has ended, 128 and more for a signal.
local function wait(pid)
    local status = ffi.new("int[1]")
    while C.waitpid(pid, status, 0) < 0 do
        need(errno() == EINTR, "cannot wait for a process: " .. posix.last_error())
    end
    local signal = status[0] % 128
    return signal > 0 and 128 + signal or floor(status[0] / 256)
end


local function read_all(fd)
    local buffer, chunks = ffi.new("char[?]", READ_SIZE), {}
    while true do
        local size = tonumber(C.read(fd, buffer, READ_SIZE))
        if size > 0 then
            chunks[#chunks + 1] = ffi_string(buffer, size)
        elseif size == 0 or errno() ~= EINTR then
            return concat(chunks)
        end
    end
end


-- Runs a program found in PATH, under `mask`; returns its status.
function _M.run(arguments, mask)
    return wait(need(spawn(arguments, function() C.umask(mask) end)))
end


-- Runs a program; returns its status and what it printed, `with_errors` also to stderr.
function _M.output(arguments, with_errors)
    local ends = ffi.new("int[2]")
    need(C.pipe2(ends, O_CLOEXEC) == 0, "cannot make a pipe: " .. posix.last_error())
    local pid, problem = spawn(arguments, function()
        C.dup2(ends[1], STDOUT)
        if with_errors then
            C.dup2(ends[1], STDERR)
        end
    end)
    C.close(ends[1])
    local text = pid and read_all(ends[0])
    C.close(ends[0])
    return wait(need(pid, problem)), text
end


-- Calls `use` with the path of a file in memory that contains `text`: programs that `use` runs can
-- open it.
function _M.with_file(text, use)
    local fd = C.memfd_create("ipgeo", 0)
    need(fd >= 0 and C.write(fd, text, #text) == #text,
        "cannot make a file in memory: " .. posix.last_error())
    local status, printed = use("/proc/self/fd/" .. fd)
    C.close(fd)
    return status, printed
end


return _M
