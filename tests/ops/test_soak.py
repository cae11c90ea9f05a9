"""The oracle of live refresh: short runs against the edge as it is, and against broken ones."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
from click.testing import CliRunner

from harness import ROOT, wait
from harness.process import children
from harness.soak.__main__ import main
from harness.soak.content import rows_of
from harness.soak.expected import ExpectedBlob, make
from harness.soak.pool import Pool
from harness.soak.run import Plan, Result, run
from harness.soak.tally import FAULTS, MIXED, STALE, WRONG, Tally
from ipgeo.blob.reader import Blob
from ipgeo.ranges.address import parse_address

SMALL = (1_000, 40_000, 12_000, 30_000, 4_000)
"""Runs of blobs that load within milliseconds, of each kind of shape."""

SHAPES = ("whole", "in parts", "arrays whole", "in parts", "whole")
"""How they have their answers."""

FREEZING = Plan(
    swaps=80,
    steady=0.1,
    interval=0.01,
    freeze=True,
    workers=3,
    connections=12,
    batch=4000,
    sizes=SMALL,
)
"""Loads while workers stand still in the middle of long batches."""

ALWAYS = ("store.lua", "if is_intact(snapshot) then", "if true then")
ONE_WRONG = (
    "blob/find.lua",
    "    return row\nend\n",
    "    return row == 77 and 78 or row\nend\n",
)
ONE_WRONG_OF_IPV6 = ("blob/find6.lua", *ONE_WRONG[1:])
LAST_TEXT_WRONG = (
    "blob/pieces.lua",
    "piece.text + entry, target",
    "piece.text + min(entry, piece.last - 1), target",
)
LATE = (
    "store.lua",
    "or snapshot.generation ~= generation then",
    "or ngx.now() % 0.5 < 0.5 - 0.4 * ngx.worker.id() and snapshot.generation ~= generation then",
)


def patched(folder: Path, module: str, old: str, new: str) -> Path:
    """A copy of the edge's Lua code with one change."""
    lua = folder / "lua"
    shutil.copytree(ROOT / "lua", lua)
    path = lua / "ipgeo" / module
    code = path.read_text()
    assert code.count(old) == 1
    path.write_text(code.replace(old, new))
    return lua


def assert_good(result: Result) -> None:
    assert not result.tally.faults, result.tally.examples
    assert result.seen == result.swaps
    assert not result.error_lines
    assert result.good


def test_by_timer() -> None:
    result = run(Plan(swaps=25, seconds=8, steady=1, interval=0.1, sizes=SMALL))
    assert_good(result)
    assert result.tally.retried == 0
    assert result.tally.by_fallback == 0
    assert result.tally.answers > 100_000
    assert result.tally.right_ipv6 > 10_000
    assert all(result.tally.right[kind] for kind in ("GET", "POST", "batch", "lines"))


def test_by_hup() -> None:
    result = run(Plan(swaps=10, steady=0.5, interval=None, hup=True, sizes=SMALL))
    assert_good(result)
    assert result.tally.answers > 50_000


def test_by_timer_and_hup() -> None:
    assert_good(run(Plan(swaps=10, steady=0.5, interval=0.1, hup=True, sizes=SMALL)))


def test_workers_stopped_in_the_middle() -> None:
    """The slot that a stopped worker is reading is overwritten again and again."""
    result = run(FREEZING)
    assert_good(result)


def test_the_fallback_by_its_timer() -> None:
    plan = Plan(swaps=8, steady=0.5, interval=0.1, fallback=True, connections=8, sizes=SMALL)
    assert_good(run(plan))


# The oracle itself


