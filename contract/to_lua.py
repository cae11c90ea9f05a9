"""lua/ipgeo/contract.lua: the contract as nginx and its renderer load it."""

import json

from contract.data import DO_NOT_EDIT, Contract, internal_settings_of, quoted, settings_of


def module(contract: Contract) -> str:
    """Return the module that nginx and its renderer load."""
    return "\n".join(
        [
            f"-- {DO_NOT_EDIT}",
            "",
            "return {",
            f"    VERSION = {quoted(contract['version'])},",
            "    LIMITS = {",
            *(f"        {name} = {value}," for name, value in contract["limits"].items()),
            "    },",
            "    -- By code; `nginx`: what nginx's own error of this status is answered with.",
            "    ERRORS = {",
            *(f"        {_lua_error(error)}," for error in contract["errors"]),
            "    },",
            "    -- The array form's elements, in their order.",
            f"    ARRAY_FIELDS = {_lua([f['name'] for f in contract['fields'] if 'array' in f])},",
            "    SETTINGS = {",
            *(f"        {_lua_setting(setting)}," for setting in settings_of(contract)),
            "    },",
            "    -- What programs of the project hand to one another; no operator sets it.",
            f"    INTERNAL_SETTINGS = {_lua([s['name'] for s in internal_settings_of(contract)])},",
            "}",
            "",
        ]
    )


def _lua_error(error: Contract) -> str:
    kept = {key: error[key] for key in ("status", "message", "nginx") if key in error}
    return f"{error['code']} = {_lua(kept)}"


def _lua_setting(setting: Contract) -> str:
    kept = ("name", "type", "default", "by", "min", "max", "values")
    return _lua({key: setting[key] for key in kept if key in setting})


def _lua(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_lua(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "{ " + ", ".join(map(_lua, value)) + " }"
    return quoted(value) if isinstance(value, str) else json.dumps(value)
