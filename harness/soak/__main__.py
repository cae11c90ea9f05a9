"""`script/soak`: options in, a table out."""

import sys
from typing import Any

import click

from harness.soak import interrupts
from harness.soak.run import SIZES, Plan, Result, run
from harness.soak.tally import FAULTS, percentile
from harness.soak.traffic import KINDS


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--swaps", type=click.IntRange(min=0), default=0, help="Swap at least N times.")
@click.option("--seconds", type=click.FloatRange(min=0), default=0, help="Run at least S seconds.")
@click.option("--steady", type=click.FloatRange(min=0), default=5, help="Load before the swaps.")
@click.option("--hup", is_flag=True, help="Send HUP after each swap.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    help="Let the server's timer check the file every X seconds. With --hup there is no timer"
    " unless this is given; without it the default is 0.1.",
)
@click.option("--freeze", is_flag=True, help="Stop a worker now and then while blobs are swapped.")
@click.option("--fallback", is_flag=True, help="Soak the fallback instead of the edge.")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Workers of the edge.")
@click.option("--connections", type=click.IntRange(min=1), default=32, help="All clients together.")
@click.option("--processes", type=click.IntRange(min=1), default=1, help="Processes of clients.")
@click.option("--batch", type=click.IntRange(min=2), default=500, help="Largest batch.")
@click.option(
    "--runs",
    "sizes",
    multiple=True,
    type=click.IntRange(min=1),
    default=SIZES,
    metavar="N",
    help="Runs of a blob; given once for each of two blobs or more."
    " Without it they are of about 1, 20 and 40 MB.",
)
@click.option("--seed", type=int, default=1, help="Chooses blobs, order, requests.")
def main(interval: float | None, hup: bool, **options: Any) -> None:
    """Swap blobs under load and judge every answer.

    Starts a server of its own on a free port. Exit status 1 if a single answer was wrong, mixed
    from several blobs, stale or missing, if a swap was not loaded, or if the server logged errors.
    """
    if interval is None and not hup:
        interval = 0.1
    plan = Plan(interval=interval, hup=hup, **options)
    if not plan.swaps and not plan.seconds:
        raise click.UsageError("--swaps or --seconds is needed")
    if not 2 <= len(plan.sizes) <= 10:
        raise click.UsageError("--runs is needed for each of 2 to 10 blobs")
    if plan.fallback and hup:
        raise click.UsageError("--fallback refreshes by its timer alone")
    if plan.freeze and (hup or plan.fallback or plan.workers < 2):
        raise click.UsageError("--freeze is for the edge with two workers or more, without --hup")
    interrupts.catch()
    try:
        result = run(plan)
    except (KeyboardInterrupt, OSError, RuntimeError) as error:
        # Ctrl-C reaches the server too: its end is then no error.
        if interrupts.came():
            click.echo("interrupted; all processes are stopped", err=True)
            sys.exit(130)
        if isinstance(error, RuntimeError):
            raise click.ClickException(str(error)) from error
        raise
    _report(plan, result)
    sys.exit(0 if result.good else 1)


def _report(plan: Plan, result: Result) -> None:
    tally = result.tally
    by = [f"timer, {plan.interval} s"] if plan.interval is not None else []
    by += ["HUP"] if plan.hup else []
    server = "fallback" if plan.fallback else f"edge, {plan.workers} workers"
    rows = [
        ("server", f"{server}; refresh by {' and '.join(by)}"),
        ("load", f"{plan.connections} connections, {result.seconds:.1f} s, seed {plan.seed}"),
        ("blobs", f"{', '.join(f'{size / 1e6:.1f}' for size in result.blob_bytes)} MB"),
        ("answers", f"{tally.answers:,} ({tally.answers / result.seconds:,.0f} a second)"),
        *((f"  by {kind}", f"{tally.right[kind]:,}") for kind in KINDS),
        ("  of IPv6", f"{tally.right_ipv6:,}"),
        *((kind, f"{tally.faults[kind]:,}") for kind in FAULTS),
        ("retried", f"{tally.retried:,}"),
        ("swaps", f"{result.swaps:,}, seen {result.seen:,}"),
        ("error lines", f"{len(result.error_lines)}"),
        *_latency_rows(result),
    ]
    for name, value in rows:
        click.echo(f"{name:<26}{value}")
    for line in (*tally.examples, *result.error_lines):
        click.echo(f"! {line}", err=True)


def _latency_rows(result: Result) -> list[tuple[str, str]]:
    rows = []
    for single, name in ((True, "one address"), (False, "batch")):
        for swaps, phase in ((False, "steady"), (True, "during swaps")):
            seconds = sorted(result.tally.latencies[swaps, single])
            p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
            value = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms ({len(seconds):,})"
            rows.append((f"{name}, {phase}", value))
    return rows


if __name__ == "__main__":
    main(prog_name="script/soak")
