"""The contract's data, as the generators take them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_FOLDER = ROOT / "contract"
DO_NOT_EDIT = "Generated from contract/ by script/generate: change it there."

Contract = dict[str, Any]


def read_contract() -> Contract:
    """Return every file of the contract by its stem, and the project's version."""
    contract: Contract = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(_FOLDER.glob("*.json"))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    contract["version"] = project["version"]
    for error in contract["errors"]:
        if re.search(r'["\\]', error["message"]):
            raise ValueError(f"{error['code']}: a message goes into JSON and nginx.conf as it is")
        for key in ("message", "when"):
            error[key] = with_limits(error[key], contract["limits"])
    return contract


def with_limits(text: str, limits: dict[str, int]) -> str:
    """Put the limits into a text; other placeholders stay, for the server to fill in."""
    return re.sub(r"\{(\w+)\}", lambda match: str(limits.get(match[1], match[0])), text)


def settings_of(contract: Contract) -> list[Contract]:
    """Return the settings that an operator may set."""
    return [setting for setting in contract["settings"] if not setting.get("internal")]


def internal_settings_of(contract: Contract) -> list[Contract]:
    """Return the settings that programs of the project pass to one another."""
    return [setting for setting in contract["settings"] if setting.get("internal")]


def quoted(text: str) -> str:
    """Quote a text as JSON, Python and Lua do alike, if it is printable ASCII."""
    if not re.fullmatch(r"[ -~]*", text):
        raise ValueError(f"not printable ASCII: {text!r}")
    return json.dumps(text)
