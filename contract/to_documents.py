"""What people read of the contract: .env.example, and the tables in docs/."""

import re

from contract.data import DO_NOT_EDIT, ROOT, Contract, settings_of, with_limits

_DEFAULTS = {
    "": "none",
    "{NGINX}": "the first of `nginx`, `/usr/sbin/nginx`, `openresty`, "
    "`/usr/local/openresty/bin/openresty`",
    "{BODY_LIMIT}": "the larger of {min_body_limit} and {body_bytes_per_address} × "
    "`IPGEO_BATCH_LIMIT` + {body_bytes_overhead} bytes",
}
"""The text for defaults that are not plain values; names in braces are limits."""


def settings_table(contract: Contract, by: tuple[str, ...]) -> list[str]:
    """Return the Markdown table of the settings that one of ``by`` reads."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    return rows + [
        f"| `{setting['name']}` | {_default(setting['default'], contract['limits'])} |"
        f" {_help(setting)} |"
        for setting in settings_of(contract)
        if set(by) & set(setting["by"])
    ]


def _default(text: str, limits: dict[str, int]) -> str:
    text = text.replace("{IPGEO_VAR}", "$IPGEO_VAR")
    if text.startswith("{ROOT}/"):
        return f"`{text.removeprefix('{ROOT}/')}` in the checkout"
    return with_limits(_DEFAULTS[text], limits) if text in _DEFAULTS else f"`{text}`"


def _help(setting: Contract) -> str:
    if "min" not in setting or setting["type"] == "memory":  # Docker's own, checked by it
        return str(setting["help"])
    return f"{setting['help']}. From {setting['min']} to {setting['max']}"


def errors_table(contract: Contract) -> list[str]:
    """Return the Markdown table of the errors."""
    return [
        "| status | code | when |",
        "|---|---|---|",
        *(f"| {e['status']} | `{e['code']}` | {e['when']} |" for e in contract["errors"]),
    ]


def fields_table(contract: Contract) -> list[str]:
    """Return the Markdown table of the standard fields."""
    return [
        "| field | type | from | meaning |",
        "|---|---|---|---|",
        *(
            f"| `{f['name']}` | {f['type']} | {f['from']} | {f['help']} |"
            for f in contract["fields"]
        ),
    ]


def env_example(contract: Contract) -> str:
    """Return .env.example: the settings of docker-compose.yml."""
    lines = [
        f"# {DO_NOT_EDIT}",
        "# The settings of docker-compose.yml with their defaults: copy this file to .env and",
        "# change it there.",
    ]
    for setting in settings_of(contract):
        if "compose" in setting["by"]:
            default = setting.get("compose_default", setting["default"])
            value = "" if default in _DEFAULTS else default
            text = ". ".join(filter(None, (_help(setting), setting.get("compose_help"))))
            lines += ["", *_wrapped(_plain(text)), f"#{setting['name']}={value}"]
    return "\n".join([*lines, ""])


def _plain(markdown: str) -> str:
    return re.sub(r"\[([^]]*)\]\(([^)]*)\)", r"\1: docs/\2", markdown).replace("`", "")


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
    servers = ("edge", "fallback", "server")
    tables = [
        ("docs/http.md", "fields", fields_table(contract)),
        ("docs/http.md", "errors", errors_table(contract)),
        ("docs/settings.md", "settings", settings_table(contract, servers)),
    ]
    texts: dict[str, str] = {}
    for page, name, rows in tables:
        text = texts.get(page) or (ROOT / page).read_text(encoding="utf-8")
        texts[page] = with_table(text, name, rows)
    return texts
