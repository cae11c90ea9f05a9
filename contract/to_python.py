"""compiler/ipgeo/contract.py: the contract as Python's programs import it."""

from collections.abc import Iterable

from contract.data import DO_NOT_EDIT, Contract, internal_settings_of, quoted, settings_of


def module(contract: Contract) -> str:
    """Return the module that Python's programs import."""
    fields = contract["fields"]
    return "\n".join(
        [
            f'"""{DO_NOT_EDIT}"""',
            "",
            "from dataclasses import dataclass",
            "",
            f"VERSION = {quoted(contract['version'])}",
            "",
            *(f"{name.upper()} = {value}" for name, value in contract["limits"].items()),
            "",
            *_python_dict(
                "ERRORS: dict[str, tuple[int, str]]",
                (
                    (quoted(error["code"]), f"({error['status']}, {quoted(error['message'])})")
                    for error in contract["errors"]
                ),
            ),
            '"""Status and message by code."""',
            "",
            *_python_dict(
                "CODE_BY_STATUS",
                (
                    (error["status"], quoted(error["code"]))
                    for error in contract["errors"]
                    if error.get("nginx")
                ),
            ),
            '"""What a server\'s own errors are answered with."""',
            "",
            *_python_dict("FIELDS", ((quoted(f["name"]), quoted(f["type"])) for f in fields)),
            '"""The members of the object form, in their order, and the types of their values."""',
            "",
            *_python_tuple("ARRAY_FIELDS", (quoted(f["name"]) for f in fields if f.get("array"))),
            '"""The array form\'s elements, in their order."""',
            "",
            *_python_tuple(
                "NUMERIC_FIELDS", (quoted(f["name"]) for f in fields if "number" in f["type"])
            ),
            '"""Degrees: the fields whose values are decimal numbers."""',
            "",
            *_python_tuple("FILLED_FIELDS", (quoted(f["name"]) for f in fields if f.get("filled"))),
            '"""What follows from a country\'s code, where a source lacks it."""',
            "",
            "",
            *_SETTING_CLASS.splitlines(),
            "",
            "",
            *_python_tuple("SETTINGS", (_python_setting(s) for s in settings_of(contract))),
            "",
            "SETTING_BY_NAME = {setting.name: setting for setting in SETTINGS}",
            "",
            *_python_tuple(
                "INTERNAL_SETTINGS", (quoted(s["name"]) for s in internal_settings_of(contract))
            ),
            '"""What programs of the project hand to one another; no operator sets it."""',
            "",
        ]
    )


_SETTING_CLASS = '''\
@dataclass(frozen=True, slots=True)
class Setting:
    """A setting; of sizes and seconds ``min`` and ``max`` are as an operator writes them.

    ``default`` may refer to {ROOT}, the checkout, and to other settings; ``by`` names its readers.
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
    arguments = [quoted(setting[key]) for key in ("name", "type", "default")]
    arguments.append(_python_strings(setting["by"]))
    arguments += [f"{key}={quoted(str(setting[key]))}" for key in ("min", "max") if key in setting]
    if "values" in setting:
        arguments.append(f"values={_python_strings(setting['values'])}")
    line = f"Setting({', '.join(arguments)})"
    if len(line) <= 95:
        return line
    return "Setting(\n        " + ",\n        ".join(arguments) + ",\n    )"


def _python_strings(texts: list[str]) -> str:
    return f"({', '.join(map(quoted, texts))}{',' if len(texts) == 1 else ''})"
