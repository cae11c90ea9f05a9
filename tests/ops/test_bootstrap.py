"""script/bootstrap: a working environment is never lost, even if a new one fails."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import ROOT
from harness.process import environment

SERVER_LOCK, DEVELOPMENT_LOCK = "requirements-server.lock", "requirements-dev.lock"
PIN = re.compile(r"^([a-z0-9-]+==\S+)", re.MULTILINE)


@pytest.fixture
def checkout(folder: Path) -> Path:
    """A checkout with its own environment, which holds only pip."""
    checkout = folder / "checkout"
    for name in ("script", "nginx", "compiler"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", SERVER_LOCK, DEVELOPMENT_LOCK):
        shutil.copy(ROOT / name, checkout)
    made = checkout / ".venvs" / "20260101T000000-1"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    pip = next(made.glob("lib/python3*/site-packages")) / "pip"
    pip.mkdir()
    (pip / "__init__.py").touch()  # quicker than the real one
    (checkout / ".venv").symlink_to(f".venvs/{made.name}")
    stamp(checkout, SERVER_LOCK)
    return checkout


def stamp(checkout: Path, lock: str) -> None:
    """Mark the environment as made from ``lock``."""
    lines = [str(checkout), *(digest(checkout / name) for name in (lock, "pyproject.toml"))]
    (checkout / ".venv" / "ipgeo-stamp").write_text("".join(f"{line}\n" for line in lines))


def digest(file: Path) -> str:
    with file.open("rb") as content:
        done = subprocess.run(["sha256sum"], stdin=content, capture_output=True, check=True)
    return done.stdout.decode().rstrip("\n")


def bootstrap(
    checkout: Path, *arguments: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run it where no index can be reached."""
    variables = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": 0, "PIP_NO_CACHE_DIR": 1}
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    return subprocess.run(
        [checkout / "script" / "bootstrap", *arguments],
        env=environment(variables | offline | settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def works(checkout: Path) -> bool:
    python = checkout / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", "import pip"], check=False).returncode == 0


def test_an_unreachable_index_leaves_the_environment(checkout: Path) -> None:
    before = (checkout / ".venv").readlink()
    with (checkout / SERVER_LOCK).open("a") as lock:
        lock.write("# changed\n")
    done = bootstrap(checkout)
    assert done.returncode == 1
    assert "making .venv failed: what was there before is unchanged" in done.stderr
    assert (checkout / ".venv").readlink() == before
    assert [entry.name for entry in (checkout / ".venvs").iterdir()] == [before.name]
    assert works(checkout)


def test_serving_needs_no_development_package(checkout: Path) -> None:
    """Each environment serves, but the one for serving is not enough for tests."""
    assert bootstrap(checkout).returncode == 0
    done = bootstrap(checkout, "--development")
    assert (done.returncode, "making .venv failed" in done.stderr) == (1, True)
    stamp(checkout, DEVELOPMENT_LOCK)
    for arguments in ((), ("--development",)):
        done = bootstrap(checkout, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_development_lock_holds_the_servers(checkout: Path) -> None:
    server, development = (
        set(PIN.findall((ROOT / name).read_text())) for name in (SERVER_LOCK, DEVELOPMENT_LOCK)
    )
    assert server < development
    names = {pin.partition("==")[0] for pin in server}
    assert not names & {"mypy", "pytest", "ruff", "hypothesis", "import-linter", "maxminddb"}


def test_another_python_in_path_rebuilds_nothing(folder: Path, checkout: Path) -> None:
    """As cron's PATH, which has another Python than the one that made the environment."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "python3").write_text("#!/bin/bash\n[[ $1 != --version ]] || echo Python 3.99.1\n")
    (tools / "python3").chmod(0o755)
    done = bootstrap(checkout, PATH=f"{tools}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert works(checkout)


def test_a_plain_folder_is_replaced_by_a_link_and_kept(checkout: Path) -> None:
    """Environments were folders once."""
    made = checkout / ".venvs"
    (checkout / ".venv").unlink()
    next(made.iterdir()).rename(checkout / ".venv")
    made.rmdir()
    new = made / "20260102T000000-2"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", new], check=True)
    (new / "ipgeo-stamp").touch()
    sourced = checkout / "script" / "functions"
    text = (checkout / "script" / "bootstrap").read_text()
    sourced.write_text(text[: text.index('answer_help "$@"')] + 'swap "$1"\nremove_old\n')
    subprocess.run(["bash", sourced, new], check=True)
    assert (checkout / ".venv").resolve() == new
    kept = sorted(entry.name.split("-")[0] for entry in made.iterdir())
    assert kept == ["0", "20260102T000000"]


INTERRUPTED = """\
make_venv() { "$2" -I -m venv --without-pip "$1" && stamp "$LOCK" >"$1/$STAMP"; }
build_venv
"""
MV = '#!/bin/bash\n/bin/mv "$@" && kill -{signal} $$ $PPID\n'


@pytest.mark.parametrize("signal", ["INT", "TERM", "HUP"])
@pytest.mark.parametrize("plain", [False, True], ids=["link", "plain folder"])
def test_an_interrupt_leaves_one_environment_or_the_other(
    folder: Path, checkout: Path, signal: str, plain: bool
) -> None:
    """A signal, also to the program that renames, after each step of the swap."""
    made = checkout / ".venvs"
    if plain:
        (checkout / ".venv").unlink()
        next(made.iterdir()).rename(checkout / ".venv")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "mv").write_text(MV.format(signal=signal))
    (tools / "mv").chmod(0o755)
    functions = checkout / "script" / "functions"
    text = (checkout / "script" / "bootstrap").read_text()
    functions.write_text(text[: text.index('answer_help "$@"')] + INTERRUPTED)
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["bash", functions], env=environment(path), check=False)
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert (checkout / ".venv" / "ipgeo-stamp").exists()
    assert (checkout / ".venv").resolve().parent == made
    assert list(made.glob("*.link")) == []


def test_a_running_environment_is_not_removed(checkout: Path) -> None:
    made = checkout / ".venvs"
    python = made / "20260101T000000-1" / "bin" / "python"
    for name in ("20260102T000000-2", "20260103T000000-3", "20251231T000000-4"):
        (made / name).mkdir()
        (made / name / "ipgeo-stamp").touch()
    (checkout / ".venv").unlink()
    (checkout / ".venv").symlink_to(".venvs/20260103T000000-3")
    text = (checkout / "script" / "bootstrap").read_text()
    functions = checkout / "script" / "functions"
    functions.write_text(text[: text.index('answer_help "$@"')] + "remove_old\n")
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as running:
        subprocess.run(["bash", functions], check=True)
        assert sorted(path.name[:8] for path in made.iterdir()) == [
            "20260101",
            "20260102",
            "20260103",
        ]
        running.communicate(b"\n")
    subprocess.run(["bash", functions], check=True)
    assert sorted(path.name[:8] for path in made.iterdir()) == ["20260102", "20260103"]
