"""The installed program with closed streams, in other locales, in pipes, and interrupted."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.compiler import PROGRAM, SAMPLE_CODES, build, compiler, unprivileged
from harness.rights import as_root, may_mount
from harness.sources import dat

DONE, BAD_INPUT, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130

CHINA = ("中国", "北京", "北京", "")
JAPAN = ("日本", "东京", "", "")

PRINTING = {
    "lookup": ["lookup", "one.blob", "8.8.8.8", "1.2.3.4"],
    "lookup of lines": ["lookup", "one.blob", "--format", "object"],
    "inspect": ["inspect", "one.blob"],
    "inspect --json": ["inspect", "one.blob", "--json"],
    "diff": ["diff", "one.blob", "two.blob"],
    "diff --json": ["diff", "one.blob", "two.blob", "--json"],
    "export": ["export", "one.blob", "--format", "csv", "-o", "-"],
    "export of MMDB": ["export", "one.blob", "--format", "mmdb", "-o", "-"],
    "formats": ["formats"],
    "formats --json": ["formats", "--json"],
    "build --json": ["build", "服务.dat", "--codes", ".", "-o", "出.blob", "--force", "--json"],
}
DOING = {
    "build": ["build", "服务.dat", "--codes", ".", "-o", "出.blob", "--force"],
    "rollback": ["rollback", "two.blob"],
    "verify": ["verify", "one.blob"],
    "verify --against": ["verify", "two.blob", "--against", "服务.dat", "--codes", "."],
    "sample": ["sample", "样本"],
    "export to a file": ["export", "one.blob", "--format", "csv", "-o", "表.csv"],
}
HELPING = {"--help": ["--help"], "--version": ["--version"], "build --help": ["build", "--help"]}
COMMANDS = PRINTING | DOING


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    folder.chmod(0o755)
    for path in SAMPLE_CODES.glob("*.txt"):
        shutil.copy(path, folder)
    (folder / "服务.dat").write_bytes(dat([(0, CHINA), (0x02000000, JAPAN)]))
    (folder / "错.dat").write_bytes(dat([(0, CHINA)]))
    build(folder / "one.blob")
    build(folder / "two.blob", folder / "服务.dat", folder)
    shutil.copy(folder / "one.blob", folder / "two.blob.previous")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, template: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(
    workspace: Path, command: list[str], redirection: str = "", **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in ``place`` under a shell that redirects its streams."""
    return subprocess.run(
        ["bash", "-c", f'exec "$0" "$@" {redirection}', str(PROGRAM), *command],
        cwd=workspace,
        input=b"1.2.3.4\n\n8.8.8.8\n",
        capture_output=True,
        check=False,
        env=os.environ | variables,
        timeout=60,
    )


# Closed streams


@pytest.mark.parametrize(
    ("name", "redirection"),
    [
        *((name, "<&- 2>&-") for name in COMMANDS),
        *(
            (name, one)
            for name in ("lookup", "lookup of lines", "build")
            for one in ("2>&-", "<&-")
        ),
    ],
)
def test_closed_input_and_error(workspace: Path, name: str, redirection: str) -> None:
    expected = (DONE, b"")
    if name == "lookup of lines" and "<&-" in redirection:
        expected = (USAGE, b"" if "2" in redirection else b"standard input is closed")
    done = run(workspace, COMMANDS[name], redirection)
    assert done.returncode == expected[0]
    assert expected[1] in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "redirection"),
    [*((name, ">&-") for name in PRINTING), ("lookup", "<&- >&-"), ("build --json", "<&- >&-")],
)
def test_commands_that_only_print_refuse_a_closed_output(
    workspace: Path, name: str, redirection: str
) -> None:
    done = run(workspace, PRINTING[name], redirection)
    assert done.returncode == USAGE
    assert done.stderr.endswith(b"Error: standard output is closed\n")
    assert not (workspace / "出.blob").exists()


