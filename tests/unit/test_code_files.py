"""An operator's code files: their forms, and their faults."""

from pathlib import Path

import pytest

from harness.sources import write_codes
from ipgeo.errors import InputError
from ipgeo.places.code_files import read_codes

BOM = "\ufeff".encode()
NO_BREAK, IDEOGRAPHIC = "\u00a0", "\u3000"

FORMS = {
    "plain": lambda content: content,
    "byte order mark": lambda content: BOM + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "both": lambda content: BOM + content.replace(b"\n", b"\r\n"),
    "no final newline": lambda content: content.rstrip(b"\n"),
    "blank lines": lambda content: content.replace(b"\n", b"\n \t \n"),
    "blanks around cells": lambda content: content.replace(b"\t", b" \t ").replace(b"\n", b" \n"),
    "no-break spaces": lambda content: content.replace(b"\t", f"{NO_BREAK}\t{NO_BREAK}".encode()),
    "ideographic spaces": lambda content: content.replace(b"\t", f"{IDEOGRAPHIC}\t".encode()),
    "files joined together": lambda content: BOM + content + BOM + content,
    "a byte order mark after a blank": lambda content: b" " + BOM + b" " + content,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_codes(tmp_path: Path, form: str) -> None:
    codes = read_codes(write_codes(tmp_path, change=FORMS[form]))
    assert codes.by_names == read_codes(write_codes(tmp_path / "plain")).by_names
    assert codes.by_names["中国", "北京", "北京"] == "110000"


COUNTRY, PROVINCE, CITY = "country_list.txt", "china_province_code.txt", "china_city_code.txt"

BROKEN = {
    "columns": (CITY, "110000\t中国\t北京\n", "line 1: 3 columns instead of 4"),
    "an empty code": (PROVINCE, "110000\t中国\t北京\n\t中国\t上海\n", "line 2: an empty name"),
    "an empty name": (COUNTRY, "\tCN\t\t\t\t\t\n", "line 1: an empty name or code"),
    "a blank name": (PROVINCE, f"110000\t中国\t{NO_BREAK} \n", "line 1: an empty name or code"),
    "two codes": (
        PROVINCE,
        "110000\t中国\t北京\n310000\t中国\t北京\n",
        "line 2: 中国 北京 already has code 110000",
    ),
    "two codes after trimming": (
        PROVINCE,
        "110000\t中国\t北京\n310000\t中国\t北京 \n",
        "line 2: 中国 北京 already has code 110000",
    ),
    "a control character": (PROVINCE, "110000\t中国\t北\0京\n", "line 1: a control character (U+"),
    "old Mac's line ends": (CITY, "1\t中国\t北京\t北京\r120000\n", "line 1: a control character"),
    "no visible width": (PROVINCE, "110000\t中国\t北\u200b京\n", "line 1: ZERO WIDTH SPACE (U+"),
    "a mark at the end": (PROVINCE, "110000\t中国\t北京\u200e\n", "line 1: LEFT-TO-RIGHT MARK"),
    "a no-break space inside": (
        COUNTRY,
        f"Costa{NO_BREAK}Rica\tCR\t\t\t\t\t\n",
        "line 1: NO-BREAK SPACE (U+00A0)",
    ),
    "no rows": (PROVINCE, "", "no rows"),
    "blanks alone": (PROVINCE, f" \n{NO_BREAK}\n", "no rows"),
    "a spreadsheet's number": (PROVINCE, "410000.0\t中国\t河南\n", "line 1: the code '410000.0'"),
    "five digits": (PROVINCE, "41000\t中国\t河南\n", "line 1: the code '41000' is not six digits"),
    "twelve digits": (CITY, "410100000000\t中国\t河南\t郑州\n", "line 1: the code '410100000000'"),
    "full-width digits": (PROVINCE, "４１００００\t中国\t河南\n", "line 1: the code '４１"),
    "another script's digits": (PROVINCE, "٤١٠٠٠٠\t中国\t河南\n", "line 1: the code"),
    "columns exchanged": (PROVINCE, "中国\t河南\t410000\n", "line 1: the code '中国'"),
    "a header of provinces": (PROVINCE, "code\tcountry\tname\n", "line 1: the code 'code'"),
    "a header of countries": (
        COUNTRY,
        "name\tcode\tcontinent\tprefix\tzone\tlat\tlon\n",
        "line 1: the code 'code' is not two capital letters",
    ),
    "a header that has a code": (
        COUNTRY,
        "NAME\tID\tCONTINENT\tPREFIX\tZONE\tLAT\tLON\n",
        "line 1: a header row: its latitude is 'LAT'",
    ),
    "small letters": (COUNTRY, "中国\tcn\t\t\t\t\t\n", "line 1: the code 'cn'"),
    "full-width letters": (COUNTRY, "中国\tＣＮ\t\t\t\t\t\n", "line 1: the code 'ＣＮ'"),
    "three letters": (COUNTRY, "中国\tCHN\t\t\t\t\t\n", "line 1: the code 'CHN'"),
    "another alphabet": (COUNTRY, "中国\tСN\t\t\t\t\t\n", "line 1: the code"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    file, content, expected = BROKEN[name]
    (write_codes(tmp_path) / file).write_bytes(content.encode())
    with pytest.raises(InputError) as caught:
        read_codes(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / file}: {expected}")


def test_invalid_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_codes(tmp_path) / COUNTRY
    path.write_bytes(path.read_bytes() + b"\xff\tXX\t\t\t\t\t\n")
    with pytest.raises(InputError, match=r"country_list\.txt: line 3: not UTF-8"):
        read_codes(tmp_path)


def test_all_three_files_are_required(tmp_path: Path) -> None:
    (write_codes(tmp_path) / CITY).unlink()
    with pytest.raises(FileNotFoundError):
        read_codes(tmp_path)


def test_the_real_files(real_data: Path) -> None:
    assert len(read_codes(real_data).by_names) == 238 + 35 + 388
