"""Writes the files generated from the data in this folder, or lists the stale ones.

Imports nothing of the package, which imports one of the results. See README.md.
"""

import argparse
import sys

from contract import to_documents, to_lua, to_python
from contract.data import ROOT, Contract, read_contract


def generated(contract: Contract) -> dict[str, str]:
    """Return every generated file's text by its path in the project."""
    return {
        "compiler/ipgeo/contract.py": to_python.module(contract),
        "lua/ipgeo/contract.lua": to_lua.module(contract),
        ".env.example": to_documents.env_example(contract),
        **to_documents.documents(contract),
    }


def stale_files() -> dict[str, str]:
    """Return the stale generated files, with their right text."""
    return {
        name: text
        for name, text in generated(read_contract()).items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Write the stale files; with --check only list them, and fail if there are any."""
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
