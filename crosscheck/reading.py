"""Reads a .dat file and its codes a second time, sharing no code with the compiler, and compares.

usage: reading.py SOURCE.dat [CODES] < output of sweep.lua

Deliberately written only from the description of the formats, with the standard library alone: it
must not repeat a misunderstanding of the compiler. It looks up every address range as the format's
official readers do, by the hint of the first octet and a bisection from there.
Input and output are UTF-8 in every locale. Exit status: 0 equal, 1 different or unreadable.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, also while it imports

import bisect
import io
import json
import os
import re
import stat
import struct
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FIELDS = [
    "country province city organization isp latitude longitude time_zone utc_offset",
    "china_admin_code phone_prefix source_country_code continent_code",
    "idc base_station country_code3 european_union currency_code currency_name anycast",
]
NAMES = " ".join(FIELDS).split()
TABLES = Path(__file__).resolve().parents[1] / "compiler" / "ipgeo" / "places" / "tables"
LAST = 2**32 - 1
MAX_SIZE = 2**30

Answer = tuple[str, str]
Change = tuple[int, Answer | None]


def canonical(value: object) -> str:
    """Return a canonical text of ``value``: equal JSON values give equal texts."""
    return json.dumps(value, sort_keys=True)


def read_file(path: Path) -> bytes:
    """Return the content of a regular file that is not larger than any source."""

    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a FIFO has no end, and perhaps no beginning

    with open(path, "rb", opener=without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a regular file")
        if status.st_size > MAX_SIZE:
            raise ValueError(f"{path} has {status.st_size} bytes (limit {MAX_SIZE})")
        return file.read()


def built_in_codes() -> dict[tuple[str | None, ...], str]:
    """Return the codes in the built-in tables, by the parents' codes and the name."""
    found: dict[tuple[str | None, ...], str] = {}
    for line in table("countries.tsv"):
        names = [line["chinese"], line["english"], *line["aliases"].split("|")]
        exact = [line["alpha2"], line["alpha3"], line["numeric"]]
        for name in [*exact, *map(str.casefold, names)]:
            found[(name,)] = line["alpha2"]
    for line in table("divisions.tsv"):
        above = ["CN"] if line["parent"] == "CN" else ["CN", line["parent"]]
        names = [line["name"], line["full_name"], *line["aliases"].split("|")]
        for name in [line["iso3166_2"], *map(str.casefold, names)]:
            found[(*above, name)] = line["code"]
    return found


@cache
def countries() -> dict[str | None, dict[str, str]]:
    """Return what the built-in table knows of countries by their codes."""
    return {line["alpha2"]: line for line in table("countries.tsv")}


def followed_from(country_code: str | None) -> dict[str, object]:
    """Return the fields that follow from a country's code, empty for an unknown one."""
    known = countries().get(country_code, {})
    texts = ("phone_prefix", "continent_code", "currency_code")
    is_eu = known["is_eu"] == "true" if known else None
    return {"is_eu": is_eu} | {name: known.get(name, "") for name in texts}


@cache
def kind_of(name: str) -> str | None:
    """Return the kind of a country's name that has no code, None for one that is not known."""
    for line in table("kinds.tsv"):
        if line["name"].casefold() == name.casefold():
            return line["kind"]
    is_domain = re.fullmatch(r"([A-Z0-9-]+\.)+[A-Z0-9-]+", name, re.IGNORECASE | re.ASCII)
    in_capitals = re.fullmatch(r"[A-Z0-9][A-Z0-9 &.-]+", name) and re.search("[A-Z]", name)
    return "organization" if name.endswith("骨干网") or is_domain or in_capitals else None


@cache
def table(name: str) -> list[dict[str, str]]:
    """Return the rows of a built-in table, by its first line's names."""
    head, *lines = (TABLES / name).read_text(encoding="utf-8").splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


def rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a code file, without white space and byte order marks around cells."""
    for line in read_file(path).decode().split("\n"):
        if line.strip("\ufeff \t\r"):
            yield [cell.strip().strip("\ufeff").strip() for cell in line.split("\t")]


class Tables:
    """The built-in codes, and those of an operator's three code files, which take precedence."""

    def __init__(self, folder: Path | None) -> None:
        """Read the tables, and the files in ``folder`` if there is one."""
        self.built_in = built_in_codes()
        self.own: dict[tuple[str, ...], str] = {}
        if folder:
            for row in rows(folder / "country_list.txt"):
                self.own[(row[0],)] = row[1]
            for name in ("china_province_code.txt", "china_city_code.txt"):
                self.own.update((tuple(row[1:]), row[0]) for row in rows(folder / name))
        self.by_place: dict[tuple[str | None, ...], str] = {}
        for names, code in self.own.items():
            self.by_place.setdefault(self.place(names), code)

    def place(self, names: tuple[str, ...]) -> tuple[str | None, ...]:
        """Return the codes that identify a place under all its names."""
        if not names:
            return ()
        above, name = self.place(names[:-1]), names[-1]
        for form in (name, name.casefold()):
            if form and (*above, form) in self.built_in:
                return (*above, self.built_in[(*above, form)])
        return (*above, self.own.get(names))

    def code(self, *names: str) -> str | None:
        """Return the code of the last of ``names``; the names before it are its parents."""
        place = self.place(names)
        return self.own.get(names) or self.by_place.get(place) or place[-1]

    def answer(self, content: str) -> Answer:
        """Return the array and the object that a content stands for."""
        fields: dict[str, str] = dict.fromkeys(NAMES[:5], "")
        fields.update(zip(NAMES, content.split("\t"), strict=False))
        path = fields["country"], fields["province"], fields["city"]
        codes = [self.code(*path[:end]) for end in (1, 2, 3)]
        row: list[str | None] = []
        for name, code in zip(path, codes, strict=True):
            row += [name, code]
        row += [fields["organization"], fields["isp"]]
        whole: dict[str, object] = dict(fields)
        for name in ("latitude", "longitude"):
            if name in whole:
                whole[name] = float(fields[name]) if fields[name] else None
        for level, code in zip(("country", "province", "city"), codes, strict=True):
            whole[f"{level}_code"] = code
        for name, value in followed_from(codes[0]).items():
            whole[name] = whole.get(name) or value
        whole["kind"] = None if codes[0] else kind_of(fields["country"])
        array_form = ["None" if value is None else value for value in row]
        return canonical(array_form), canonical(whole)


