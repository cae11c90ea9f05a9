"""The two proofs: the compiler's own, and script/prove, which shares no code with it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from harness import ROOT, blobs, wait
from harness.compiler import SAMPLE, SAMPLE_CODES, build, exchanged
from harness.parts import in_parts
from harness.sources import dat, small_dat, write_codes
from ipgeo.blob.reader import Blob, read_blob
from ipgeo.compiling.prove import prove
from ipgeo.errors import ProofError
from ipgeo.places.code_files import read_codes
from ipgeo.places.codes import Codes
from ipgeo.ranges.address import ADDRESS_COUNT, IPV6, format_ipv4
from ipgeo.ranges.columns import Runs4
from ipgeo.sources.dat import EDITIONS
from ipgeo.sources.registry import read_source

SCRIPT = ROOT / "script" / "prove"
READING = ROOT / "crosscheck" / "reading.py"
SWEEP = ROOT / "crosscheck" / "sweep.lua"
SECONDS = 1200

EQUAL, DIFFERENT, USAGE = 0, 1, 2

# Two records of the sample: 8.8.8.0/24 and the rest of 8.0.0.0/8 after it.
GOOGLE, NEXT_AFTER_GOOGLE = "8.8.8.0", "8.8.9.0"


def start(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(proof: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = proof.communicate(timeout=SECONDS)
    return proof.returncode, out, err


def exchanged_sample() -> bytes:
    runs = read_source(SAMPLE).v4
    record = list(runs.starts).index(0x08080800)
    return exchanged(SAMPLE.read_bytes(), record, record + 1)


@dataclass
class Proof:
    """A blob of the sample or the real data, and script/prove at work on it."""

    blob: Path
    process: "subprocess.Popen[str]"

    def result(self) -> tuple[int, str, str]:
        return finish(self.process)


@pytest.fixture(scope="module")
def proofs(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Proof]]:
    """All whole proofs, started together: each keeps one core busy for some twenty seconds."""
    folder = tmp_path_factory.mktemp("prove")
    wrong = folder / "exchanged.dat"
    wrong.write_bytes(exchanged_sample())
    build(folder / "right.blob")
    build(folder / "wrong.blob", wrong)
    build(folder / "built-in.blob", codes=None)
    sources: dict[str, tuple[Path, ...]] = dict.fromkeys(("right", "wrong"), (SAMPLE, SAMPLE_CODES))
    sources["built-in"] = (SAMPLE,)
    with contextlib.suppress(pytest.skip.Exception):  # the test that wants it skips by itself
        real = request.getfixturevalue("real_data")
        (folder / "real.blob").write_bytes(request.getfixturevalue("real_blob"))
        sources["real"] = real / "17monipdb.dat", real
    running = {
        name: Proof(folder / f"{name}.blob", start(folder / f"{name}.blob", *source))
        for name, source in sources.items()
    }
    yield running
    for proof in running.values():
        if proof.process.poll() is None:
            proof.process.kill()
            proof.process.communicate()


# script/prove


def test_the_sample_is_equal(proofs: dict[str, Proof]) -> None:
    changes = read_blob(proofs["right"].blob).runs
    line = f"equal: {changes} changes of answer over all {ADDRESS_COUNT} addresses\n"
    assert proofs["right"].result() == (EQUAL, line, "")


def test_the_sample_with_the_built_in_codes_is_equal(proofs: dict[str, Proof]) -> None:
    changes = read_blob(proofs["built-in"].blob).runs
    line = f"equal: {changes} changes of answer over all {ADDRESS_COUNT} addresses\n"
    assert proofs["built-in"].result() == (EQUAL, line, "")


def test_two_exchanged_contents_are_caught(proofs: dict[str, Proof]) -> None:
    status, out, err = proofs["wrong"].result()
    assert (status, err) == (DIFFERENT, "")
    google = '["美国", "US", "美国", "None", "", "None", "Google Public DNS", ""]'
    lines = out.splitlines()
    assert lines[0] == "different: 3 changes are only in the source or only in the blob"
    assert lines[1] == f"  from {GOOGLE} on the source answers {google}"
    assert f"  from {NEXT_AFTER_GOOGLE} on the blob answers {google}" in lines[2:]
    assert len(lines) == 4


def test_the_real_data_are_equal(real_data: Path, proofs: dict[str, Proof]) -> None:
    line = f"equal: 243816 changes of answer over all {ADDRESS_COUNT} addresses\n"
    assert proofs["real"].result() == (EQUAL, line, "")


@pytest.mark.parametrize("arguments", [[], ["x"], ["x", "y", "z", "extra"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert finish(start(*arguments)) == (USAGE, "", "usage: script/prove BLOB SOURCE.dat [CODES]\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "0 bytes"),
        (blobs.fictional()[:-1], "bytes"),
        (blobs.fictional()[:-1] + b"\xff", "checksum"),
    ],
)
def test_a_file_that_is_not_a_blob_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "bad.blob"
    if content is not None:
        path.write_bytes(content)
    status, out, err = finish(start(path, SAMPLE, SAMPLE_CODES))
    assert status == DIFFERENT
    assert err.count("\n") == 1
    assert str(path) in err
    assert problem in err
    assert "equal" not in out


INPUTS = {
    "the blob": 0,
    "the source": 1,
    "a code file": 2,
}


@pytest.mark.parametrize("kind", ["a FIFO", "an endless device", "a folder", "nothing"])
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_is_not_a_file_is_refused_before_the_sweep(
    tmp_path: Path, name: str, kind: str
) -> None:
    build(tmp_path / "right.blob")
    shutil.copy(SAMPLE, tmp_path / "right.dat")
    codes = shutil.copytree(SAMPLE_CODES, tmp_path / "codes")
    inputs = [tmp_path / "right.blob", tmp_path / "right.dat", codes / "china_city_code.txt"]
    path = inputs[INPUTS[name]]
    path.unlink()
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "an endless device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    problem = "No such file or directory" if kind == "nothing" else "not a regular file"
    expected = (DIFFERENT, "", f"prove: {path}: {problem}\n")
    assert finish(start(inputs[0], inputs[1], codes)) == expected


@pytest.mark.parametrize("kind", ["a FIFO", "an endless device", "terabytes"])
def test_the_second_reader_never_blocks(tmp_path: Path, kind: str) -> None:
    blob = Blob(build(tmp_path / "right.blob"))
    source = tmp_path / "source.dat"
    problem = f"{source} is not a regular file"
    if kind == "a FIFO":
        os.mkfifo(source)
    elif kind == "an endless device":
        source.symlink_to("/dev/zero")
    else:
        source.touch()
        os.truncate(source, 1 << 40)
        problem = f"{source} has {1 << 40} bytes (limit {1 << 30})"
    done = read_again(blob, source, SAMPLE_CODES)
    message = f"{source} with {SAMPLE_CODES} cannot be read: {problem}\n"
    assert (done.returncode, done.stdout, done.stderr) == (DIFFERENT, "", message)


def test_a_blob_of_terabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "huge.blob"
    path.touch()
    os.truncate(path, 1 << 40)
    problem = f"{path}: {1 << 40} bytes, a blob has at most {(1 << 31) - 1}\n"
    assert finish(start(path, SAMPLE, SAMPLE_CODES)) == (DIFFERENT, "", problem)


@pytest.mark.usefixtures("_interrupts")
def test_ctrl_c_ends_the_sweep(tmp_path: Path) -> None:
    """It comes from the terminal, to all processes of the group."""
    build(tmp_path / "right.blob")
    proof = subprocess.Popen(
        [str(SCRIPT), str(tmp_path / "right.blob"), str(SAMPLE), str(SAMPLE_CODES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait.until(partial(both_work, proof.pid), "both parts of the proof are at work")
        os.killpg(proof.pid, signal.SIGINT)
        assert finish(proof) == (-signal.SIGINT, "", "")
    finally:
        if proof.poll() is None:
            os.killpg(proof.pid, signal.SIGKILL)


def both_work(group: int) -> bool:
    """Whether the sweep runs and the second reading waits for its end."""
    found = subprocess.run(
        ["pgrep", "-g", str(group), "-a"], capture_output=True, text=True, check=False
    ).stdout
    reading = [int(line.split()[0]) for line in found.splitlines() if "reading.py" in line]
    return "luajit " in found and bool(reading) and is_past_its_start(reading[0])


def is_past_its_start(process: int) -> bool:
    """Whether a process of Python, which sets SIGINT and SIGPIPE up, has left SIGINT again."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text()
        fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        caught, ignored = (int(fields[name], 16) for name in ("SigCgt", "SigIgn"))
        sleeps = fields["State"].startswith("S")
        return sleeps and bool(ignored >> 12 & 1) and not caught >> 1 & 1
    return False


