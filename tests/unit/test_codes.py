"""The code tables: their forms, their faults, and the scope of a name."""

from pathlib import Path

import pytest

from harness.sources import write_codes
from ipgeo.errors import InputError
from ipgeo.places.code_files import read_codes
from ipgeo.places.codes import Codes
from ipgeo.places.location import Location

BOM = b"\xef\xbb\xbf"

FORMS = {
    "plain": lambda content: content,
    "byte order mark": lambda content: BOM + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "both": lambda content: BOM + content.replace(b"\n", b"\r\n"),
    "no final newline": lambda content: content.rstrip(b"\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_codes(tmp_path: Path, form: str) -> None:
    codes = read_codes(write_codes(tmp_path, change=FORMS[form]))
    assert codes.by_names == read_codes(write_codes(tmp_path / "plain")).by_names
    assert codes.of(Location("中国", "北京", "北京")) == ("CN", "110000", "110000")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (Location("中国", "黑龙江", "鹤岗"), ("CN", "230000", "230400")),
        (Location("日本", "山行县", "鹤岗"), ("JP", None, None)),
        (Location("中国", "北京", "鹤岗"), ("CN", "110000", None)),
        (Location("日本", "北京", "北京"), ("JP", None, None)),
        (Location("保留地址", "保留地址"), (None, None, None)),
    ],
)
def test_a_name_is_looked_up_within_its_country_and_province(
    tmp_path: Path, location: Location, expected: tuple[str | None, ...]
) -> None:
    assert read_codes(write_codes(tmp_path)).of(location) == expected


def test_names_that_ought_to_have_a_code(tmp_path: Path) -> None:
    codes = read_codes(write_codes(tmp_path))
    assert list(codes.uncoded(Location("中国", "北京", "通州"))) == [("中国", "北京", "通州")]
    assert list(codes.uncoded(Location("中国", "江苏", "南京"))) == [("中国", "江苏")]
    assert list(codes.uncoded(Location("日本", "东京"))) == []
    assert list(codes.uncoded(Location("欧盟"))) == [("欧盟",)]
    assert list(Codes().uncoded(Location("欧盟"))) == []


BROKEN = {
    "columns": ("china_city_code.txt", "110000\t中国\t北京\n", "line 1: 3 columns instead of 4"),
    "empty code": ("china_province_code.txt", "110000\t中国\t北京\n\t中国\t上海\n", "line 2"),
    "empty name": ("country_list.txt", "\tCN\t\t\t\t\t\n", "line 1"),
    "conflict": (
        "china_province_code.txt",
        "110000\t中国\t北京\n310000\t中国\t北京\n",
        "line 2: 中国 北京 already has code 110000",
    ),
    "control character": ("china_province_code.txt", "110000\t中国\t北\0京\n", "line 1: a control"),
    "empty file": ("china_province_code.txt", "", "no rows"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    file, content, expected = BROKEN[name]
    (write_codes(tmp_path) / file).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_codes(tmp_path)
    assert file in str(caught.value)
    assert expected in str(caught.value)


def test_invalid_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_codes(tmp_path) / "country_list.txt"
    path.write_bytes(path.read_bytes() + b"\xff\tXX\t\t\t\t\t\n")
    with pytest.raises(InputError, match=r"country_list\.txt: line 3: not UTF-8"):
        read_codes(tmp_path)


def test_all_three_files_are_required(tmp_path: Path) -> None:
    (write_codes(tmp_path) / "china_city_code.txt").unlink()
    with pytest.raises(FileNotFoundError):
        read_codes(tmp_path)


def test_the_real_files(real_data: Path) -> None:
    codes = read_codes(real_data)
    assert len(codes.by_names) == 238 + 35 + 388
    assert codes.of(Location("中国", "北京", "北京")) == ("CN", "110000", "110000")
