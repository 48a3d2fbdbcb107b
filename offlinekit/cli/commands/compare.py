"""`offlinekit compare`: two groups of runs."""

from __future__ import annotations

import glob
import math
from typing import TYPE_CHECKING

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, usage
from offlinekit.cli.output import number, pairs

if TYPE_CHECKING:
    from offlinekit.metrics.reporting.comparing import Comparison


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit compare 'runs/IQL_hopper*' 'runs/CQL_hopper*'",
        "offlinekit compare runs/with_layer_norm runs/without",
    ),
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--score",
    type=click.Choice(["final", "best-over-training"]),
    default="final",
    help="What counts for a run; the best over training flatters.",
)
@debug_option
def command(first: str, second: str, score: str) -> None:
    """Say whether one group of runs, A, is better than another, B.

    A and B are run folders, folders of run folders, or patterns in quotes. On several datasets normalised scores are
    compared on those that both have; on one dataset its returns.
    """
    from offlinekit.metrics.reporting.comparing import compare_runs
    from offlinekit.metrics.reporting.counted_runs import counted_runs
    from offlinekit.metrics.reporting.results import read_runs
    from offlinekit.metrics.statistics.budget import Budget

    groups = []
    for pattern, option in ((first, "A"), (second, "B")):
        with usage(option):
            runs, unread = read_runs(sorted(glob.glob(pattern)) or [pattern])
            groups.append(runs)
            for line in unread:
                click.echo(f"{line}.")
    with usage("A B"):
        comparison, unit, tasks = compare_runs(groups[0], groups[1], score)
    for line in (line for group in groups for line in counted_runs(group).left_out):
        click.echo(f"{line}.")
    click.echo(f"{score} {unit} on {', '.join(tasks)}\n")
    pairs(_lines(comparison))
    click.echo(f"\n{sum((run.budget for group in groups for run in group), Budget())}")


def _lines(found: Comparison) -> list[tuple[str, str]]:
    """Returns the rows of the comparison."""
    rows = [
        ("A", f"{number(found.means[0])}, mean of {found.n_first} seeds"),
        ("B", f"{number(found.means[1])}, mean of {found.n_second} seeds"),
        ("A - B", _with_interval(found.difference, found.interval)),
        ("P(A > B)", _with_interval(found.improvement, found.improvement_interval)),
    ]
    if not math.isnan(found.detectable):
        rows.append(
            ("detectable", f"{number(found.detectable)}, the difference that these seeds show 4 times in 5")
        )
    return [*rows, ("verdict", found.verdict)]


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    """Returns a value with its 95% interval, if it has one."""
    low, high = interval
    return number(value) if math.isnan(low) else f"{number(value)}, 95% from {number(low)} to {number(high)}"
