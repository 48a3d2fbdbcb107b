"""The table of a report about runs that went online: the score before, its dip, and after."""

from __future__ import annotations

from collections.abc import Sequence

from offlinekit.metrics.reporting.plots import readable
from offlinekit.metrics.reporting.results import RunResult
from offlinekit.training.online.before_after import SCORE, BeforeAfter

HEAD = ("run", "before", "lowest", "after", "regret", "recovered at step", "steps", "updates")
NOTE = (
    "Mean return of evaluations before the first step, at the lowest, and after the last step. Regret: mean over steps "
    "of the shortfall against the score after."
)


def online_rows(runs: Sequence[RunResult]) -> list[tuple[str, ...]]:
    """Returns a row of text for each online run with an evaluation before its first step and another."""
    return [
        (run.folder.name, *_cells(report), f"{run.updates:,}")
        for run in runs
        if run.is_online and (report := _report(run))
    ]


def _report(run: RunResult) -> BeforeAfter | None:
    pairs = zip(run.steps.tolist(), run.returns.tolist(), strict=True)
    return BeforeAfter.of([{"step": step, SCORE: score} for step, score in pairs])


def _cells(report: BeforeAfter) -> tuple[str, ...]:
    scores = (report.before, report.lowest, report.after, report.regret)
    back = "never" if report.recovered_at is None else f"{report.recovered_at:,}"
    return (*map(readable, scores), back, f"{report.steps:,}")
