"""Real MMDBs as sources: every answer by a second reading, and those that were written down."""

import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crosscheck import mmdb_answers
from harness import steps
from harness.compiler import SAMPLE, compiler
from ipgeo.blob.reader import Blob
from mmdb_facts import FACTS

DONE, BAD_INPUT, USAGE = 0, 1, 2

OTHERS = (
    "GeoIP2-City-Test.mmdb",
    "GeoIP2-ISP-Test.mmdb",
    "GeoLite2-ASN-Test.mmdb",
    "GeoLite2-City-Test.mmdb",
    "GeoLite2-Country-Test.mmdb",
    "MaxMind-DB-test-ipv4-24.mmdb",
    "MaxMind-DB-test-ipv6-32.mmdb",
    "MaxMind-DB-test-mixed-28.mmdb",
)
"""The sound files in mmdb/; tests/unit/test_mmdb_files.py has the list of all."""

PATHS = [*(f"formats/{name}" for name in FACTS), *(f"mmdb/{name}" for name in OTHERS)]


@pytest.fixture(scope="session")
def built(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Path]]:
    """Return the function that builds a real file, and returns it unpacked, and its blob."""
    folder = tmp_path_factory.mktemp("mmdb")
    folder.chmod(0o755)  # or the servers cannot read the blobs, and each build warns of it
    known: dict[tuple[object, ...], tuple[Path, Path]] = {}

    def build(name: str, *options: str) -> tuple[Path, Path]:
        key = (name, *options)
        if key not in known:
            source = plain = real_data / name
            if source.suffix == ".xz":
                plain = folder / source.stem
                plain.write_bytes(lzma.decompress(source.read_bytes()))
            out = folder / f"{len(known)}.blob"
            done = compiler("build", source, "-o", out, *options)
            assert (done.status, done.err) == (DONE, "")
            known[key] = plain, out
        return known[key]

    return build


def answers_of(out: Path) -> steps.Families:
    """What the blob in a file answers, as the second reading has it."""
    return steps.of_blob(Blob(out.read_bytes()))


LANGUAGES = {
    "en": ("en",),
    "de": ("de",),
    "zh-CN": ("zh-CN",),
    "ja,en": ("ja", "en"),
}


@pytest.mark.parametrize("name", PATHS)
def test_every_answer_is_that_of_a_second_reading(
    built: Callable[..., tuple[Path, Path]], name: str
) -> None:
    source, out = built(name)
    assert answers_of(out) == mmdb_answers.read(source)


@pytest.mark.parametrize("languages", LANGUAGES)
@pytest.mark.parametrize("name", [path for path in PATHS if "City" in path or "ipinfo" in path])
def test_every_answer_in_other_languages(
    built: Callable[..., tuple[Path, Path]], name: str, languages: str
) -> None:
    source, out = built(name, "--language", languages)
    assert answers_of(out) == mmdb_answers.read(source, LANGUAGES[languages])


KEPT = {
    "formats/ipinfo_lite_sample.mmdb": ("as_domain", "country_code"),
    "mmdb/GeoIP2-City-Test.mmdb": ("traits", "represented_country.type", "subdivisions.1"),
    "mmdb/GeoIP2-ISP-Test.mmdb": ("autonomous_system_number",),
}


@pytest.mark.parametrize("name", KEPT)
def test_every_answer_with_kept_fields(built: Callable[..., tuple[Path, Path]], name: str) -> None:
    keep = KEPT[name]
    source, out = built(name, *(f"--keep={path}" for path in keep))
    answers = answers_of(out)
    assert answers == mmdb_answers.read(source, keep=keep)
    assert answers != mmdb_answers.read(source)


def test_the_second_reading_notices_a_wrong_answer(
    built: Callable[..., tuple[Path, Path]],
) -> None:
    source, out = built("mmdb/GeoLite2-City-Test.mmdb")
    expected, _ = mmdb_answers.read(source)
    found, _ = answers_of(out)
    assert found == expected
    for wrong in (mmdb_answers.read(source, ("de",)), mmdb_answers.read(source, (), ("city",))):
        assert found != wrong[0]


