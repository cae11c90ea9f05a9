std = "ngx_lua"
max_line_length = 100
cache = false

-- Generated: an entry a line.
files["lua/ipgeo/contract.lua"].max_line_length = false

-- These run under plain luajit or wrk, where nginx's globals do not exist.
files["lua/ipgeo/blob/*.lua"].std = "luajit"
files["nginx/lib/*.lua"].std = "luajit"
files["crosscheck/**/*.lua"].std = "luajit"
files["tests/**/*.lua"].std = "ngx_lua+luajit"
files["bench/**/*.lua"] = {
  std = "luajit",
  -- wrk calls these by name and offers `wrk`
  globals = { "wrk", "init", "setup", "delay", "request", "response", "done" },
}
