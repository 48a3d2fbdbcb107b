"""A sweep in its folder: trials are packed into populations, trained, evaluated and recorded."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offlinekit.algos import Population
from offlinekit.core.populations.grouping import structure
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.directions import COLUMNS
from offlinekit.errors import FileFormatError, TrainingError, did_you_mean
from offlinekit.ground.progress import Progress
from offlinekit.metrics.evaluators import FQE_NAME, OF_A_USER, known_evaluators
from offlinekit.sweeps import sweep_files
from offlinekit.sweeps.pack import (
    Trial,
    evaluate_trials,
    fitted_start_values,
    fitter,
    is_out_of_time,
    train,
)
from offlinekit.sweeps.plan import Plan, evaluators_of
from offlinekit.sweeps.space import corners
from offlinekit.training import run_config, run_folder
from offlinekit.training.evaluations import make_evaluations
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.setup.resuming import refuse_other_data

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvSource


ALONE = "load the policy of one of its runs with offlinekit.load"


class Sweep:
    """Many settings of one algorithm, on which several processes may work at once.

    Raises:
        ValueError: For a metric that no run of the plan measures.
        DatasetError: For other data than those that the sweep in this folder was made with.

    Args:
        folder: Of the sweep, which `create` makes.
        plan: What it does.
        dataset: What to learn from.
        env: To evaluate in, or None.
        progress: Whether a terminal shows progress bars.

    Attributes:
        preemptible: Whether SIGTERM and SIGUSR1 save checkpoints of all runs and raise Preempted.
        out_of_time: Whether runs of the last `run` or `report` came to the end of `max_seconds` before that of
            their updates; a further call goes on with them.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        dataset: MDPDataset,
        env: EnvSource | None = None,
        progress: bool = True,
    ) -> None:
        self.folder, self.plan, self.dataset, self.env, self.progress = folder, plan, dataset, env, progress
        self.preemptible = self.out_of_time = False
        self.whole = self._progress(shown=False)
        if plan.metric.startswith("eval/") and env is None:
            raise ValueError(
                f"metric={plan.metric!r} needs an environment; name one by eval_env, or choose by "
                f"one of {[FQE_NAME, *known_evaluators()]}"
            )
        self._refuse_other_data()
        self._try_metric()

    def _progress(self, shown: bool) -> Progress:
        """Returns what counts the trials that are done."""
        total = len(self.plan.grid) if self.plan.trials is None else self.plan.trials
        return Progress(f"sweep of {self.plan.algo}", total, shown=shown, unit="trial")

    def _refuse_other_data(self) -> None:
        """Refuses to go on with other data, whose trials would be ranked beside those of before.

        Raises:
            DatasetError: If the hash of the data is not that which the sweep was made with.
        """
        path = self.folder / "plan.json"
        known = run_config.read(path, sweep_files.PLAN).get(sweep_files.HASH) if path.is_file() else None
        if known is not None:
            now = {"name": self.dataset.name, "hash": fingerprint(self.dataset)}
            refuse_other_data(self.folder, {"dataset": {"hash": known}}, {"dataset": now}, ALONE)

    def _try_metric(self) -> None:
        """Measures the metric of networks that have learned nothing, so that a sweep is not trained in vain.

        Raises:
            ValueError: For a metric that no run of the plan measures; suggests the nearest.
        """
        metric, plan = self.plan.metric, self.plan
        values = plan.grid[0] if plan.trials is None else corners(plan.space)[0]
        algo = plan.make(values, plan.seed).build(self.dataset)
        if metric == FQE_NAME:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # One update fits nothing.
                fitted_start_values([algo], self.dataset, 1, plan.seed)
            return
        if metric.startswith("eval/") and self.env is not None:
            figures = make_evaluations(algo, self.dataset, self.env, 1, {}, max_steps=1)["eval"]()
            if metric not in figures:
                raise ValueError(
                    f"metric={metric!r} is not measured here{did_you_mean(metric, figures)}; this environment with "
                    f"these data gives {', '.join(name for name in figures if name.startswith('eval/'))}"
                )
            return
        for evaluator in evaluators_of(metric).values():
            evaluator(algo, self.dataset[int(self.dataset.episode_returns().argmax())])
            return
        known = [*COLUMNS, *(f"{objective.name}_loss" for objective in algo.impl.objectives)]
        if metric not in known:
            names = [FQE_NAME, *known_evaluators()]
            hint = did_you_mean(metric, [*known, *names]) or f"; known: {', '.join(names)}; {OF_A_USER}"
            raise ValueError(f"Unrecognized metric: {metric!r}{hint}")

    @classmethod
    def create(
        cls,
        out: str | Path,
        plan: Plan,
        dataset: MDPDataset,
        env: EnvSource | None = None,
        progress: bool = True,
    ) -> Sweep:
        """Makes the folder of a new sweep within another one."""
        sweep = cls(Path(out) / "new", plan, dataset, env, progress)  # Checked before there is a folder.
        sweep.folder = run_folder.create(Path(out), f"sweep_{plan.algo}", dataset.name)
        (sweep.folder / "checkpoints").rename(sweep.folder / "trials")
        noted = {**plan.to_json(), sweep_files.HASH: fingerprint(dataset)}
        run_folder.write_json(sweep.folder / "plan.json", noted)
        return sweep

    @staticmethod
    def read_plan(folder: Path) -> Plan:
        """Returns the plan of a sweep.

        Raises:
            FileNotFoundError: If the folder holds none.
            FileFormatError: For a damaged one.
        """
        path = folder / "plan.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no folder of a sweep: it has no plan.json")
        noted = run_config.read(path, sweep_files.PLAN)
        return Plan.from_dict({n: v for n, v in noted.items() if n != sweep_files.HASH}, str(path))

    def run(self) -> list[Trial]:
        """Runs trials until each is done or is run by another process, and returns all that are done.

        A sweep that was cut off, or is `out_of_time`, goes on with a further call, its runs from their newest
        checkpoints.

        Raises:
            KeyboardInterrupt: At Ctrl-C, after checkpoints of all runs; Preempted if `preemptible` is set.
        """
        self.out_of_time = False
        with self._progress(self.progress) as self.whole:
            self.whole.advance(sum(trial.state != "running" for trial in self.trials()))
            self.whole.first = self.whole.done
            if self.plan.trials is None:
                self._run_grid()
            else:
                from offlinekit.sweeps.optuna_search import search

                search(self)
        return self.write_results()

    def _run_grid(self) -> None:
        for pack in packs(self.plan):
            with sweep_files.claimed(self.folder / "locks" / f"pack_{min(pack):06d}") as ours:
                finished = {trial.number for trial in self.trials() if trial.state != "running"}
                todo = {number: values for number, values in pack.items() if number not in finished}
                if ours and todo:
                    train(self, todo)

    # Trials.

    def trials(self) -> list[Trial]:
        """Returns what is known of each trial, by number."""
        try:
            found = [Trial(**data) for data in sweep_files.read_trials(self.folder)]
        except TypeError as error:
            raise FileFormatError(
                f"{self.folder / 'trials'} holds entries that no trial has ({error}); remove the file to run it again"
            ) from error
        for trial in found:
            if trial.values.keys() != self.plan.vary.keys():
                raise FileFormatError(
                    f"{self.folder / 'trials'} holds a trial of {sorted(trial.values)} where the plan varies "
                    f"{sorted(self.plan.vary)}; remove its file to run it again"
                )
        return found

    def write_results(self) -> list[Trial]:
        """Writes results.csv, and returns what is known of each trial."""
        with sweep_files.claimed(self.folder / "locks" / "table", wait=True):
            trials = self.trials()
            sweep_files.write_table(self.folder, list(self.plan.vary), [asdict(trial) for trial in trials])
        return trials

    def best(self) -> Trial:
        """Returns the trial whose value is best.

        Raises:
            ValueError: If none is done.
        """
        done = [trial for trial in self.trials() if trial.value is not None]
        if not done:
            raise ValueError(f"no trial of {self.folder} is done; results.csv says what ended them")
        sign = 1 if self.plan.maximize else -1
        return max(done, key=lambda trial: sign * (trial.value or 0.0))

    def report(self, seeds: int, metric: str = "eval/return_mean") -> list[float]:
        """Trains the best setting with seeds that had no part in its choice, and returns their metric.

        The best of many values is flattered by luck; these are not. What was cut off goes on with a further call.

        Raises:
            TrainingError: If runs are out of time before the end of their updates, which `out_of_time` then says.
        """
        best, first = self.best(), self.plan.seed + self.plan.seeds
        members = [self.plan.make(best.values, first + i) for i in range(seeds)]
        population = Population(members)
        with whole_runs():
            for _ in fitter(self, population, "auto", self.folder / "report", metric):
                pass
        going = [member for place, member in enumerate(members) if place not in population.errors]
        short = [member for member in going if is_out_of_time(member)]
        if short:
            self.out_of_time = True
            raise TrainingError(
                f"seeds {', '.join(str(m.seed) for m in short)} are out of time after update {short[0].grad_step:,} of "
                f"{self.plan.steps:,}; ask for the report again to go on"
            )
        values = evaluate_trials(self, members, metric)
        run_folder.write_json(
            self.folder / "report.json",
            {"values": best.values, "metric": metric, "seeds": [m.seed for m in members], "results": values},
        )
        return values


def packs(plan: Plan) -> list[dict[int, dict[str, Any]]]:
    """Returns the settings of a grid by number, in packs that share an architecture and are small enough."""
    kinds: list[tuple[Any, dict[int, dict[str, Any]]]] = []
    for number, values in enumerate(plan.grid):
        kind = structure(plan.make(values, plan.seed))
        pack = next((pack for other, pack in kinds if other == kind), None)
        if pack is None:
            kinds.append((kind, pack := {}))
        pack[number] = values
    size = max(plan.pack // plan.seeds, 1)
    return [
        dict(list(pack.items())[start : start + size])
        for _, pack in kinds
        for start in range(0, len(pack), size)
    ]
