"""`offlinekit plot`: learning curves of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, key_value_option, usage


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit plot runs/DiscreteCQL_* runs/DiscreteBC_* --out curves.png",
        "offlinekit plot runs/IQL_* --y eval/score --out score.pdf --theme paper --band interval",
    ),
)
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.option(
    "--out",
    default=Path("curves.png"),
    type=click.Path(path_type=Path),
    help="File to write: .png, .pdf or .svg.",
)
@click.option("--y", default="eval/return_mean", help="Metric, a column of metrics.csv.")
@click.option("--x", default="step", help="Horizontal axis: step, or time for wall time.")
@click.option(
    "--band",
    type=click.Choice(["standard_error", "interval", "range"]),
    default="standard_error",
    help="Over seeds; interval is 95% of the mean.",
)
@click.option(
    "--theme",
    type=click.Choice(["screen", "paper", "grey"]),
    default="screen",
    help="Look; paper and grey fit one column in print.",
)
@click.option("--title", help="Title.  [default: the dataset]")
@key_value_option("--baseline", "baselines", help="Horizontal line label=value")
@debug_option
def command(
    runs: tuple[Path, ...],
    out: Path,
    y: str,
    x: str,
    band: str,
    theme: str,
    title: str | None,
    baselines: dict[str, Any],
) -> None:
    """Draw the learning curves of runs.

    RUN is a run folder, a folder of run folders, or a metrics.csv. Runs of one algorithm, dataset and setting become
    their mean with a band. The mean return of the data is drawn as a line if the runs noted it. A run that cannot be
    read, or has nothing of the metric yet, is left out.
    """
    from offlinekit.metrics import plot_learning_curves
    from offlinekit.metrics.reporting.curves import behaviour_return, readable_runs

    with usage("--baseline"):
        lines = {label: float(value) for label, value in baselines.items()}
    with usage("RUN..."):
        drawn, left_out = readable_runs(runs, x, y)
    for line in left_out:
        click.echo(f"{line}.")
    behaviour = behaviour_return(drawn) if y in ("eval/return_mean", "eval/return_median") else None
    if behaviour is not None:
        lines = {"behaviour": behaviour, **lines}
    with usage("RUN..."):
        path = plot_learning_curves(drawn, out, x, y, lines, band=band, title=title, theme=theme)
    click.echo(f"Wrote {path}")
