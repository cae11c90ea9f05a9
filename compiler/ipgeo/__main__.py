"""The program ``ipgeo-compile``, which is also ``python -m ipgeo``.

At the top it imports only modules that Python has already loaded. The commands take a tenth of a
second to import, and Ctrl-C must interrupt that import without a traceback too.
"""

import signal
import sys

from ipgeo.cli import streams


def main() -> None:
    """Run a command; the process ends with its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is to be ignored
        signal.signal(signal.SIGINT, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see compiler/bin/ipgeo-compile
    try:
        streams.prepare()
        from ipgeo.cli.main import main as commands  # noqa: PLC0415 - see above

        commands(prog_name="ipgeo-compile")
    except MemoryError:
        sys.exit("Error: out of memory")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is done: nothing to interrupt


def _interrupt(_signal: int, _frame: object) -> None:
    sys.exit(streams.INTERRUPTED)


if __name__ == "__main__":
    main()
