"""Relative links in the Markdown files lead to a file, and to its heading if they name one."""

import re
from pathlib import Path

import pytest

from harness import ROOT

FOLDERS = sorted(
    folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith(".")
)
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in folder.rglob("*.md"))]

CODE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them of headings that differ."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(CODE.sub("", text))
    }


def broken_links(page: Path) -> list[str]:
    """The links of a page that lead nowhere; those to other hosts are not followed."""
    return [
        link
        for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
        if "://" not in link and not leads_somewhere(page, link)
    ]


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not anchor:
        return target.exists()
    return target.is_file() and anchor in anchors(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    assert broken_links(page) == []


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "docs/operate.md", "docs/decisions/README.md"} <= names


def test_broken_links_are_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b_c`: d's\n\n[1](#a-b_c-ds) [2](page.md#a-b_c-ds) [3](.) [4](https://example.com/x)\n"
        "[5](#a) [6](none.md) [7](none.md#a) [8](.#a)\n"
        "```\n# in-code\n[9](none.md)\n```\n[10](#in-code)\n"
    )
    assert broken_links(page) == ["#a", "none.md", "none.md#a", ".#a", "#in-code"]
