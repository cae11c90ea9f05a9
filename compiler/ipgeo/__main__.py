"""The program ``ipgeo-compile``, which is also ``python -m ipgeo``.

It imports by itself only what Python has loaded anyway. The commands take a tenth of a second to
import: Ctrl-C must end that, too, without a traceback.
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
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: nothing is left to interrupt


def _interrupt(_signal: int, _frame: object) -> None:
    sys.exit(streams.INTERRUPTED)


if __name__ == "__main__":
    main()
