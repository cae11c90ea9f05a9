"""nginx/render and nginx/start: what they print and refuse in unusual surroundings."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness import ROOT
from harness.process import environment

RENDER = ROOT / "nginx" / "render"
START = ROOT / "nginx" / "start"


def run(folder: Path, *command: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; its arguments are $1 and so on."""
    return subprocess.run(
        ["bash", "-c", *map(str, command)],
        cwd=folder,
        env=environment({"IPGEO_VAR": folder / "var", **settings}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def render(folder: Path, *arguments: object, **settings: object) -> "tuple[int, str, str]":
    done = run(folder, '"$@"', "bash", RENDER, *arguments, **settings)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", [">&-", "<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams(folder: Path, closed: str) -> None:
    done = run(folder, f'"$1" -t -q {closed}', "bash", START)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("stream", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_output_that_is_lost_is_an_error(folder: Path, stream: str, why: str) -> None:
    done = run(folder, f'"$1" --print {stream}', "bash", RENDER)
    assert done.returncode == 1
    assert done.stderr == f"nginx/render: cannot write to stdout: {why}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--print=1"], "--print takes no value"),
        (["--unknown-names=x"], "--unknown-names takes no value"),
        (["--print", "x"], "unexpected argument 'x'"),
        (["x", "--print"], "unexpected argument 'x'"),
        (["a", "--", "--print"], "unexpected argument '--print'"),
    ],
)
def test_wrong_usage_makes_nothing(folder: Path, arguments: list[str], message: str) -> None:
    status, out, err = render(folder, *arguments)
    assert (status, out, err) == (2, "", f"render: {message}\nrender: see --help\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(["--"], "var/nginx"), (["--", "own"], "own"), (["--", "--print"], "--print")],
    ids=["nothing", "a folder", "a folder like an option"],
)
def test_the_end_of_options(folder: Path, arguments: list[str], place: str) -> None:
    assert render(folder, *arguments) == (0, "", "")
    assert [str(path.relative_to(folder)) for path in folder.rglob("nginx.conf")] == [
        f"{place}/nginx.conf"
    ]
    assert not (folder / "--").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("IPGEO_VAR", "var"), ("IPGEO_BLOB", "x.blob"), ("IPGEO_NGINX", "./nginx")],
)
def test_a_relative_path_without_a_current_folder(folder: Path, name: str, value: str) -> None:
    gone = folder / "gone"
    gone.mkdir()
    line = 'cd gone && rmdir ../gone && exec "$1" --print'
    done = run(folder, line, "bash", RENDER, **{name: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        f"nginx/render: {name} is relative, and the current folder cannot be found: "
        "No such file or directory\n"
    )


def test_an_nginx_with_a_bad_interpreter(folder: Path) -> None:
    nginx = folder / "bad"
    nginx.write_text("#!/nonexistent\n")
    nginx.chmod(0o755)
    assert render(folder, IPGEO_NGINX=nginx) == (
        1,
        "",
        f"nginx/render: IPGEO_NGINX: '{nginx} -V' failed: {nginx}: No such file or directory\n",
    )


def test_a_template_that_cannot_be_read(folder: Path) -> None:
    assert render(folder, "--template", "/") == (1, "", "nginx/render: /: Is a directory\n")


@pytest.mark.parametrize("name", ["a;b", "a?b"])
def test_a_checkout_that_lua_cannot_name(folder: Path, name: str) -> None:
    checkout = folder / name
    for part in ("nginx", "lua"):
        shutil.copytree(ROOT / part, checkout / part)
    done = run(folder, '"$1"', "bash", checkout / "nginx" / "render")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "nginx/render: the path of the checkout must not hold ; or ?: Lua's own syntax\n"
    )


@pytest.mark.parametrize("text", ["events {}\n# last", "# last", ""])
def test_a_template_without_a_last_newline(folder: Path, text: str) -> None:
    template = folder / "own.template"
    template.write_text(text)
    assert render(folder, "--print", "--template", template) == (0, f"{text}\n", "")


@pytest.mark.parametrize(
    ("value", "what"), [("{}", "is an empty list"), ("nil", "is nil"), ("true", "is boolean")]
)
def test_a_value_that_cannot_stand_in_a_template(folder: Path, value: str, what: str) -> None:
    template = folder / "own.template"
    template.write_text(f"{{{{ {value} }}}}\n")
    expected = f"nginx/render: {template}:1: {{{{ {value} }}}} {what}\n"
    assert render(folder, "--template", template) == (1, "", expected)


def test_a_test_start_needs_no_rendering_before(folder: Path) -> None:
    done = run(folder, '"$1" -t -q', "bash", START, IPGEO_PROT=1)
    assert (done.returncode, done.stderr) == (
        0,
        "nginx/start: environment: there is no setting IPGEO_PROT: it has no effect\n",
    )
    done = run(folder, '"$1" -t -q', "bash", START, IPGEO_PORT="x")
    assert done.returncode == 1
    assert done.stderr.startswith("nginx/start: IPGEO_PORT must be a number")
    assert list((folder / "var" / "nginx").iterdir()) == []