def test_broken_files_are_refused_at_an_offset_or_answer_right(
    real_data: Path, tmp_path: Path
) -> None:
    sound = {real_data / path for path in PATHS}
    broken = sorted(set((real_data / "mmdb").rglob("*.mmdb")) - sound)
    unexpected = {}
    for path in broken:
        out = tmp_path / f"{path.stem}.blob"
        done = compiler("build", path, "-o", out)
        if done.status == DONE:
            right = answers_of(out) == mmdb_answers.read(path)
        else:
            refused = re.fullmatch(rf"Error: {re.escape(str(path))}: offset \d+.*\n", done.err)
            right = done.status == BAD_INPUT and bool(refused) and not out.exists()
        if not right:
            unexpected[path.name] = done
    assert unexpected == {}
    assert len(list(tmp_path.glob("*.blob"))) < len(broken) / 4


# What was counted and looked up by others


@pytest.mark.parametrize("name", FACTS)
def test_a_file_has_the_facts_that_were_counted(
    built: Callable[..., tuple[Path, Path]], name: str
) -> None:
    facts = FACTS[name]
    _, out = built(f"formats/{name}")
    assert json.loads(out.with_name(f"{out.name}.json").read_text())["counts"]["records"] == (
        facts.records
    )
    with_data = [
        line.split(",")[:2]
        for line in compiler("export", out, "--format", "csv", "-o", "-").out.splitlines()[1:]
    ]
    for ends, separator in ((facts.ipv4, "."), (facts.ipv6, ":")):
        family = [ip for ip in with_data if separator in ip[0]]
        assert (family[0][0], family[-1][1]) == ends if ends else not family
    done = compiler("lookup", out, "--format", "object", *facts.answers)
    assert done.status == DONE
    for line, (ip, expected) in zip(done.out.splitlines(), facts.answers.items(), strict=True):
        asked, _, text = line.partition("\t")
        found = json.loads(text)
        assert asked == ip
        assert (found and {key: found[key] for key in expected or ()}) == expected


# Options


@pytest.mark.parametrize("languages", ["", "klingon", "en,", "zh_CN,en", "en;de"])
def test_an_unknown_language_is_refused(tmp_path: Path, languages: str) -> None:
    done = compiler("build", SAMPLE, "-o", tmp_path / "out.blob", "--language", languages)
    assert (done.status, done.out) == (USAGE, "")
    assert "is not a language tag such as en or zh-CN" in done.err


DAT_OPTIONS = {
    "--language=en": "17mon-dat has names in one language: no --language",
    "--keep=asn": "17mon-dat has standard fields alone: no --keep",
}


@pytest.mark.parametrize("option", DAT_OPTIONS)
def test_a_dat_file_has_no_use_for_an_option(tmp_path: Path, option: str) -> None:
    done = compiler("build", SAMPLE, "-o", tmp_path / "out.blob", option)
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == f"Error: {SAMPLE}: {DAT_OPTIONS[option]}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_no_record_has_is_named(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "mmdb" / "GeoLite2-City-Test.mmdb"
    done = compiler("build", source, "-o", tmp_path / "out.blob", "--keep=nosuch.field")
    assert (done.status, done.out) == (BAD_INPUT, "")
    assert done.err == f"Error: {source}: no record has nosuch.field\n"


OPTIONS = ("--language=ja,en", "--keep=traits", "--keep=represented_country")


def test_the_blob_remembers_its_options(built: Callable[..., tuple[Path, Path]]) -> None:
    source, out = built("mmdb/GeoIP2-City-Test.mmdb", *OPTIONS)
    meta = json.loads(compiler("inspect", out, "--json").out)["meta"]
    assert meta["languages"] == ["ja", "en"]
    assert meta["keep"] == ["traits", "represented_country"]
    text = compiler("inspect", out).out.splitlines()
    assert 'languages  ["ja", "en"]' in text
    assert 'keep       ["traits", "represented_country"]' in text
    done = compiler("verify", out, "--against", source)
    assert (done.status, done.err) == (DONE, "")
    _, default = built("mmdb/GeoIP2-City-Test.mmdb")
    assert out.read_bytes() != default.read_bytes()


def test_the_default_languages_are_in_the_blob(built: Callable[..., tuple[Path, Path]]) -> None:
    for name, languages in (("loyal-cn-private", ["zh-CN", "en"]), ("ipinfo_lite_sample", ["en"])):
        _, out = built(f"formats/{name}.mmdb")
        assert Blob(out.read_bytes()).meta["languages"] == languages