@pytest.mark.parametrize(
    ("name", "redirection"),
    [
        *((name, "<&- >&- 2>&-") for name in DOING | HELPING),
        *((name, some) for name in ("build", "--help") for some in (">&-", ">&- 2>&-")),
    ],
)
def test_other_commands_work_with_a_closed_output(
    workspace: Path, name: str, redirection: str
) -> None:
    done = run(workspace, (DOING | HELPING)[name], redirection)
    assert (done.returncode, done.stderr) == (DONE, b"")


def test_no_file_takes_the_number_of_a_closed_stream(workspace: Path) -> None:
    """Whatever is printed would go into it."""
    assert run(workspace, ["build", "none.dat", "-o", "出.blob"], "2>&-").returncode == BAD_INPUT
    assert run(workspace, DOING["build"], ">&- 2>&-").returncode == DONE
    assert run(workspace, ["verify", "出.blob"]).returncode == DONE


# Locales

LOCALES: dict[str, dict[str, str]] = {
    "gbk": {"PYTHONIOENCODING": "gbk"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII": {"PYTHONIOENCODING": "ascii:strict"},
    "C": {"LC_ALL": "C"},
    "C, taken at its word": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}

# A path is decoded by the locale: what is printed of it depends on that.
SAME_EVERYWHERE = {name: command for name, command in PRINTING.items() if name != "build --json"}


@pytest.fixture(scope="module")
def utf8(template: Path) -> dict[str, bytes]:
    """What the commands print in a locale of UTF-8."""
    return {
        name: run(template, command, LC_ALL="C.UTF-8").stdout
        for name, command in SAME_EVERYWHERE.items()
    }


@pytest.mark.parametrize(
    ("name", "locale"),
    [
        *(("lookup", locale) for locale in LOCALES),
        *((name, "gbk") for name in SAME_EVERYWHERE if name != "lookup"),
    ],
)
def test_machine_output_is_the_same_in_every_locale(
    workspace: Path, utf8: Mapping[str, bytes], name: str, locale: str
) -> None:
    done = run(workspace, SAME_EVERYWHERE[name], **LOCALES[locale])
    assert (done.returncode, done.stderr) == (DONE, b"")
    assert done.stdout == utf8[name]
    if name != "export of MMDB":
        done.stdout.decode()


@pytest.mark.parametrize("locale", LOCALES)
def test_expect_reads_what_lookup_prints(workspace: Path, locale: str) -> None:
    golden = run(workspace, ["lookup", "two.blob", "1.2.3.4", "2.3.4.5"], **LOCALES[locale])
    (workspace / "golden.tsv").write_bytes(golden.stdout)
    command = ["build", "服务.dat", "--codes", ".", "--expect", "golden.tsv", "-o", "two.blob"]
    done = run(workspace, [*command, "--json"], **LOCALES[locale])
    assert done.returncode == DONE
    summary = json.loads(done.stdout)
    assert summary["gates"][0]["state"] == "passed"


@pytest.mark.parametrize(
    ("name", "locale"),
    [*((name, "C, taken at its word") for name in COMMANDS), ("inspect", "gbk"), ("build", "gbk")],
)
def test_names_that_the_locale_does_not_know(workspace: Path, name: str, locale: str) -> None:
    odd = os.fsencode(workspace) + b"/\xff\xe4.blob"
    shutil.copy(os.fsencode(workspace / "one.blob"), odd)
    command = ["\udcff\udce4.blob" if word == "one.blob" else word for word in COMMANDS[name]]
    done = run(workspace, command, **LOCALES[locale])
    assert (done.returncode, done.stderr) == (DONE, b"")


@pytest.mark.parametrize(
    ("command", "locale"),
    [
        *((["inspect", "没有.blob"], locale) for locale in LOCALES),
        *(
            (command, locale)
            for command in (
                ["lookup", "one.blob", "中"],
                ["build", "没有.dat", "-o", "出.blob"],
                ["nothing", "中"],
            )
            for locale in ("gbk", "C, taken at its word")
        ),
    ],
)
def test_errors_of_every_kind_of_text(workspace: Path, command: list[str], locale: str) -> None:
    done = run(workspace, command, **LOCALES[locale])
    assert done.returncode in {BAD_INPUT, USAGE}
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The locale zh_CN.GBK, made for the tests."""
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "zh_CN", "-f", "GBK", str(folder / "zh_CN.GBK")]
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(command, capture_output=True, check=False)
    if not (folder / "zh_CN.GBK").exists():
        pytest.skip("the sources of locales are not installed")
    locale = {"LOCPATH": str(folder), "LC_ALL": "zh_CN.GBK"}
    done = subprocess.run(
        ["bash", "-c", ":"], env=os.environ | locale, capture_output=True, check=False
    )
    if done.stderr:
        pytest.skip(f"no program takes it: {done.stderr.decode(errors='replace')}")
    return locale


@pytest.mark.parametrize("name", SAME_EVERYWHERE)
def test_a_chinese_locale(
    workspace: Path, utf8: Mapping[str, bytes], chinese: Mapping[str, str], name: str
) -> None:
    done = run(workspace, SAME_EVERYWHERE[name], **chinese)
    assert (done.returncode, done.stderr, done.stdout) == (DONE, b"", utf8[name])


# Pipes whose reader leaves


def run_unread(
    workspace: Path, command: list[str], *, both: bool = False
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command with an unread pipe as its output; with ``both``, the errors go there too."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as unread:
        return subprocess.run(
            [str(PROGRAM), *command],
            cwd=workspace,
            input=b"1.2.3.4\n" * 10,
            stdout=unread,
            stderr=unread if both else subprocess.PIPE,
            check=False,
            timeout=60,
        )


@pytest.mark.parametrize("name", COMMANDS | HELPING)
def test_a_closed_pipe_is_success(workspace: Path, name: str) -> None:
    done = run_unread(workspace, (COMMANDS | HELPING)[name])
    assert (done.returncode, done.stderr) == (DONE, b"")


@pytest.mark.parametrize("name", ["lookup", "build", "build --json", "export", "--help"])
def test_two_closed_pipes_are_success(workspace: Path, name: str) -> None:
    assert run_unread(workspace, (COMMANDS | HELPING)[name], both=True).returncode == DONE


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["inspect", "none.blob"], BAD_INPUT),
        (["lookup", "one.blob", "x"], BAD_INPUT),
        (["build", "none.dat", "-o", "出.blob"], BAD_INPUT),
        (["nothing"], USAGE),
        (["build", "错.dat", "-o", "two.blob"], REFUSED),
        (["build", "错.dat", "-o", "two.blob", "--json"], REFUSED),
    ],
)
def test_a_closed_pipe_does_not_hide_a_failure(
    workspace: Path, command: list[str], status: int
) -> None:
    for both in (True, False):
        assert run_unread(workspace, command, both=both).returncode == status


@pytest.mark.parametrize("command", ["lookup one.blob", "export one.blob --format csv -o -"])
def test_head_gets_what_it_asks_for(workspace: Path, command: str) -> None:
    script = f"set -o pipefail; yes 8.8.8.8 | head -200000 | '{PROGRAM}' {command} | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{script}; echo ${{PIPESTATUS[2]}}"],
        cwd=workspace,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count(b"\n") == 2
    assert done.stdout.endswith(b"\n0\n")
    assert done.stderr == b""


@pytest.mark.parametrize("name", PRINTING | HELPING)
def test_a_full_disk_is_an_error(workspace: Path, name: str) -> None:
    done = run(workspace, (PRINTING | HELPING)[name], ">/dev/full")
    assert done.returncode == BAD_INPUT
    assert re.fullmatch(rb"Error: (.*: )?No space left on device\n", done.stderr)


def test_errors_that_cannot_be_printed_keep_their_status(workspace: Path) -> None:
    assert run(workspace, ["inspect", "none.blob"], "2>/dev/full").returncode == BAD_INPUT
    assert run(workspace, ["nothing"], "2>/dev/full").returncode == USAGE


# Ctrl-C

INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize(
    ("module", "program"),
    [
        *((m, [PROGRAM]) for m in ("json", "click", "tempfile", "hashlib", "csv", "mmdb_writer")),
        *((m, [sys.executable, "-m", "ipgeo"]) for m in ("click", "mmdb_writer")),
    ],
)
def test_ctrl_c_while_modules_are_imported(
    workspace: Path, module: str, program: list[str | Path]
) -> None:
    """Each module stands for a moment of the start: importing it, the program interrupts itself."""
    interrupted_by_importing(workspace, module, program)


@pytest.mark.usefixtures("_interrupts")
def test_ctrl_c_while_python_itself_starts(workspace: Path) -> None:
    interrupted_by_importing(workspace, "sitecustomize", [PROGRAM])


def test_the_program_works_by_another_name(workspace: Path) -> None:
    link = workspace / "linked"
    link.symlink_to(PROGRAM)
    done = subprocess.run([link, "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"ipgeo-compile, version ")


def test_no_code_is_taken_from_the_current_folder(workspace: Path) -> None:
    (workspace / "click.py").write_text("raise SystemExit('not mine')")
    assert run(workspace, ["verify", "one.blob"]).returncode == DONE


def interrupted_by_importing(workspace: Path, module: str, program: list[str | Path]) -> None:
    hook = workspace / "hook"
    hook.mkdir()
    (hook / f"{module}.py").write_text(INTERRUPT)
    done = subprocess.run(
        [*program, *DOING["build"]],
        cwd=workspace,
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(hook)},
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, b"", b"")


# The number of the call of fsync at which to interrupt: those of the trial, of the files and of
# the folders. From the first rename on, the interrupt waits until all files are in their places.
HOOK = """
import os, signal
fsync, calls = os.fsync, []
def interrupting(descriptor):
    calls.append(descriptor)
    if len(calls) == int(os.environ["INTERRUPT_AT"]):
        os.kill(os.getpid(), signal.SIGINT)
    fsync(descriptor)
os.fsync = interrupting
"""


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("at", range(1, 8))
def test_ctrl_c_while_files_are_published(workspace: Path, at: int) -> None:
    hook = workspace.parent / f"{workspace.name}-hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    command = ["build", "服务.dat", "--force", "-o", "one.blob"]
    before = {path.name: path.read_bytes() for path in workspace.glob("one.blob*")}
    done = run(workspace, command, PYTHONPATH=str(hook), INTERRUPT_AT=str(at))
    assert (done.returncode, done.stdout) == (INTERRUPTED, b"")
    after = {path.name: path.read_bytes() for path in workspace.glob("*one.blob*")}
    if at <= 4:
        assert done.stderr == b""
        assert after == before
    else:
        assert done.stderr.endswith(b": published\n")
        assert after["one.blob.previous"] == before["one.blob"]
        assert json.loads(after["one.blob.json"])["previous"] is not None
        assert sorted(after) == ["one.blob", "one.blob.json", "one.blob.previous"]


@contextlib.contextmanager
def at_work(workspace: Path, before: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Run a lookup that has answered one line and waits for the next."""
    script = f"{before} exec '{PROGRAM}' lookup one.blob"
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=workspace,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"8.8.8.8\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"8.8.8.8\t")
        yield process


@pytest.mark.usefixtures("_interrupts")
def test_ctrl_c_at_work(workspace: Path) -> None:
    with at_work(workspace) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert process.stderr
        assert process.stderr.read() == b""


# A dash


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["build", "服务.dat", "-o", "-"], "a blob cannot go to standard output"),
        (["rollback", "-"], "a blob cannot go to standard output"),
        (["sample", "-"], "files cannot go to standard output"),
        (["build", "服务.dat", "--codes", "-", "-o", "x"], "this is not read from standard input"),
        (["build", "服务.dat", "--expect", "-", "-o", "x"], "this is not read from standard input"),
        (["verify", "-"], "this is not read from standard input"),
        (["lookup", "-", "8.8.8.8"], "this is not read from standard input"),
        (["inspect", "-"], "this is not read from standard input"),
        (["diff", "-", "one.blob"], "this is not read from standard input"),
        (["diff", "one.blob", "-"], "this is not read from standard input"),
        (["export", "-", "--format", "csv", "-o", "-"], "this is not read from standard input"),
    ],
)
def test_a_dash_is_not_a_file_name(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], problem: str
) -> None:
    monkeypatch.chdir(workspace)
    before = sorted(workspace.iterdir())
    done = compiler(*command)
    assert (done.status, done.out) == (USAGE, "")
    assert f": {problem}; ./- is a file of that name\n" in done.err
    assert sorted(workspace.iterdir()) == before


