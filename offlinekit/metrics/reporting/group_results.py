"""Results of the runs of one algorithm on one dataset: a mean with its interval, in numbers and in words."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from offlinekit.datasets.fingerprint import digits
from offlinekit.metrics.reporting.markup import csv_text
from offlinekit.metrics.reporting.results import RunResult, by_group
from offlinekit.metrics.statistics.aggregates import Floats
from offlinekit.metrics.statistics.budget import Budget

NUMBERS = ("mean", "low", "high")


@dataclass(frozen=True)
class GroupResult:
    """Runs of one algorithm on one dataset that differ in their seeds alone.

    Attributes:
        dataset, algo: Names.
        runs: All of them.
        kind: Of the score, "final" or "best-over-training".
    """

    dataset: str
    algo: str
    runs: Sequence[RunResult]
    kind: str

    @property
    def evaluated(self) -> list[RunResult]:
        """Those with a return."""
        return [run for run in self.runs if run.is_evaluated]

    @property
    def returns(self) -> Floats:
        """[evaluated runs]."""
        return np.array([run.score(self.kind) for run in self.evaluated])

    @property
    def scores(self) -> Floats:
        """Normalised returns [evaluated runs]; none if the dataset has no reference returns."""
        scores = [run.normalized(self.kind) for run in self.evaluated]
        return np.array([] if None in scores else scores, np.float64)

    @property
    def behaviour_return(self) -> float | None:
        """Mean return of the recorded episodes, if a run noted it."""
        recorded: float | None = self.runs[0].config.get("behaviour_return")
        return recorded

    @property
    def basis(self) -> str:
        """Basis of the numbers: seeds, episodes of an evaluation, hash of the data."""
        seeds = ", ".join(str(run.seed) for run in self.runs)
        episodes = sorted({int(run.config.get("eval_episodes") or 0) for run in self.evaluated} - {0})
        played = (
            f"; {' or '.join(map(str, episodes))} episode{'' if episodes == [1] else 's'} each"
            if episodes
            else ""
        )
        held = digits(self.runs[0].dataset_hash or "", 8)
        return f"seed{'' if len(self.runs) == 1 else 's'} {seeds}{played}{f'; data {held}' if held else ''}"


def group_results(runs: Sequence[RunResult], kind: str) -> list[GroupResult]:
    """Returns the groups of runs, sorted by dataset and algorithm."""
    return [GroupResult(dataset, algo, group, kind) for (dataset, algo), group in by_group(runs).items()]


def mean_interval(values: Floats) -> tuple[float, float, float]:
    """Returns mean, low and high: Student's t interval of the mean over seeds.

    All are NaN without a value, low and high with one.
    """
    if len(values) == 0:
        return (math.nan,) * 3
    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan
    margin = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - margin, mean + margin


def in_words(mean: float, low: float, high: float) -> str:
    """Returns "mean [low, high]" in four digits of the largest of them."""
    largest = max(abs(mean), abs(low), abs(high))
    decimals = max(0, 3 - math.floor(math.log10(largest))) if 0 < largest < math.inf else 0
    digits = f",.{decimals}f" if 0 < largest < 1e9 and decimals <= 8 else ",.4g"
    return f"{mean:{digits}} [{low:{digits}}, {high:{digits}}]"


def results_csv(runs: Sequence[RunResult], kind: str) -> str:
    """Returns the results as CSV of numbers; blank if there is none."""
    budget = sum((run.budget for run in runs), Budget())
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (
            *("dataset", "algorithm", "seeds", "runs_evaluated"),
            *(f"return_{name}" for name in (*NUMBERS, "median")),
            *(f"score_{name}" for name in NUMBERS),
            *("return_of_the_data", "updates_least", "updates_most", "rests_on", "budget of the table"),
        )
    )
    for result in group_results(runs, kind):
        median = float(np.median(result.returns)) if len(result.returns) else math.nan
        behaviour = math.nan if result.behaviour_return is None else result.behaviour_return
        numbers = (*mean_interval(result.returns), median, *mean_interval(result.scores), behaviour)
        updates = [run.updates for run in result.runs]
        writer.writerow(
            (
                *(csv_text(result.dataset), csv_text(result.algo), len(result.runs), len(result.evaluated)),
                *("" if math.isnan(number) else repr(float(number)) for number in numbers),
                *(min(updates), max(updates), result.basis, str(budget).removeprefix("Budget: ")),
            )
        )
    return out.getvalue()
