"""The files that are generated from contract/ are what it says, and so is the version."""

import re
import tomllib

from contract import generate
from contract.data import read_contract
from harness import ROOT

PROGRAMS = ("compiler", "fallback", "lua", "nginx", "script", "deploy", "docker")
"""The folders of what an operator runs."""


def test_no_generated_file_is_stale() -> None:
    assert generate.stale_files() == {}


def test_a_setting_more_appears_everywhere() -> None:
    contract = read_contract()
    name = "IPGEO_EXAMPLE"
    contract["settings"].append(
        {
            "name": name,
            "type": "integer",
            "min": 1,
            "max": 9,
            "default": "5",
            "by": ["edge", "fallback", "compose"],
            "help": "an example",
        }
    )
    texts = generate.generated(contract)
    assert set(texts) == {
        "docs/http.md",
        "docs/settings.md",
        ".env.example",
        "compiler/ipgeo/contract.py",
        "lua/ipgeo/contract.lua",
    }
    for page in texts.keys() - {"docs/http.md"}:
        assert name in texts[page]
    assert f"| `{name}` | `5` | an example. From 1 to 9 |" in texts["docs/settings.md"]
    assert f"# an example. From 1 to 9\n#{name}=5\n" in texts[".env.example"]


def test_the_settings_are_those_that_are_documented() -> None:
    settings = read_contract()["settings"]
    names = [setting["name"] for setting in settings]
    internal = {setting["name"] for setting in settings if setting.get("internal")}
    documented = {
        name
        for file in ("docs/settings.md", ".env.example", "docker-compose.yml")
        for name in re.findall(r"\bIPGEO_[A-Z_]*[A-Z]\b", (ROOT / file).read_text())
    }
    assert set(names) == documented | internal
    assert len(names) == len(set(names))


def test_no_program_reads_a_setting_that_the_contract_lacks() -> None:
    names = {setting["name"] for setting in read_contract()["settings"]}
    read = {
        name: path
        for folder in PROGRAMS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        for name in re.findall(r"\bIPGEO_[A-Z_]*[A-Z]\b", path.read_text())
    }
    assert {name: path for name, path in read.items() if name not in names} == {}
    assert len(read) > len(names) / 2


def test_compose_has_the_contracts_defaults() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    contract = read_contract()
    given = dict(re.findall(r"\$\{(IPGEO_[A-Z_]+):?-([^}]*)\}", text))
    for setting in contract["settings"]:
        if "compose" in setting.get("by", ()) and given[setting["name"]]:
            default = setting.get("compose_default", setting["default"])
            assert given[setting["name"]] == default, setting["name"]


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"\n## [{project['version']}]" in changelog
