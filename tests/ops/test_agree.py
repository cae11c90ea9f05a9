"""script/agree: all readers of a blob agree with maxminddb, and those that do not are found."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import ROOT, blobs
from harness.agree.asked import Answer, Expected, boundaries, random_addresses
from harness.agree.readers import Count
from harness.agree.run import Result, compare
from harness.compiler import SAMPLE
from harness.mmdb import of_records
from ipgeo.ranges.address import IPV4, IPV6, parse_address
from test_programs import run
from test_soak import patched

RECORDS = [{"country": {"iso_code": code}, "city": {"names": {"en": "X"}}} for code in ("DE", "FR")]
RECORDS += [{"country": {"iso_code": "JP"}}, {"location": {"latitude": 1.5, "longitude": -2.0}}]
ONE_WRONG_OF_IPV6 = (
    "blob/find6.lua",
    "    return row\nend\n",
    "    return row == 1 and 2 or row\nend\n",
)


def source(folder: Path, ip_version: int) -> Path:
    """Records at /1, /2, /3 and so on; IPv4 has only the first one in a file of both families."""
    path = folder / "made.mmdb"
    path.write_bytes(of_records(RECORDS, {"ip_version": ip_version}))
    return path


@pytest.mark.parametrize("ip_version", [4, 6])
def test_all_agree(folder: Path, ip_version: int) -> None:
    result = compare(source(folder, ip_version), count=12_000, seed=1)
    assert_good(result)
    # The first and the last address are always asked, and at each change two. ::/96 is no IPv6.
    at_changes = 2 * len(RECORDS)
    expected = {4: (2 + at_changes, 2), 6: (2, 2 + at_changes + 2)}[ip_version]
    asked = result.asked["at IPv4 boundaries"], result.asked["at IPv6 boundaries"]
    assert asked == expected
    assert 0 < result.without_data < 12_000


def test_the_program_over_real_data() -> None:
    path = blobs.real_data() / "mmdb" / "GeoIP2-City-Test.mmdb"
    done = run([ROOT / "script" / "agree", "--random", 2000, path])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" 0 differ, ") == 3


def assert_good(result: Result) -> None:
    assert [count.examples for count in result.counts.values()] == [[], [], []]
    assert result.good


def test_a_wrong_reader_is_found(folder: Path) -> None:
    lua = patched(folder, *ONE_WRONG_OF_IPV6)
    result = compare(source(folder, 6), count=1000, seed=1, IPGEO_LUA=lua)
    assert result.counts["edge"].differing > 100
    assert "8000::" in result.counts["edge"].examples[0]
    assert not result.good
    others = result.counts.keys() - {"edge"}
    assert [result.counts[name].differing for name in others] == [0, 0]


class Given:
    """A reader that answers what it was given."""

    name = "given"

    def __init__(self, lines: bytes) -> None:
        self._lines = lines

    def ask(self, _: Sequence[bytes]) -> bytes:
        return self._lines

    def line(self, text: bytes, _: Answer) -> bytes:
        return text + b"\n"


@pytest.mark.parametrize(
    ("given", "differing"),
    [(b"a\nb\nc\n", 0), (b"a\nx\nc\n", 1), (b"a\nb\n", 1), (b"", 3), (b"a\nb\nc\nd\n", 1)],
)
def test_each_line_that_differs_is_counted(given: bytes, differing: int) -> None:
    count = Count()
    count.compare(Given(given), [b"a", b"b", b"c"], [None] * 3)
    assert (count.differing, len(count.examples)) == (differing, differing)


def test_addresses() -> None:
    assert boundaries(IPV4, [0, 5], [5, 9]) == [0, 4, 5, 8, 9, IPV4.last]
    busy = 0x2001 << 112
    expected = Expected([(0, "[]\n{4}")], [(0, None), (busy, "[]\n{6}"), (busy + 2, None)])
    asked = random_addresses(expected, 1000, seed=1)
    assert [address.family for address in asked].count(IPV4) == 500
    assert {expected.answer(address) for address in asked} == {"4}", "6}"}
    for text, answer in (("2001::1", "6}"), ("2001::2", None), ("::ffff:1.2.3.4", "4}")):
        address = parse_address(text)
        assert address is not None
        assert expected.answer(address) == answer
    assert Expected([(0, None)], None).answer(asked[-1]) is None
    assert asked[-1].family == IPV6


@pytest.mark.parametrize("arguments", [[SAMPLE], ["none.mmdb"], ["--random", "x", SAMPLE], []])
def test_bad_input_is_named(arguments: list[object]) -> None:
    done = run([ROOT / "script" / "agree", *arguments])
    assert done.returncode in (1, 2)
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