# The second reading, fed with the edge's expected output


def swept(blob: Blob) -> str:
    """What crosscheck/sweep.lua prints for a blob, by Python's own reading of it."""
    lines = [
        f"change {first} {-1 if number is None else number}" for first, _, number in blob.spans()
    ]
    for first, _, number in blob.spans(IPV6):
        lines.append(f"change6 {first:032x} {-1 if number is None else number}")
    for number in range(blob.rows):
        array, members = blob.answer(number)
        lines.append(f"answer {number} {array.decode()}\t{members.decode()}")
    return "\n".join(lines) + "\n"


def read_again(blob: Blob, source: Path, codes: Path | None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(READING), str(source), *([str(codes)] if codes else [])],
        input=swept(blob),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_sweep_of_both_families(tmp_path: Path) -> None:
    path = tmp_path / "parts.blob"
    path.write_bytes(in_parts().data)
    done = subprocess.run(
        ["luajit", str(SWEEP), str(ROOT / "lua"), str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    # A row that no run has is not swept.
    blob = read_blob(path)
    seen = {str(row) for runs in (blob.v4, blob.v6) if runs for row in runs.ids}
    lines = [line for line in swept(blob).splitlines() if _is_seen(line, seen)]
    assert sorted(done.stdout.splitlines()) == sorted(lines)


def _is_seen(line: str, rows: set[str]) -> bool:
    return not line.startswith("answer ") or line.split(" ", 2)[1] in rows


@pytest.mark.parametrize("count", EDITIONS)
def test_both_read_every_edition_alike(tmp_path: Path, count: int) -> None:
    source, codes = tmp_path / "source.dat", write_codes(tmp_path / "codes")
    source.write_bytes(small_dat(count) + b"trailing")
    blob = Blob(build(tmp_path / "x.blob", source, codes))
    done = read_again(blob, source, codes)
    assert (done.returncode, done.stderr) == (EQUAL, "")
    assert done.stdout.startswith("equal: 3 changes ")


FORMS = {
    "plain": bytes,
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "empty lines": lambda content: content.replace(b"\n", b"\n\n"),
    "blanks": lambda content: content.replace(b"\t", "\u00a0\t ".encode()).replace(b"\n", b" \n"),
    "long names": lambda content: content.replace("北京\t北京".encode(), "北京市\t北京市".encode()),
    "other codes": lambda content: content.replace(b"CN", b"XC").replace(b"1", b"9"),
    "another name of the country": lambda content: content.replace("中国".encode(), b"Cathay"),
}

PLACES = [
    ("中国", "北京", "北京", ""),
    ("中国", "北京市", "北京市", ""),
    ("China", "CN-BJ", "Beijing", ""),
    ("Cathay", "北京", "北京", ""),
    ("中国", "黑龙江", "鹤岗", ""),
    ("中国", "黑龙江", "鹤岗市", ""),
    ("日本", "山行县", "鹤岗", ""),
    ("鹤岗", "", "", ""),
    ("中国", "", "北京", ""),
    ("中国", "新疆维吾尔自治区", "阿克苏", ""),
    ("刚果（金）", "刚果（金）", "", ""),
    ("840", "", "", ""),
    ("united states", "", "", ""),
    ("us", "", "", ""),
    ("香港", "香港", "", ""),
    ("保留地址", "", "", ""),
]


@pytest.mark.parametrize("form", [*FORMS, None])
def test_both_read_every_form_of_the_codes_alike(tmp_path: Path, form: str | None) -> None:
    codes = write_codes(tmp_path / "codes", change=FORMS[form]) if form else None
    source = tmp_path / "source.dat"
    source.write_bytes(dat([(n << 8, place) for n, place in enumerate(PLACES)]))
    blob = Blob(build(tmp_path / "x.blob", source, codes))
    done = read_again(blob, source, codes)
    assert (done.returncode, done.stderr) == (EQUAL, "")


def test_both_give_the_real_data_the_same_built_in_codes(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "17monipdb.dat"
    done = read_again(Blob(build(tmp_path / "x.blob", source, None)), source, None)
    assert (done.returncode, done.stderr) == (EQUAL, "")
    assert done.stdout.startswith("equal: 243816 changes ")


WRONG_SOURCES = {
    "another answer": (dat([(0, ("A", "", "", "")), (9, ("C", "", "", ""))]), "0.0.0.9"),
    "another bound": (dat([(0, ("A", "", "", "")), (8, ("B", "", "", ""))]), "0.0.0.8"),
    "one change less": (dat([(0, ("A", "", "", ""))]), "0.0.0.9"),
    "one change more": (
        dat([(0, ("A", "", "", "")), (9, ("B", "", "", "")), (99, ("A", "", "", ""))]),
        "0.0.0.99",
    ),
    "the last address": (
        dat([(0, ("A", "", "", "")), (9, ("B", "", "", "")), ((1 << 32) - 1, ("A", "", "", ""))]),
        "255.255.255.255",
    ),
}


@pytest.mark.parametrize("name", WRONG_SOURCES)
def test_both_see_a_difference(tmp_path: Path, name: str) -> None:
    right, wrong = tmp_path / "right.dat", tmp_path / "wrong.dat"
    right.write_bytes(dat([(0, ("A", "", "", "")), (9, ("B", "", "", ""))]))
    blob = Blob(build(tmp_path / "x.blob", right, SAMPLE_CODES))
    data, address = WRONG_SOURCES[name]
    wrong.write_bytes(data)
    codes = read_codes(SAMPLE_CODES)
    prove(blob, read_source(right), codes)
    with pytest.raises(ProofError, match=rf"^{address.replace('.', '[.]')}: "):
        prove(blob, read_source(wrong), codes)
    done = read_again(blob, wrong, SAMPLE_CODES)
    assert (done.returncode, done.stderr) == (DIFFERENT, "")
    assert f"  from {address} on the " in done.stdout
    assert done.stdout.startswith("different: ")


def test_differences_are_sorted_by_address_with_the_source_first(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.dat", tmp_path / "wrong.dat"
    for path, organization in ((right, "right"), (wrong, "wrong")):
        path.write_bytes(dat([(n, (str(n), "", "", organization)) for n in range(5)]))
    done = read_again(Blob(build(tmp_path / "x.blob", right, None)), wrong, None)
    starts = [line.partition(" answers ")[0] for line in done.stdout.splitlines()[1:]]
    sides = ("source", "blob")
    assert starts == [f"  from 0.0.0.{n} on the {side}" for n in range(5) for side in sides]


@pytest.mark.parametrize(
    "data", [b"", small_dat()[:500], small_dat()[:1040], small_dat()[:-5], b"\xff" * 3000]
)
def test_an_invalid_source_is_refused(tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "bad.dat"
    blob = Blob(build(tmp_path / "x.blob"))
    source.write_bytes(data)
    done = read_again(blob, source, SAMPLE_CODES)
    assert done.returncode == DIFFERENT
    assert "Traceback" not in done.stderr
    assert "equal: " not in done.stdout


def fed(tmp_path: Path, sweep: bytes, end: str = "") -> "subprocess.CompletedProcess[str]":
    """Let the second reading compare a source of one answer with ``sweep``."""
    source, file = tmp_path / "source.dat", tmp_path / "sweep"
    source.write_bytes(dat([(0, ("A", "", "", ""))]))
    file.write_bytes(sweep)
    program = f"'{sys.executable}' '{READING}' '{source}' '{SAMPLE_CODES}'"
    command = f"set -o pipefail; {{ sleep 0.2; exec {program} <'{file}'; }} {end}"
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )


ANSWER = b'answer 0 []\t"x":1}\n'


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        (b"nonsense\n", 1),
        (b"change\n", 1),
        (ANSWER + b"change 0\n", 2),
        (ANSWER + b"change x 0\n", 2),
        (ANSWER + b"change -1 0\n", 2),
        (ANSWER + b"change 4294967296 0\n", 2),
        (ANSWER + b"change 0 0\nchange 1 7\n", 3),
        (b"answer 0\n", 1),
        (b"answer 0 []\n", 1),
        (b"answer 0 []\t{}\t{}\n", 1),
        (b"answer 0 [\t}\n", 1),
        (b"answer 0 " + b"[" * 100_000 + b"\t}\n", 1),
    ],
)
def test_a_sweep_that_cannot_be_parsed(tmp_path: Path, sweep: bytes, line: int) -> None:
    done = fed(tmp_path, sweep)
    assert (done.returncode, done.stdout) == (DIFFERENT, "")
    assert done.stderr.startswith(f"the sweep cannot be read: line {line} of the sweep: ")
    assert done.stderr.count("\n") == 1


def test_a_sweep_that_is_not_utf8(tmp_path: Path) -> None:
    done = fed(tmp_path, b"answer 0 [\xff]\t}\n", "")
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (DIFFERENT, "", False)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "gbk"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_the_sweep_is_utf8_in_every_locale(
    tmp_path: Path, locale: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    sweep = 'change 0 0\nanswer 0 ["中国"]\t"x":1}\n'
    done = fed(tmp_path, sweep.encode(), f"| tee '{tmp_path / 'output'}'")
    assert (done.returncode, done.stderr) == (DIFFERENT, "")
    assert '  from 0.0.0.0 on the blob answers ["中国"]\n' in (tmp_path / "output").read_text(
        "utf-8"
    )


HALF = b'change 0 0\nanswer 0 ["\\ud800"]\t"x":1}\n'


def test_half_a_surrogate_pair_is_shown(tmp_path: Path) -> None:
    done = fed(tmp_path, HALF)
    assert (done.returncode, done.stderr) == (DIFFERENT, "")
    assert '  from 0.0.0.0 on the blob answers ["\\ud800"]\n' in done.stdout


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        ("| true", "the result cannot be printed: Broken pipe\n"),
        (">/dev/full", "the result cannot be printed: No space left on device\n"),
        (">&-", "standard input or output is closed\n"),
    ],
)
def test_a_result_that_cannot_be_printed(tmp_path: Path, end: str, problem: str) -> None:
    done = fed(tmp_path, HALF, end)
    assert (done.returncode, done.stdout, done.stderr) == (DIFFERENT, "", problem)


# The compiler's own proof


def test_two_exchanged_contents_fail_the_proof(tmp_path: Path) -> None:
    wrong = tmp_path / "exchanged.dat"
    wrong.write_bytes(exchanged_sample())
    blob = Blob(build(tmp_path / "x.blob", wrong))
    codes = read_codes(SAMPLE_CODES)
    prove(blob, read_source(wrong), codes)
    with pytest.raises(ProofError, match=rf"^{GOOGLE}: the source answers .*Google.*, the blob"):
        prove(blob, read_source(SAMPLE), codes)


def test_a_gap_fails_the_proof(tmp_path: Path) -> None:
    """A blob without data where its source has some is not equal, nor is the other way round."""
    source = tmp_path / "source.dat"
    source.write_bytes(dat([(0, ("Utopia", "", "", ""))]))
    right = read_source(source)
    with pytest.raises(ProofError, match=r"^0[.]0[.]0[.]0: "):
        prove(Blob(blobs.fictional(gap=True)), right, Codes())


def test_exchanged_real_contents_fail_the_proof(
    real_data: Path, real_blob: bytes, tmp_path: Path
) -> None:
    source = real_data / "17monipdb.dat"
    wrong = tmp_path / "exchanged.dat"
    right = read_source(source)
    runs = right.v4
    # The first two neighbours after 120.0.0.0 that differ.
    record = next(
        i for i in range(bisect_left(runs.starts, 120 << 24), len(runs)) if differ(runs, i)
    )
    wrong.write_bytes(exchanged(source.read_bytes(), record, record + 1))
    codes = read_codes(real_data)
    prove(Blob(real_blob), right, codes)
    with pytest.raises(ProofError, match=rf"^{format_ipv4(runs.starts[record])}: the source "):
        prove(Blob(real_blob), read_source(wrong), codes)


def differ(runs: Runs4, record: int) -> bool:
    """Whether three records in a row have three locations."""
    return len(set(runs.ids[record - 1 : record + 2])) == 3
