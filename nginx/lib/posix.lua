-- System calls of Linux that Lua lacks. The structures are the same on x86-64 and aarch64.

local ffi = require "ffi"


local C, errno, ffi_string = ffi.C, ffi.errno, ffi.string
local concat = table.concat
local error = error
local format = string.format
local min = math.min
local open = io.open
local os_remove, os_rename = os.remove, os.rename
local tonumber = tonumber

ffi.cdef [[
    extern char **environ;

    struct ipgeo_passwd { char *name, *password; unsigned uid, gid; char *gecos, *home, *shell; };
    struct ipgeo_group { char *name, *password; unsigned gid; char **members; };
    struct ipgeo_rlimit { unsigned long soft, hard; };
    struct ipgeo_pollfd { int fd; short events, revents; };

    unsigned geteuid(void);
    struct ipgeo_passwd *getpwnam(const char *name);
    struct ipgeo_group *getgrgid(unsigned gid);
    int getrlimit(int resource, struct ipgeo_rlimit *limit);
    char *getcwd(char *buffer, size_t size);
    int access(const char *path, int mode);
    int poll(struct ipgeo_pollfd *fds, unsigned long count, int milliseconds);
    int kill(int pid, int signal);
    intptr_t signal(int number, intptr_t handler);
    int getpid(void);
    int open(const char *path, int flags, ...);
    int close(int fd);
    int flock(int fd, int operation);
    int inet_pton(int family, const char *text, void *bytes);
    int socket(int family, int type, int protocol);
    char *strerror(int number);
]]

local RLIMIT_NOFILE = 7
local X_OK, F_OK = 1, 0
local POLLIN = 1
local SIGHUP, SIGINT, SIG_IGN = 1, 2, 1
local STDERR = 2
local O_RDONLY, O_CLOEXEC = 0, 0x80000
local LOCK_EX, LOCK_NB = 2, 4
local PATH_MAX = 4096
local AF_INET, AF_INET6, SOCK_STREAM = 2, 10, 1


local _M = {}


-- Returns `value`; without one, raises the text `problem`: for operators, so without a position in
-- the code.
function _M.need(value, problem)
    if not value then
        error(problem, 0)
    end
    return value
end


-- Why the last system call failed.
function _M.last_error()
    return ffi_string(C.strerror(errno()))
end


-- Gives stdin, stdout and stderr a number where the caller has closed them: what is opened later
-- would be taken for one of them. They stay unwritable.
function _M.reserve_streams()
    local fd
    repeat
        fd = C.open("/dev/null", O_RDONLY)
    until fd < 0 or fd > STDERR
    if fd >= 0 then
        C.close(fd)
    end
end


-- Ctrl-C in a terminal reaches all processes there; luajit's own handler would end this one.
function _M.ignore_interrupt()
    C.signal(SIGINT, SIG_IGN)
end


-- The names of all environment variables.
function _M.variables()
    local names, entry = {}, C.environ
    while entry[0] ~= nil do
        names[#names + 1] = ffi_string(entry[0]):match("^[^=]*")
        entry = entry + 1
    end
    return names
end


-- The current folder; nil and why there is none: it may have been removed.
function _M.current_folder()
    local buffer = ffi.new("char[?]", PATH_MAX)
    if C.getcwd(buffer, PATH_MAX) == nil then
        return nil, _M.last_error()
    end
    return ffi_string(buffer)
end


function _M.is_root()
    return C.geteuid() == 0
end


-- The name of a user's own group; nil if there is no such user, or its group has no name.
function _M.group_of(user)
    local passwd = C.getpwnam(user)
    local group = passwd ~= nil and C.getgrgid(passwd.gid) or nil
    return group ~= nil and ffi_string(group.name) or nil
end


-- How many files this process and its children may open, but at most `bound`.
function _M.open_files(bound)
    local limit = ffi.new("struct ipgeo_rlimit")
    if C.getrlimit(RLIMIT_NOFILE, limit) ~= 0 then
        return bound
    end
    return min(tonumber(limit.hard), bound)
end


-- The 4 or 16 bytes of an address, in the order of the network; nil if `text` is none.
function _M.address_bytes(text)
    local bytes = ffi.new("uint8_t[16]")
    if C.inet_pton(AF_INET, text, bytes) == 1 then
        return ffi_string(bytes, 4)
    end
    return C.inet_pton(AF_INET6, text, bytes) == 1 and ffi_string(bytes, 16) or nil
end


-- Whether the kernel has IPv6.
function _M.has_ipv6()
    local fd = C.socket(AF_INET6, SOCK_STREAM, 0)
    if fd >= 0 then
        C.close(fd)
    end
    return fd >= 0
end


function _M.exists(path)
    return C.access(path, F_OK) == 0
end


-- Whether `path` is a file that this process may execute (a folder also has the x bit).
function _M.is_program(path)
    return C.access(path, X_OK) == 0 and C.access(path .. "/.", F_OK) ~= 0
end


-- Waits until stdin has something, or has ended; returns false if `seconds` pass without it.
function _M.wait_for_stdin(seconds)
    local fds = ffi.new("struct ipgeo_pollfd[1]", { { 0, POLLIN, 0 } })
    return C.poll(fds, 1, seconds * 1000) > 0
end


-- Sends HUP to a process; returns whether there was one.
function _M.hang_up(pid)
    return C.kill(pid, SIGHUP) == 0
end


-- Returns a file's content; nil and why not.
function _M.read_file(path)
    local file, problem = open(path, "rb")
    if not file then
        return nil, problem
    end
    local content
    content, problem = file:read("*a")
    file:close()
    return content, problem and concat { path, ": ", problem }
end


-- Writes a file that is not there yet. Returns true, or nil and why not.
local function write_new(path, content)
    local file, problem = open(path, "wbx")
    if not file then
        return nil, problem
    end
    local written
    written, problem = file:write(content)
    local closed, close_problem = file:close()
    if not (written and closed) then
        return nil, concat { path, ": ", problem or close_problem }
    end
    return true
end


local function replace(folder, name, content, expected)
    local path = concat { folder, "/", name }
    if expected and _M.read_file(path) ~= expected then
        return nil, path .. " was changed by another process"
    end
    local temporary = format("%s/.%s.%d.tmp", folder, name, C.getpid())
    os_remove(temporary) -- a killed process may have left one, and process ids come again
    local done, problem = write_new(temporary, content)
    if done then
        done, problem = os_rename(temporary, path)
    end
    if not done then
        os_remove(temporary)
    end
    return done, problem
end


-- Replaces FOLDER/NAME: a reader never sees half of it, and writers come one after the other: they
-- lock the folder. With `expected` only a file with this content is replaced, and another writer is
-- not waited for. Returns true, or nil and why not.
function _M.write_file(folder, name, content, expected)
    local fd = C.open(folder, O_RDONLY + O_CLOEXEC)
    local locked = fd >= 0 and C.flock(fd, LOCK_EX + (expected and LOCK_NB or 0)) == 0
    local done, problem = nil, format("cannot lock %s: %s", folder, _M.last_error())
    if locked then
        done, problem = replace(folder, name, content, expected)
    end
    if fd >= 0 then
        C.close(fd)
    end
    return done, problem
end


return _M
