"""Search by Optuna: several processes share one study, kept as a journal in the sweep's folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from offlinekit.errors import require
from offlinekit.sweeps.pack import train
from offlinekit.sweeps.space import Range, Space
from offlinekit.sweeps.sweep_files import claimed

if TYPE_CHECKING:
    from offlinekit.sweeps.sweep import Sweep

ROUNDS = 5
"""Into how many rounds the trials of one process are divided at least, so that later ones learn from earlier."""


class Proposer(Protocol):
    """A trial of Optuna, or what looks like one."""

    def suggest_categorical(self, name: str, choices: Sequence[Any], /) -> object:
        """Returns one of the choices."""

    def suggest_int(self, name: str, low: int, high: int, /, *, log: bool) -> int:
        """Returns an integer in [low, high]."""

    def suggest_float(self, name: str, low: float, high: float, /, *, log: bool) -> float:
        """Returns a number in [low, high]."""


def search(sweep: Sweep) -> None:
    """Trains what Optuna proposes, a few settings at once, until all trials of the plan are taken (extra `sweep`).

    Trials that a process has left unfinished are taken up first. It also ends when runs are out of time: what came
    next would follow from no value.
    """
    optuna: ModuleType = require("optuna", "sweep")
    total = sweep.plan.trials or 0
    size = max(min(sweep.plan.pack // sweep.plan.seeds, total // ROUNDS), 1)
    while True:
        with ExitStack() as claims:
            with claimed(sweep.folder / "locks" / "ask", wait=True):
                study = _study(
                    optuna, sweep
                )  # Here: its seed follows from the trials that other processes have claimed.
                taken = _abandoned(optuna, sweep, study, claims) or _asked(sweep, study, size, claims)
            if not taken:
                return
            for trial in train(sweep, taken):
                if trial.state == "running":
                    continue
                state = optuna.trial.TrialState
                study.tell(trial.number, trial.value, state.FAIL if trial.value is None else state.COMPLETE)
            if sweep.out_of_time:
                return


def _study(optuna: ModuleType, sweep: Sweep) -> Any:
    """Opens the study; its sampler follows from the seed and the number of trials so far."""
    backend = optuna.storages.journal.JournalFileBackend(str(sweep.folder / "study.journal"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of parts of Optuna that it calls experimental.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="sweep",
            direction="maximize" if sweep.plan.maximize else "minimize",
            load_if_exists=True,
        )
        seed = sweep.plan.seed + len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return study


def _abandoned(optuna: ModuleType, sweep: Sweep, study: Any, claims: ExitStack) -> dict[int, dict[str, Any]]:
    """Claims the trials whose process is gone; what was not fully proposed has failed."""
    parameters = {}
    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    for trial in running:
        if not claims.enter_context(claimed(_lock(sweep, trial.number))):
            continue
        if trial.params.keys() == sweep.plan.vary.keys():
            parameters[trial.number] = trial.params
        else:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return parameters


def _asked(sweep: Sweep, study: Any, size: int, claims: ExitStack) -> dict[int, dict[str, Any]]:
    """Claims new trials, as many as are left but at most `size`."""
    left = (sweep.plan.trials or 0) - len(study.get_trials(deepcopy=False))
    parameters = {}
    for _ in range(min(size, left)):
        trial = study.ask()
        claims.enter_context(claimed(_lock(sweep, trial.number)))
        parameters[trial.number] = suggest(trial, sweep.plan.space)
    return parameters


def suggest(trial: Proposer, space: Space) -> dict[str, Any]:
    """Returns the values that a trial of Optuna, or what looks like one, proposes."""
    suggested: dict[str, Any] = {}
    for name, values in space.items():
        if not isinstance(values, Range):
            suggested[name] = trial.suggest_categorical(name, values)
        elif values.integer:
            suggested[name] = trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
        else:
            suggested[name] = trial.suggest_float(name, float(values.low), float(values.high), log=values.log)
    return suggested


def _lock(sweep: Sweep, number: int) -> Path:
    return sweep.folder / "locks" / f"trial_{number:06d}"
