"""Trials that are trained side by side, evaluated and recorded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from offlinekit.algos import Population
from offlinekit.core.algo import Algo
from offlinekit.errors import TrainingError
from offlinekit.metrics.evaluators import FQE_NAME
from offlinekit.sweeps.plan import evaluators_of
from offlinekit.sweeps.sweep_files import read_trials, write_trial
from offlinekit.training import run_folder
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.loggers import History
from offlinekit.training.setup.resuming import resume
from offlinekit.training.setup.settings import RunSettings

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.sweeps.sweep import Sweep


@dataclass
class Trial:
    """A setting and what came of it.

    Attributes:
        number: From 0 on.
        values: Of the hyperparameters that vary.
        value: The mean of the metric over the seeds; None before it is done, or if a run failed.
        state: "running", "done" or "failed".
        runs: For each seed {"seed", "run", "value", "error"}.
    """

    number: int
    values: dict[str, Any]
    value: float | None = None
    state: str = "running"
    runs: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Member:
    """One run of a trial: the algorithm, the checkpoints to go on from, and what ended it early."""

    trial: Trial
    algo: Algo
    folder: Path | None
    error: str | None = None
    value: float | None = None


def train(sweep: Sweep, settings: Mapping[int, dict[str, Any]]) -> list[Trial]:
    """Trains settings side by side with all their seeds, and notes their values.

    A trial with a run that `max_seconds` ended stays "running" and is not judged: a run of fewer updates says nothing
    of its setting beside whole ones.

    Args:
        sweep: Theirs.
        settings: Number of a trial to its values; the caller has claimed them.

    Returns:
        All trials of the settings, in no order.
    """
    plan, members = sweep.plan, []
    known = {
        (trial["number"], run["seed"]): sweep.folder / run["run"]
        for trial in read_trials(sweep.folder)
        for run in trial["runs"]
        if run["run"]
    }
    for number, values in settings.items():
        trial = Trial(number, dict(values))
        for seed in range(plan.seed, plan.seed + plan.seeds):
            algo, folder = plan.make(values, seed), known.get((number, seed))
            has_checkpoint = folder is not None and run_folder.checkpoints(folder)
            members.append(Member(trial, algo, folder if has_checkpoint else None))
    todo = [member for member in members if not _restored(member, plan.steps)]
    judging = plan.fqe_steps if plan.metric == FQE_NAME else 0
    with sweep.whole.span(len(settings) * plan.steps / (plan.steps + judging)):
        if todo:
            _fit(sweep, members, todo)
    cut = {member.trial.number for member in members if is_out_of_time(member.algo, member.error)}
    sweep.out_of_time = sweep.out_of_time or bool(cut)
    sound = [member for member in members if member.error is None and member.trial.number not in cut]
    with sweep.whole.span(len(settings) * judging / (plan.steps + judging)):
        measured = evaluate_trials(sweep, [m.algo for m in sound], plan.metric)
    for member, value in zip(sound, measured, strict=True):
        member.value = value if math.isfinite(value) else None
    return note(sweep, [member for member in members if member.trial.number in cut], over=False) + note(
        sweep, [member for member in members if member.trial.number not in cut], over=True
    )


def is_out_of_time(algo: Algo, error: str | None = None) -> bool:
    """Returns whether a run could go on, since `max_seconds` has ended it and no error."""
    return error is None and algo.run_dir is not None and not run_folder.is_finished(algo.run_dir)


def _fit(sweep: Sweep, members: Sequence[Member], todo: Sequence[Member]) -> None:
    """Trains what is not trained yet; as soon as runs have folders, these are noted, to go on from."""
    population = Population([member.algo for member in todo])
    folders, out = [member.folder for member in todo], sweep.folder / "runs"
    try:
        with whole_runs():
            for rows, _ in enumerate(fitter(sweep, population, folders, out, sweep.plan.metric)):
                if rows == 0:
                    note(sweep, members, over=False)
    except TrainingError:
        pass  # Of no member that could go on; `errors` has them all.
    for place, error in population.errors.items():
        todo[place].error = str(error)


def fitter(
    sweep: Sweep,
    population: Population,
    folders: Sequence[Path | None] | Literal["auto"],
    out: Path,
    metric: str,
) -> Iterator[Any]:
    """Returns the run of a population as the plan of a sweep has it, as a generator.

    Args:
        sweep: Whose plan, data and environment it is.
        population: What is trained.
        folders: A run to go on with for each member, or None; "auto" finds those that were cut off.
        out: Where the run folders go.
        metric: What is measured.
    """
    settings: RunSettings = {
        **sweep.plan.run_settings,
        "eval_env": sweep.env,
        "evaluators": evaluators_of(metric),
        "out": out,
        "resume": folders,
        "progress": sweep.progress,
        "preemptible": sweep.preemptible,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "member .* of the population ended")  # results.csv says so.
        yield from population.fitter(sweep.dataset, sweep.plan.steps, **settings)


def evaluate_trials(sweep: Sweep, algos: Sequence[Algo], metric: str) -> list[float]:
    """Returns the metric of each trained algorithm; not a number if it was not measured."""
    if metric != FQE_NAME:
        return [_last(algo.history, metric) for algo in algos]
    return fitted_start_values(algos, sweep.dataset, sweep.plan.fqe_steps, sweep.plan.seed) if algos else []


def fitted_start_values(algos: Sequence[Algo], dataset: MDPDataset, n_steps: int, seed: int) -> list[float]:
    """Returns the start value of each algorithm by fitted Q evaluation, of so many updates."""
    from offlinekit.metrics.ope.held_data import held_in_memory
    from offlinekit.metrics.ope.selection import (
        fitted_values,  # Here: scipy.stats takes a second and sets warnings.
    )

    named = {str(index): algo for index, algo in enumerate(algos)}
    held = held_in_memory(dataset, len(named), None, seed)
    values_of = fitted_values(named, held, n_steps=n_steps, n_resamples=0, seed=seed)
    return [float(values[0]) for values in values_of.values()]


def note(sweep: Sweep, members: Sequence[Member], over: bool) -> list[Trial]:
    """Writes the file of each trial, with its value if it is over."""
    trials = list({id(member.trial): member.trial for member in members}.values())
    for trial in trials:
        own = [member for member in members if member.trial is trial]
        trial.runs = [_row(sweep.folder, member) for member in own]
        values = [member.value for member in own if member.value is not None]
        if over:
            trial.state = "done" if len(values) == len(own) else "failed"
            trial.value = mean(values) if trial.state == "done" else None
        write_trial(sweep.folder, asdict(trial))
    return trials


def _row(folder: Path, member: Member) -> dict[str, Any]:
    run = member.algo.run_dir
    return {
        "seed": member.algo.seed,
        "run": None if run is None else str(run.relative_to(folder)),
        "value": member.value,
        "error": member.error,
    }


def _restored(member: Member, n_steps: int) -> bool:
    """Restores a member to the end of its run, if the run has come to it."""
    folder, algo = member.folder, member.algo
    if folder is None or run_folder.latest_checkpoint(folder) != run_folder.checkpoint_path(folder, n_steps):
        return False
    algo.history, algo.run_dir = History(resume(algo, folder)["history"]), folder
    return algo.grad_step == n_steps  # Not if the last checkpoint is damaged.


def _last(history: Sequence[Mapping[str, Any]], metric: str) -> float:
    return next((float(row[metric]) for row in reversed(history) if metric in row), math.nan)