@pytest.mark.parametrize(
    ("fault", "differing"),
    [
        (ONE_WRONG, r"\d: expected .*blob0-77.*blob0-78"),
        (ONE_WRONG_OF_IPV6, r"::?[\da-f]*: expected .*blob0-77.*blob0-78"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_one_wrong_row_is_caught(folder: Path, fault: tuple[str, str, str], differing: str) -> None:
    lua = patched(folder, *fault)
    plan = Plan(seconds=3, steady=3, interval=None, sizes=(2_000, 1_000))
    result = run(plan, IPGEO_LUA=lua)
    assert set(result.tally.faults) == {WRONG}
    assert re.search(differing, result.tally.examples[0])
    assert not result.good


def test_one_wrong_part_is_caught(folder: Path) -> None:
    """The last text of each table is replaced by the one before it."""
    lua = patched(folder, *LAST_TEXT_WRONG)
    plan = Plan(seconds=3, steady=3, interval=None, sizes=(30_000, 1_000))
    result = run(plan, IPGEO_LUA=lua)
    assert set(result.tally.faults) == {WRONG}
    assert not result.good


def test_a_missing_recheck_of_seq_is_caught(folder: Path) -> None:
    lua = patched(folder, *ALWAYS)
    result = run(FREEZING, IPGEO_LUA=lua)
    assert result.tally.faults[WRONG] + result.tally.faults[MIXED] > 0
    assert not result.good


def test_an_old_generation_served_too_long_is_caught(folder: Path) -> None:
    lua = patched(folder, *LATE)
    result = run(Plan(swaps=10, steady=0.1, interval=0.1, sizes=SMALL), IPGEO_LUA=lua)
    assert result.tally.faults[STALE] > 0
    assert not result.good


def test_all_answers_differ_everywhere() -> None:
    all_expected = make(SMALL, seed=3)
    pool = Pool(all_expected, seed=3)
    assert len({expected.build_id for expected in all_expected}) == len(all_expected)
    assert len({len(expected.data) for expected in all_expected}) == len(all_expected)
    for address, text in zip(pool.addresses, pool.texts, strict=True):
        for form in ("array", "object"):
            answers = {e.answer(e.row(address), text, form) for e in all_expected}
            assert len(answers) == len(all_expected)


def test_no_part_fits_two_blobs() -> None:
    """Only the codes that are missing do."""
    values = [
        {value for row in rows_of(Random(n), f"blob{n}", n, 5000) for value in row}
        for n in range(10)
    ]
    for one, other in itertools.combinations(values, 2):
        assert one & other <= {"null"}


def test_blobs_have_every_shape() -> None:
    assert tuple(shape_of(expected) for expected in make(SMALL, seed=1)) == SHAPES


def shape_of(expected: ExpectedBlob) -> str:
    shape = Blob(expected.data).shape
    pieces = [len(form) for form in shape.forms]
    if pieces == [1, 1]:
        return "whole"
    return "arrays whole" if pieces[0] == 1 else "in parts"


def test_a_blob_has_both_families() -> None:
    """Beside each other, neighbours within a /64 among them, and none without data."""
    blob = Blob(ExpectedBlob("blob0", 8_000, seed=1).data)
    assert blob.v6 is not None
    assert len(blob.v4) == pytest.approx(6_000, rel=0.01)
    assert len(blob.v6) == pytest.approx(2_000, rel=0.01)
    assert len(set(blob.v6.highs)) < len(blob.v6.highs)
    for runs in (blob.v4, blob.v6):
        assert max(runs.ids) < blob.rows
        assert all(one != other for one, other in itertools.pairwise(runs.ids))


def test_texts_are_of_every_form() -> None:
    pool = Pool(make((1_000,), seed=1), seed=1)
    asked = b"\n".join(pool.asked).decode()
    for form in (
        r"\d+\.\d+\.\d+\.\d+",
        "2[0-9a-f]*:[^.]*",
        "::ffff:.*[.].*",
        "0:0:0:0:0:FFFF:[^.]+?",
        "64:ff9b::[^.]+?",
        "64:FF9B::.*[.].*",
    ):
        assert len(re.findall(rf"^{form}$", asked, re.MULTILINE)) > 500
    for asked_text, text in zip(pool.asked, pool.texts, strict=True):
        assert parse_address(asked_text.decode()) == parse_address(text.decode())
    assert pool.count_ipv6(0, len(pool)) == sum(b":" in text for text in pool.asked)


# The command


COMMAND = ("-m", "harness.soak")
RUNS = ("--runs", "1000", "--runs", "20000")
SIGNALLED_AT_FORK = (
    "-c",
    """
import os, signal, sys
from harness.soak.__main__ import main
number = getattr(signal, sys.argv.pop(1))
os.register_at_fork(after_in_parent=lambda: os.killpg(0, number))
main()
""",
)
"""The command, which sends all processes a signal in the moment in which the client is forked."""


@contextmanager
def started(*arguments: str, program: Sequence[str] = COMMAND) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process group of its own, of which nothing is left in the end."""
    soak = subprocess.Popen(
        [sys.executable, *program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with soak:
        try:
            yield soak
        finally:
            with suppress(ProcessLookupError):
                os.killpg(soak.pid, signal.SIGKILL)


def test_the_command() -> None:
    with started("--swaps", "3", "--steady", "0.2", "--seconds", "1", *RUNS) as soak:
        out, err = soak.communicate(timeout=60)
    assert soak.returncode == 0, err
    table = dict(line.split(maxsplit=1) for line in out.splitlines() if ", " not in line[:26])
    assert {name: table[name] for name in (*FAULTS, "retried")} == dict.fromkeys(
        (*FAULTS, "retried"), "0"
    )
    assert "p99" in out


INTERRUPTS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
"""As Ctrl-C does: each signal reaches all processes of the terminal."""


@INTERRUPTS
def test_an_interrupt_stops_everything(number: signal.Signals) -> None:
    with started("--seconds", "300", *RUNS) as soak:
        wait.until(lambda: len(children(soak.pid)) == 2, "nginx and the client run", seconds=60)
        nginx = next(pid for pid in children(soak.pid) if children(pid))
        folder = re.search(r"-p\W(/[\w/-]+)", Path(f"/proc/{nginx}/cmdline").read_text())
        assert folder
        os.killpg(soak.pid, number)
        assert_interrupted(soak)
        assert not Path(folder[1]).exists()


@INTERRUPTS
def test_an_interrupt_while_nginx_starts(number: signal.Signals) -> None:
    with started("--seconds", "300", *RUNS) as soak:
        wait.until(lambda: children(soak.pid), "nginx is being started", seconds=60)
        os.killpg(soak.pid, number)
        assert_interrupted(soak)


@INTERRUPTS
def test_an_interrupt_during_a_fork_is_not_lost(number: signal.Signals) -> None:
    with started(number.name, "--seconds", "300", *RUNS, program=SIGNALLED_AT_FORK) as soak:
        assert_interrupted(soak)


def assert_interrupted(soak: "subprocess.Popen[str]") -> None:
    """It ends as a program that was interrupted, and leaves no process."""
    _, err = soak.communicate(timeout=60)
    assert soak.returncode == 130, err
    assert err == "interrupted; all processes are stopped\n"
    # Those that lost their parent are there until process 1 has taken note of their end.
    wait.until(lambda: not is_there(soak.pid), "nothing is left", seconds=60)


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({"swaps": 3, "seen": 3, "retried": 5}, 0),
        ({"swaps": 3, "seen": 2}, 1),
        ({"error_lines": ["[alert] something"]}, 1),
        *(({"fault": kind}, 1) for kind in FAULTS),
    ],
)
def test_exit_status_of_the_command(
    counts: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally(retried=counts.pop("retried", 0))
    if "fault" in counts:
        tally.fault(counts.pop("fault"), "an example")
    result = Result(seconds=1, tally=tally, **counts)
    monkeypatch.setattr("harness.soak.__main__.run", lambda _plan: result)
    monkeypatch.setattr("harness.soak.interrupts.catch", lambda: None)
    done = CliRunner().invoke(main, ["--swaps", "3"])
    assert done.exit_code == status
    for text in (*tally.examples, *result.error_lines):
        assert text in done.stderr


def test_the_script_takes_every_option_of_the_command() -> None:
    """A bad value at the end: nothing is started."""
    options = [(o.opts[0], o.is_flag) for o in main.params if isinstance(o, click.Option)]
    arguments = [text for name, is_flag in options for text in ([name] if is_flag else [name, "2"])]
    script = str(ROOT / "script" / "soak")
    done = subprocess.run(
        [script, *arguments, "--seed", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'--seed': 'x' is not a valid integer" in done.stderr
    assert all(name in run_help(script) for name, _ in options)


def run_help(script: str) -> str:
    return subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--swaps or --seconds is needed"),
        (["--swaps", "1", "--hup", "--fallback"], "by its timer alone"),
        (["--swaps", "1", "--hup", "--freeze"], "without --hup"),
        (["--swaps", "1", "--interval", "0"], "0"),
        (["--swaps", "1", "--runs", "1000"], "each of 2 to 10 blobs"),
    ],
)
def test_the_command_refuses_contradictory_options(arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert problem in done.stderr