def test_a_dash_in_the_environment_is_not_a_file_name(workspace: Path) -> None:
    done = run(workspace, ["build", "服务.dat"], IPGEO_BLOB="-")
    assert done.returncode == USAGE
    assert b"a blob cannot go to standard output" in done.stderr


def test_a_file_may_be_called_a_dash(workspace: Path) -> None:
    assert run(workspace, ["build", "服务.dat", "-o", "./-"]).returncode == DONE
    assert run(workspace, ["verify", "./-"]).returncode == DONE
    done = run(workspace, ["export", "one.blob", "--format", "csv", "-o", "./-", "--force"])
    assert (done.returncode, done.stdout) == (DONE, b"")
    assert (workspace / "-").read_bytes().startswith(b"first,last,")


# Problems noticed before the work

WRITING = {
    "build": ["build", "not looked at", "-o"],
    "export": ["export", "not looked at", "--format", "csv", "-o"],
}


@pytest.mark.parametrize("name", WRITING)
def test_a_missing_folder_is_reported_first(workspace: Path, name: str) -> None:
    done = run(workspace, [*WRITING[name], str(workspace / "none" / "out")])
    assert done.returncode == BAD_INPUT
    assert done.stderr.decode() == f"Error: {workspace / 'none'}: No such file or directory\n"


