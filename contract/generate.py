"""Writes what is generated from the data in this folder, or says what is stale.

Standard library only, and nothing of the package, which imports one of the results. See README.md.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = ROOT / "contract"
DO_NOT_EDIT = "Generated from contract/ by script/generate: change it there."

Contract = dict[str, Any]


def read_contract() -> Contract:
    """Return every file of the contract by its stem, and the project's version."""
    contract: Contract = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(CONTRACT.glob("*.json"))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    contract["version"] = project["version"]
    for error in contract["errors"]:
        for key in ("message", "when"):
            error[key] = _with_limits(error[key], contract["limits"])
    return contract


def _with_limits(text: str, limits: dict[str, int]) -> str:
    """Put the limits into a text; what is none of them stays for whoever answers."""
    return re.sub(r"\{(\w+)\}", lambda match: str(limits.get(match[1], match[0])), text)


# --- Python ---------------------------------------------------------------------------------------


def to_python(contract: Contract) -> str:
    """Return the module that Python's programs import."""
    fields = contract["fields"]
    return "\n".join(
        [
            f'"""{DO_NOT_EDIT}"""',
            "",
            "from typing import NamedTuple",
            "",
            f"VERSION = {_quoted(contract['version'])}",
            "",
            *(f"{name.upper()} = {value}" for name, value in contract["limits"].items()),
            "",
            *_python_dict(
                "ERRORS: dict[str, tuple[int, str]]",
                (
                    (_quoted(error["code"]), f"({error['status']}, {_quoted(error['message'])})")
                    for error in contract["errors"]
                ),
            ),
            '"""Status and message by code."""',
            "",
            *_python_dict(
                "CODE_BY_STATUS",
                (
                    (error["status"], _quoted(error["code"]))
                    for error in contract["errors"]
                    if error.get("nginx")
                ),
            ),
            '"""What a server\'s own errors are answered with."""',
            "",
            *_python_tuple("ARRAY_FIELDS", (_quoted(f["name"]) for f in fields if f.get("array"))),
            '"""The array form\'s elements, in their order."""',
            "",
            *_python_tuple(
                "NUMERIC_FIELDS", (_quoted(f["name"]) for f in fields if "number" in f["type"])
            ),
            "",
            "",
            *_SETTING_CLASS.splitlines(),
            "",
            "",
            *_python_tuple("SETTINGS", (_python_setting(s) for s in _settings(contract))),
            "",
            *_python_tuple("INTERNAL_SETTINGS", (_quoted(s["name"]) for s in _internal(contract))),
            '"""What programs of the project hand to one another; no operator sets it."""',
            "",
        ]
    )


_SETTING_CLASS = '''\
class Setting(NamedTuple):
    """A setting; of sizes and seconds ``min`` and ``max`` are as an operator writes them.

    ``default`` may refer to {ROOT}, the checkout, and to other settings; ``by`` says who reads it.
    """

    name: str
    type: str
    default: str
    by: tuple[str, ...]
    min: str = ""
    max: str = ""
    values: tuple[str, ...] = ()'''


def _python_dict(name: str, items: Iterable[tuple[object, str]]) -> list[str]:
    return [f"{name} = {{", *(f"    {key}: {value}," for key, value in items), "}"]


def _python_tuple(name: str, items: Iterable[str]) -> list[str]:
    return [f"{name} = (", *(f"    {item}," for item in items), ")"]


def _python_setting(setting: Contract) -> str:
    arguments = [_quoted(setting[key]) for key in ("name", "type", "default")]
    arguments.append(_python_strings(setting["by"]))
    arguments += [f"{key}={_quoted(str(setting[key]))}" for key in ("min", "max") if key in setting]
    if "values" in setting:
        arguments.append(f"values={_python_strings(setting['values'])}")
    line = f"Setting({', '.join(arguments)})"
    if len(line) <= 95:
        return line
    return "Setting(\n        " + ",\n        ".join(arguments) + ",\n    )"


def _python_strings(texts: list[str]) -> str:
    return f"({', '.join(map(_quoted, texts))}{',' if len(texts) == 1 else ''})"


def _quoted(text: str) -> str:
    """Quote a text as JSON, Python and Lua do alike, if it is printable ASCII."""
    if not re.fullmatch(r"[ -~]*", text):
        raise ValueError(f"not printable ASCII: {text!r}")
    return json.dumps(text)


# --- Lua ------------------------------------------------------------------------------------------


