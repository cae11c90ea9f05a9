"""How a command ends: every error is one line on standard error and an exit status.

Exit status: 0 done, 1 bad input, 2 wrong usage, 3 refused by a gate, 130 interrupted.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from ipgeo.cli import streams
from ipgeo.errors import IpgeoError
from ipgeo.text import printable


class Refusal(click.ClickException):
    """A gate refuses the new blob."""

    exit_code = 3


class Commands(click.Group):
    """Turns every error that an input can cause into one line on stderr and exit status 1."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command; the process ends with its exit status."""
        try:
            status = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.Abort:
            status = streams.INTERRUPTED
        except click.ClickException as error:
            status = _fail(error)
        except OSError as error:  # those of ipgeo's files among them
            _drop_output()
            name = f"{error.filename}: " if error.filename else ""
            status = _fail(click.ClickException(f"{name}{error.strerror or error}"))
        except IpgeoError as error:
            status = _fail(click.ClickException(str(error)))
        except MemoryError:
            status = _fail(click.ClickException("out of memory"))
        except SystemExit as stop:
            for note in getattr(stop, "__notes__", ()):
                click.echo(printable(note), err=True)
            raise
        sys.exit(status)


def _fail(error: click.ClickException) -> int:
    error.show()
    return error.exit_code


def _drop_output() -> None:
    """Drop unwritable output: Python would try again at exit and end with status 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def reporting(path: Path, done: str) -> Iterator[None]:
    """If the summary cannot be written, still report what is ``done``."""
    try:
        yield
    except OSError as error:
        problem = f"{done}, but the summary cannot be written: {error.strerror}"
        raise OSError(error.errno, problem, str(path)) from None
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.add_note(f"{path}: {done}")
        raise
