-- Calls of Linux that Lua has none for. The structures are the same on x86-64 and aarch64.

local ffi = require "ffi"


local C, ffi_string = ffi.C, ffi.string
local concat = table.concat
local min = math.min
local open = io.open
local os_rename = os.rename
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
]]

local RLIMIT_NOFILE = 7
local X_OK, F_OK = 1, 0
local POLLIN = 1
local SIGHUP = 1
local PATH_MAX = 4096


local _M = {}


-- The names of all environment variables.
function _M.variables()
    local names, entry = {}, C.environ
    while entry[0] ~= nil do
        names[#names + 1] = ffi_string(entry[0]):match("^[^=]*")
        entry = entry + 1
    end
    return names
end


function _M.current_folder()
    local buffer = ffi.new("char[?]", PATH_MAX)
    return C.getcwd(buffer, PATH_MAX) ~= nil and ffi_string(buffer) or "/"
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


function _M.exists(path)
    return C.access(path, F_OK) == 0
end


-- Whether `path` is a file that this process may execute.
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
    local content
    if file then
        content, problem = file:read("*a")
        file:close()
    end
    return content, problem
end


-- Replaces FOLDER/NAME: a reader never sees half of it. Returns true, or nil and why not.
function _M.write_file(folder, name, content)
    local temporary = concat { folder, "/.", name, ".tmp" }
    local file, problem = open(temporary, "wb")
    if not file then
        return nil, problem
    end
    local written
    written, problem = file:write(content)
    local closed, close_problem = file:close()
    if not (written and closed) then
        return nil, concat { temporary, ": ", problem or close_problem }
    end
    return os_rename(temporary, folder .. "/" .. name)
end


return _M
