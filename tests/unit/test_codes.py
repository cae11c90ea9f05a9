"""The codes of a location: built-in tables, and an operator's code files, which win over them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.sources import write_codes
from ipgeo.places.code_files import read_codes
from ipgeo.places.codes import Codes
from ipgeo.places.location import Location
from ipgeo.sources.registry import read_source

BUILT_IN = Codes()


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (Location("中国", "黑龙江", "鹤岗"), ("CN", "230000", "230400")),
        (Location("日本", "山行县", "鹤岗"), ("JP", None, None)),
        (Location("中国", "北京", "鹤岗"), ("CN", "110000", None)),
        (Location("日本", "北京", "北京"), ("JP", None, None)),
        (Location("保留地址", "保留地址"), (None, None, None)),
        (Location("Atlantis", "北京", "北京"), (None, None, None)),
        (Location(""), (None, None, None)),
    ],
)
@pytest.mark.parametrize("with_files", [True, False])
def test_a_name_is_looked_up_within_its_country_and_province(
    tmp_path: Path, location: Location, expected: tuple[str | None, ...], *, with_files: bool
) -> None:
    codes = read_codes(write_codes(tmp_path)) if with_files else BUILT_IN
    assert codes.of(location) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("中国", "河南", "商丘"), ("CN", "410000", "411400")),
        (("中国", "河南省", "商丘市"), ("CN", "410000", "411400")),
        (("China", "CN-HA", "商丘市"), ("CN", "410000", "411400")),
        (("CHN", "Henan", ""), ("CN", "410000", None)),
        (("中国", "广西壮族自治区", "南宁市"), ("CN", "450000", "450100")),
        (("中国", "内蒙古", "锡林郭勒盟"), ("CN", "150000", "152500")),
        (("中国", "湖北省", "恩施州"), ("CN", "420000", "422800")),
        (("中国", "湖北", "神农架"), ("CN", "420000", "429021")),
        (("中国", "新疆", "阿克苏"), ("CN", "650000", "652900")),
        (("中国", "新疆", "白杨市"), ("CN", "650000", "659012")),
        (("中国", "北京市", "北京市"), ("CN", "110000", "110000")),
        (("中国", "吉林", "吉林市"), ("CN", "220000", "220200")),
        (("中国", "吉林", "吉林"), ("CN", "220000", None)),
        (("中国", "台湾省", "台北市"), ("CN", "710000", "710400")),
        (("中国", "台湾", "新竹县"), ("CN", "710000", "711100")),
        (("中国", "台湾", "新竹"), ("CN", "710000", None)),
        (("中国", "中国", ""), ("CN", "100000", None)),
        (("中国", "香港", ""), ("CN", "810000", None)),
        (("香港", "", ""), ("HK", None, None)),
        (("Macao", "", ""), ("MO", None, None)),
        (("台湾", "", ""), ("TW", None, None)),
        (("刚果金", "", ""), ("CD", None, None)),
        (("刚果（布）", "", ""), ("CG", None, None)),
        (("RUSSIAN FEDERATION", "", ""), ("RU", None, None)),
        (("840", "", ""), ("US", None, None)),
        (("USA", "", ""), ("US", None, None)),
        (("UK", "", ""), ("GB", None, None)),
        (("no", "", ""), (None, None, None)),
        (("圣马丁", "", ""), (None, None, None)),
    ],
)
def test_the_built_in_tables_know_a_place_by_all_its_names(
    names: tuple[str, str, str], expected: tuple[str | None, ...]
) -> None:
    assert BUILT_IN.of(Location(*names)) == expected


def test_the_operators_codes_win_under_all_names_of_a_place() -> None:
    codes = Codes(
        {
            ("大中华",): "CN",
            ("日本",): "XJ",
            ("中国", "河南省"): "419999",
            ("中国", "湖北", "武汉"): "429999",
            ("Atlantis", "Deep"): "999999",
        }
    )
    assert codes.of(Location("日本")) == ("XJ", None, None)
    assert codes.of(Location("Japan")) == ("XJ", None, None)
    assert codes.of(Location("中国", "河南", "商丘")) == ("CN", "419999", "411400")
    assert codes.of(Location("大中华", "河南", "商丘市")) == ("CN", "419999", "411400")
    assert codes.of(Location("中国", "湖北省", "武汉市")) == ("CN", "420000", "429999")
    assert codes.of(Location("Atlantis", "Deep")) == (None, "999999", None)


def test_an_exact_name_wins_over_the_other_names_of_its_place() -> None:
    codes = Codes({("中国", "河南"): "410001", ("中国", "河南省"): "410002"})
    provinces = [codes.of(Location("中国", name))[1] for name in ("河南", "河南省", "Henan")]
    assert provinces == ["410001", "410002", "410001"]


def test_names_that_should_have_a_code() -> None:
    assert list(BUILT_IN.uncoded(Location("中国", "北京", "通州"))) == [("中国", "北京", "通州")]
    assert list(BUILT_IN.uncoded(Location("中国", "江南", "南京"))) == [("中国", "江南")]
    assert list(BUILT_IN.uncoded(Location("中国", "香港", "荃湾"))) == []
    assert list(BUILT_IN.uncoded(Location("日本", "东京"))) == []
    assert list(BUILT_IN.uncoded(Location("Atlantis"))) == [("Atlantis",)]
    assert list(BUILT_IN.uncoded(Location("欧盟"))) == []
    own = Codes({("日本", "东京"): "139999"})
    assert list(own.uncoded(Location("日本", "大阪"))) == [("日本", "大阪")]


def test_a_non_place_with_a_code_is_a_place() -> None:
    assert BUILT_IN.kind(Location("欧盟")) == "region"
    assert BUILT_IN.kind(Location("日本")) is None
    assert BUILT_IN.kind(Location("Atlantis")) is None
    assert Codes({("欧盟",): "EU"}).kind(Location("欧盟")) is None


# The 2017 file


@pytest.fixture(scope="module")
def locations(real_data: Path) -> Sequence[Location]:
    return read_source(real_data / "17monipdb.dat").locations


def recoded(locations: Sequence[Location], before: Codes, after: Codes) -> Iterator[Location]:
    """Yield the locations of which a code changes."""
    for location in locations:
        pairs = zip(before.of(location), after.of(location), strict=True)
        if any(old and old != new for old, new in pairs):
            yield location


def test_the_built_in_codes_are_those_of_the_code_files(
    locations: Sequence[Location], real_data: Path
) -> None:
    found = list(recoded(locations, read_codes(real_data), BUILT_IN))
    # Recoded to 540600 in 2017, as the table's note says.
    assert [location.city for location in found] == ["那曲地区"]


def test_the_code_files_win(locations: Sequence[Location], real_data: Path) -> None:
    codes = read_codes(real_data)
    for location in locations:
        names = location.country, location.province, location.city
        for end, code in enumerate(codes.of(location), start=1):
            assert code == codes.by_names.get(names[:end], code)


def test_no_name_of_2017_is_unknown(locations: Sequence[Location]) -> None:
    assert [path for location in locations for path in BUILT_IN.uncoded(location)] == []
    kinds = Counter(map(BUILT_IN.kind, locations))
    assert kinds.keys() == {None, "reserved", "private", "shared", "region", "organization"}


LONG_NAMES = {"北京": "北京市", "河南": "河南省", "广西": "广西壮族自治区", "商丘": "商丘市"}


def test_code_files_in_long_names_give_the_same_codes(
    locations: Sequence[Location], real_data: Path, tmp_path: Path
) -> None:
    for path in real_data.glob("c*.txt"):
        text = path.read_text(encoding="utf-8-sig").replace("北京\t北京", "北京市\t北京市")
        rows = [line.split("\t") for line in text.splitlines()]
        lines = ("\u00a0\t".join(LONG_NAMES.get(cell, cell) for cell in row) for row in rows)
        content = "\ufeff" + "".join(f"{line} \u3000\r\n" for line in lines)
        (tmp_path / path.name).write_bytes(content.encode())
    long, short = read_codes(tmp_path), read_codes(real_data)
    assert long.by_names.keys() != short.by_names.keys()
    assert [long.of(location) for location in locations] == [*map(short.of, locations)]