def to_lua(contract: Contract) -> str:
    """Return the module that nginx and its renderer load."""
    return "\n".join(
        [
            f"-- {DO_NOT_EDIT}",
            "",
            "return {",
            f"    VERSION = {_quoted(contract['version'])},",
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
            *(f"        {_lua_setting(setting)}," for setting in _settings(contract)),
            "    },",
            "    -- What programs of the project hand to one another; no operator sets it.",
            f"    INTERNAL_SETTINGS = {_lua([s['name'] for s in _internal(contract)])},",
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
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


# --- what people read -----------------------------------------------------------------------------


def _settings(contract: Contract) -> list[Contract]:
    return [setting for setting in contract["settings"] if not setting.get("internal")]


def _internal(contract: Contract) -> list[Contract]:
    return [setting for setting in contract["settings"] if setting.get("internal")]


_DEFAULTS = {
    "": "none",
    "{NGINX}": "the first of `nginx`, `/usr/sbin/nginx`, `openresty`, "
    "`/usr/local/openresty/bin/openresty`",
    "{BODY_LIMIT}": "the larger of 64k and 20 × `IPGEO_BATCH_LIMIT` + 1024 bytes",
}


def settings_table(contract: Contract, by: tuple[str, ...]) -> list[str]:
    """Return the Markdown table of the settings that one of ``by`` reads."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    return rows + [
        f"| `{setting['name']}` | {_default(setting['default'])} | {_help(setting)} |"
        for setting in _settings(contract)
        if set(by) & set(setting["by"])
    ]


def _default(text: str) -> str:
    text = text.replace("{IPGEO_VAR}", "$IPGEO_VAR")
    if text.startswith("{ROOT}/"):
        return f"`{text.removeprefix('{ROOT}/')}` in the checkout"
    return _DEFAULTS.get(text, f"`{text}`")


def _help(setting: Contract) -> str:
    if "min" not in setting:
        return str(setting["help"])
    return f"{setting['help']} ({setting['min']} to {setting['max']})"


def errors_table(contract: Contract) -> list[str]:
    """Return the Markdown table of the errors."""
    return [
        "| status | code | when |",
        "|---|---|---|",
        *(f"| {e['status']} | `{e['code']}` | {e['when']} |" for e in contract["errors"]),
    ]


def env_example(contract: Contract) -> str:
    """Return .env.example: the settings of docker-compose.yml."""
    lines = [
        f"# {DO_NOT_EDIT}",
        "# The settings of docker-compose.yml with their defaults: copy this file to .env and",
        "# change it there.",
    ]
    for setting in _settings(contract):
        if "compose" in setting["by"]:
            default = setting.get("compose_default", setting["default"])
            value = "" if default in _DEFAULTS else default
            text = " ".join([_help(setting), *setting.get("compose_help", "").split()])
            lines += ["", *_wrapped(_plain(text)), f"#{setting['name']}={value}"]
    return "\n".join([*lines, ""])


def _plain(markdown: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


def _wrapped(text: str) -> list[str]:
    """Break a text into comments of at most 100 columns."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > 96:
            lines.append("")
        lines[-1] += f" {word}"
    return [f"#{line}" for line in lines]


def with_table(text: str, name: str, rows: list[str]) -> str:
    """Return a document with the table between its pair of marks replaced."""
    begin, end = f"<!-- contract: {name} -->\n", "\n<!-- end of contract -->"
    head, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"there is no table {name}")
    return head + begin + "\n".join(["", *rows, ""]) + rest[rest.index(end) :]


def documents(contract: Contract) -> dict[str, str]:
    """Return the documents that hold a table, by path."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = with_table(readme, "errors", errors_table(contract))
    servers = ("edge", "fallback", "server")
    readme = with_table(readme, "settings", settings_table(contract, servers))
    return {"README.md": readme}


def generated(contract: Contract) -> dict[str, str]:
    """Return every generated file's text by its path in the project."""
    return {
        "compiler/ipgeo/contract.py": to_python(contract),
        "lua/ipgeo/contract.lua": to_lua(contract),
        ".env.example": env_example(contract),
        **documents(contract),
    }


def stale_files() -> dict[str, str]:
    """Return the generated files that are not what the contract says, with the right text."""
    return {
        name: text
        for name, text in generated(read_contract()).items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Write what is stale; with --check only name it, and fail if there is any."""
    parser = argparse.ArgumentParser(prog="script/generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on stale files")
    check = parser.parse_args().check
    stale = stale_files()
    for name, text in stale.items():
        if not check:
            (ROOT / name).write_text(text, encoding="utf-8")
        print(f"{name}: {'stale' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
