"""`offlinekit report`: tables and one page of runs."""

from __future__ import annotations

from pathlib import Path

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, usage


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit report runs --out report",
        "offlinekit report runs/IQL_* runs/CQL_* --tuning-seed 0 --tuning-seed 1 --title 'IQL and CQL'",
    ),
)
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("report"), help="Folder to write."
)
@click.option(
    "--score",
    type=click.Choice(["final", "best-over-training"]),
    default="final",
    help="What counts for a run; the best over training flatters.",
)
@click.option(
    "--tuning-seed",
    "tuning_seeds",
    type=int,
    multiple=True,
    help="Seed that chose the hyperparameters; a run of it is refused, repeatable.",
)
@click.option("--title", default="Report", help="Of the page.")
@debug_option
def command(runs: tuple[Path, ...], out: Path, score: str, tuning_seeds: tuple[int, ...], title: str) -> None:
    """Write tables (Markdown, CSV) and one page (HTML) of runs.

    RUN is a run folder, that of an evolution, or a folder of such. The page holds its figures and the films (*.mp4)
    that lie in the run folders, and needs no network.
    """
    from offlinekit.metrics.reporting.page import write_report

    with usage("RUN..."):
        written = write_report(runs, out, score=score, tuning_seeds=tuning_seeds, title=title)
    click.echo((out / "report.md").read_text())
    for path in written:
        click.echo(f"Wrote {path}")
