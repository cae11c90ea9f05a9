"""Prints the values of settings, one a line, for programs in other languages.

usage: python -m ipgeo.settings ROOT NAME...      status 1: a value is bad; stderr says how
"""

import sys
from pathlib import Path

from ipgeo.errors import SettingError
from ipgeo.settings.checks import Value, check
from ipgeo.settings.environment import Environment


def main(root: str, *names: str) -> int:
    """Print the values of ``names``: sizes in bytes, paths absolute."""
    environment = Environment(Path(root))
    try:
        values = [check(name, environment.text(name)) for name in names]
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{_line(value)}\n" for value in values)
    return 0


def _line(value: Value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