def source_changes(path: Path, tables: Tables) -> Iterator[Change]:
    """Yield every address at which the source's answer changes."""
    data = read_file(path)
    end = int.from_bytes(data[:4], "big")
    hints = struct.unpack("<256I", data[4:1028])
    records = list(struct.iter_unpack(">I3sB", data[1028 : end - 1024]))
    bounds = [bound for bound, _, _ in records]
    answers: dict[bytes, Answer] = {}
    before = None
    address = 0
    while address <= LAST:
        found = bisect.bisect_left(bounds, address, lo=hints[address >> 24])
        bound, offset, length = records[found]
        start = end - 1024 + int.from_bytes(offset, "little")
        content = data[start : start + length]
        if content not in answers:
            answers[content] = tables.answer(content.decode())
        if answers[content] != before:
            before = answers[content]
            yield address, before
        address = bound + 1


def blob_changes(lines: list[str]) -> Iterator[Change]:
    """Yield every address at which the swept answer changes."""
    answers: dict[str, Answer | None] = {"-1": None}
    changes: list[tuple[int, int, str]] = []
    for number, line in enumerate(lines, start=1):
        try:
            kind, _, rest = line.partition(" ")
            if kind == "answer":
                location, _, rest = rest.partition(" ")
                array_form, members = rest.split("\t")
                answers[location] = (
                    canonical(json.loads(array_form)),
                    canonical(json.loads("{" + members)),
                )
            elif line:
                changes.append((number, *change_of(line)))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} of the sweep: {error}") from None
    before: Answer | str | None = "nothing yet"
    for number, start, location in changes:
        if location not in answers:
            raise ValueError(f"line {number} of the sweep: there is no answer {location!r}")
        if answers[location] != before:
            before = answers[location]
            yield start, answers[location]


def change_of(line: str) -> tuple[int, str]:
    """Return the address of a change and the location from there on."""
    kind, address, location = line.split(" ")
    if kind != "change" or not 0 <= int(address) <= LAST:
        raise ValueError("neither an answer nor a change of the answer")
    return int(address), location


def compare(expected: list[Change], found: list[Change]) -> int:
    """Print the result; return the exit status."""
    source = set(expected)
    # At one address the source comes first: the order of a set changes from run to run.
    different = sorted(source ^ set(found), key=lambda change: (change[0], change not in source))
    if not different:
        print(f"equal: {len(found)} changes of answer over all {LAST + 1} addresses")
        return 0
    print(f"different: {len(different)} changes are only in the source or only in the blob")
    for change in different[:10]:
        address = ".".join(map(str, change[0].to_bytes(4, "big")))
        side = "source" if change in source else "blob"
        text = json.dumps(json.loads(change[1][0]), ensure_ascii=False) if change[1] else "no data"
        print(f"  from {address} on the {side} answers {text}")
    return 1


def run() -> int:
    """Compare standard input with the source named on the command line."""
    source, *folders = map(Path, sys.argv[1:])
    codes = folders[0] if folders else None
    try:
        found = list(blob_changes(sys.stdin.read().split("\n")))
    except (OSError, ValueError, MemoryError) as error:
        print(f"the sweep cannot be read: {error}", file=sys.stderr)
        return 1
    if not found:  # the sweep has printed why
        return 1
    try:
        expected = list(source_changes(source, Tables(codes)))
    except (OSError, ValueError, LookupError, MemoryError, struct.error) as error:
        inputs = " with ".join(sys.argv[1:])
        print(f"{inputs} cannot be read: {error}", file=sys.stderr)
        return 1
    return compare(expected, found)


def main() -> int:
    """Do that; a result that cannot be printed is not a proof."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.stdin is None or sys.stdout is None:
        print("standard input or output is closed", file=sys.stderr)
        return 1
    if isinstance(sys.stdin, io.TextIOWrapper) and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # half a surrogate pair
    try:
        status = run()
        sys.stdout.flush()
    except OSError as error:
        print(f"the result cannot be printed: {error.strerror}", file=sys.stderr)
        # What is left would be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