def test_missing_codes_are_reported_before_the_source_is_read(workspace: Path) -> None:
    done = run(workspace, ["build", "not looked at", "--codes", "none", "-o", "出.blob"])
    assert done.stderr.startswith(b"Error: none/country_list.txt: No such file")


@as_root
@pytest.mark.parametrize("name", WRITING)
def test_a_folder_that_may_not_be_written_is_reported_first(folder: Path, name: str) -> None:
    out = folder / "out"
    done = unprivileged(*WRITING[name], out)
    assert (done.status, done.err) == (BAD_INPUT, f"Error: {out}: Permission denied\n")


MOUNTED = """
mount -t tmpfs -o size=64k none "$1" || exit 77
eval "$2"
out=$1
shift 2
exec "$@" "$out/out"
"""


@may_mount
@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize(
    ("trap", "problem"),
    [
        ('head -c 100000 /dev/zero >"$1/full" 2>/dev/null', "No space left on device"),
        ('mount -o remount,ro "$1"', "Read-only file system"),
    ],
)
def test_a_full_or_read_only_file_system_is_reported_first(
    folder: Path, name: str, trap: str, problem: str
) -> None:
    script = ["unshare", "-m", "bash", "-c", MOUNTED, "bash", str(folder), trap]
    done = subprocess.run(
        [*script, str(PROGRAM), *WRITING[name]], capture_output=True, check=False, timeout=60
    )
    if done.returncode not in {DONE, BAD_INPUT}:
        pytest.skip("nothing may be mounted here")
    assert done.stderr.decode() == f"Error: {folder / 'out'}: {problem}\n"


def test_a_program_started_to_ignore_interrupts_ignores_them(workspace: Path) -> None:
    """A shell without job control starts what is in the background like that."""
    with at_work(workspace, before="trap '' INT;") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == DONE
