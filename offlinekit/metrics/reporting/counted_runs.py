"""Runs that count: each training seed once, and none whose return is not a number."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from offlinekit.metrics.reporting.results import RunResult


class CountedRuns(NamedTuple):
    """Runs that count, and why others do not.

    Attributes:
        runs: As they came.
        left_out: A sentence for each of the others.
    """

    runs: list[RunResult]
    left_out: list[str]


def counted_runs(runs: Sequence[RunResult]) -> CountedRuns:
    """Returns the runs that count as measurements of their own.

    Two runs of one seed, algorithm, dataset and settings that change results are one measurement: the longer counts,
    of equal ones the first. A run whose return is not finite is no measurement.
    """
    left_out = [
        f"{run.folder.name} is left out: its return is {run.score()}, which is no finite number"
        for run in runs
        if run.is_evaluated and not math.isfinite(run.score())
    ]
    finite = [run for run in runs if not run.is_evaluated or math.isfinite(run.score())]
    first: dict[str, RunResult] = {}
    for run in sorted(finite, key=lambda run: -run.updates):
        first.setdefault(_identity(run), run)
    kept = [run for run in finite if first[_identity(run)] is run]
    left_out += [
        f"{run.folder.name} is left out: the same seed twice, {run.seed} as in {first[_identity(run)].folder.name}"
        for run in finite
        if first[_identity(run)] is not run
    ]
    return CountedRuns(kept, left_out)


def _identity(run: RunResult) -> str:
    """Returns what two runs of one measurement share; a run that notes no seed is like no other."""
    seed = str(run.folder) if run.seed is None else run.seed
    return json.dumps(
        [run.algo, run.settings, run.dataset, run.dataset_hash, seed], sort_keys=True, default=str
    )
