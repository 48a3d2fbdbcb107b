"""Population, the front of many algorithms trained side by side."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from offlinekit.configured import fields_of
from offlinekit.core.algo import Algo
from offlinekit.core.populations.held import own_attributes
from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.online_members import OnlinePopulationRun, check_members
from offlinekit.core.populations.population_run import PopulationRun, Rows
from offlinekit.core.populations.stacked_sampling import SharedColumns
from offlinekit.datasets import MDPDataset
from offlinekit.directions import is_maximized
from offlinekit.envs.given_env import GivenEnv
from offlinekit.errors import TrainingError, TrainingWarning, did_you_mean
from offlinekit.ground.hints import answers_keywords
from offlinekit.interfaces import EnvSource, Evaluator
from offlinekit.training import run_folder
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.online.online_start import start_online
from offlinekit.training.setup.description import describe_data, describe_run
from offlinekit.training.setup.keywords import takes, takes_settings
from offlinekit.training.setup.resuming import find_run
from offlinekit.training.setup.row_weighting import resolved
from offlinekit.training.setup.settings import N_STEPS, RunSettings, complete, completed, evaluators_of
from offlinekit.training.setup.start import start_run

MOST_MEMBERS = 10_000
"""Members that are made by their number; files and command lines can ask for any."""


@answers_keywords
class Population:
    """Algorithms trained side by side; those of one structure as one stacked program.

    Member i of a population is the algorithm that it would be if it were trained alone, up to rounding.

    A second fit on the same dataset object takes up the program of the first, if members differ only in what are its
    inputs.

    Args:
        algos: The members: other seeds, other hyperparameters, other classes.
        varying: Hyperparameters that are inputs of the program even while members agree in them, so that they can be
            set between two fits at no cost.

    Attributes:
        algos: The members, ordinary algorithms.
        stacks: The numbers of the members that trained as one program together, after `fit`.
        errors: What ended members early in the last `fit`, by their numbers.

    Raises:
        TypeError: For members that are no algorithms.
        ValueError: For no members, or one of them twice.
    """

    def __init__(self, algos: Sequence[Algo], varying: Collection[str] = ()) -> None:
        self.algos = list(algos)
        if not self.algos:
            raise ValueError("a population needs at least one algorithm, got none")
        for number, algo in enumerate(self.algos):
            if not isinstance(algo, Algo):
                raise TypeError(
                    f"member {number} of a population must be an algorithm, such as IQL(seed={number}), "
                    f"got {algo!r}"
                )
            if any(algo is other for other in self.algos[:number]):
                raise ValueError(f"member {number} is in the population twice; make one object a member")
        self.stacks: list[list[int]] = []
        self.errors: dict[int, TrainingError] = {}
        self._evaluators: Mapping[str, Evaluator] = {}
        self._kept = KeptStacks(varying)

    if not TYPE_CHECKING:  # The type checker would let any name pass.

        def __setattr__(self, name: str, value: object) -> None:
            """Sets an attribute that is no hyperparameter of a member, which the members have."""
            for algo in self.__dict__.get("algos", ()):
                if name in fields_of(type(algo)):
                    remedy = f"for algo in population: algo.{name} = {value!r}"
                    raise AttributeError(f"a population has no {name!r}, its members have; {remedy}")
            super().__setattr__(name, value)

    @classmethod
    def of_seeds(cls, algo: Algo, n_seeds: int) -> Population:
        """Makes a population of one algorithm: itself, and others with the seeds that follow its own.

        They have its hyperparameters, and the attributes that its user has set.

        Raises:
            TypeError: If the number is no integer.
            ValueError: For less than one seed or more than `MOST_MEMBERS`, or an algorithm that is trained already.
        """
        if isinstance(n_seeds, bool) or not isinstance(n_seeds, int):
            raise TypeError(f"seeds must be a number of seeds, such as 8, got {n_seeds!r}")
        if not 1 <= n_seeds <= MOST_MEMBERS:
            raise ValueError(f"seeds must be 1 to {MOST_MEMBERS:,}, got {n_seeds}")
        if algo.grad_step:
            raise ValueError(
                f"seeds={n_seeds} starts new members, but this {type(algo).__name__} has taken "
                f"{algo.grad_step} updates; make a new one, or go on without seeds"
            )
        first = algo.seed or 0
        members = [algo, *(dataclasses.replace(algo, seed=first + i) for i in range(1, n_seeds))]
        for member in members:
            member.seed_was_drawn = algo.seed_was_drawn
            vars(member).update(own_attributes(algo))
        return cls(members)

    def __len__(self) -> int:
        return len(self.algos)

    def __getitem__(self, number: int) -> Algo:
        return self.algos[number]

    def __iter__(self) -> Iterator[Algo]:
        return iter(self.algos)

    def __repr__(self) -> str:
        return f"Population({self.algos!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Returns what a pickle or a copy is made of: members of its own, and no functions of the caller."""
        own = {"algos": [copy.copy(algo) for algo in self.algos], "_kept": KeptStacks(self._kept.varying)}
        return {**vars(self), **own, "_evaluators": {}}

    @property
    def history(self) -> list[list[dict[str, Any]]]:
        """The rows of each member's history."""
        return [algo.history for algo in self.algos]

    @property
    def run_dirs(self) -> list[Path | None]:
        """The run folder of each member."""
        return [algo.run_dir for algo in self.algos]

    @takes_settings
    def fit(self, dataset: MDPDataset, n_steps: int = N_STEPS, **settings: Unpack[RunSettings]) -> Population:
        """Trains every member; takes the keywords of `Algo.fit`, with `resume` a run folder for each member, or "auto".

        Members go on together from the newest checkpoints that they all have, with the bits of a run that was not
        cut off. Those that are at their end and share no checkpoint stay as they are while the others go on. "auto"
        takes them as well, if a run of at least one member is unfinished.

        Args:
            dataset: What to learn from.
            n_steps: Number of updates of each member.
            settings: Further keywords, those of `RunSettings`.

        Returns:
            The population itself.

        Raises:
            ValueError: If all members have come to their end already.
            UnsupportedError: For a dataset that a member cannot learn from.
            TrainingError: If no member could go on to its end.
            KeyboardInterrupt: At Ctrl-C, after each member's checkpoint.
        """
        with whole_runs():
            for _ in self.fitter(dataset, n_steps, **settings):
                pass
        doubts = {type(algo).__name__: why for algo in self.algos if (why := algo.fit_doubt(dataset))}
        for name, why in doubts.items():
            warnings.warn(f"{name}: {why}", TrainingWarning, stacklevel=3)
        return self

    @takes_settings
    def fitter(
        self, dataset: MDPDataset, n_steps: int = N_STEPS, **settings: Unpack[RunSettings]
    ) -> Iterator[tuple[int, Rows]]:
        """The run of `fit` as a generator, with the same keywords.

        Yields:
            (update, {number: metrics}) of members that train together, at each log and evaluation interval and
            after the last update.
        """
        whole = complete(settings)
        self._evaluators = evaluators_of(whole)
        for algo in self.algos:
            algo.check(dataset)
        whole = resolved(dataset, whole)
        if whole["resume"] is not None or whole["out"] is not None:
            whole["info"] = describe_data(dataset, whole["info"] or {})  # Once for all members.
        folders = self._resumed(n_steps, whole)
        self._kept.begin(dataset)
        sampling = SharedColumns()
        with ExitStack() as opened:
            runs = []
            for algo, folder, step in zip(self.algos, folders, run_folder.common_steps(folders), strict=True):
                own: RunSettings = {**whole, "resume": folder}
                run = start_run(algo, dataset, n_steps, resume_step=step, make_sampler=sampling, **own)
                runs.append(opened.enter_context(closing(run)))
            together = PopulationRun(runs, whole["progress"], self._kept)
            self.stacks, self.errors = together.stacks, together.errors
            yield from together.steps()

    @takes(OnlineSettings)
    def fit_online(
        self,
        env: EnvSource,
        n_steps: int = N_STEPS,
        *,
        dataset: MDPDataset | None = None,
        **settings: Unpack[OnlineSettings],
    ) -> Population:
        """Takes every member online, each in environments of its own, with the results of its own `fit_online`.

        Members of one structure act in turn and learn as one stacked program.

        Args:
            env: Function that makes an environment, or a name that gymnasium knows, called for each member.
            n_steps: Environment steps of each member.
            dataset: Recorded rows that each learns from beside its own new ones, or None.
            settings: Further keywords, those of `OnlineSettings`; `resume` gives a run folder, or None,
                for each member.

        Returns:
            The population itself; `errors` has what ended members early.

        Raises:
            ValueError: For one environment in place of a function.
            TrainingError: If no member could go on to its end.
            KeyboardInterrupt: At Ctrl-C, with the folders to go on with.
        """
        whole = completed(settings, OnlineSettings, "fit_online")
        given = GivenEnv(env)  # One for all, so that no two members act in the same environment.
        folders = check_members(given, whole["resume"], len(self))
        sampling = SharedColumns(together=False)
        with whole_runs(), ExitStack() as opened:
            runs = []
            for algo, folder in zip(self.algos, folders, strict=True):
                own: dict[str, Any] = {**settings, "resume": folder}
                run = start_online(algo, given, n_steps, dataset=dataset, make_sampler=sampling, **own)
                runs.append(opened.enter_context(closing(run)))
            together = OnlinePopulationRun(runs, whole["progress"], KeptStacks(self._kept.varying))
            self.stacks, self.errors = together.stacks, together.errors
            for _ in together.steps():
                pass
        return self

    def _resumed(self, n_steps: int, settings: RunSettings) -> Sequence[Path | None]:
        """Returns the run folder that each member goes on with; None for those that begin."""
        resume = settings["resume"]
        if resume is None:
            return [None] * len(self)
        if resume == "auto":
            data = settings["info"] or {}
            configs = [describe_run(algo, n_steps, settings, data) for algo in self.algos]
            return self._found(configs, settings["out"])
        if isinstance(resume, (str, Path)) or len(resume) != len(self):
            raise ValueError(
                f"resume must give a run folder for each of {len(self)} members, such as "
                f"population.run_dirs, got {resume!r}; one member alone goes on by its own fit"
            )
        return [None if folder is None else Path(folder) for folder in resume]

    def _found(self, configs: Sequence[dict[str, Any]], out: str | Path | None) -> list[Path | None]:
        """Returns for each member an unfinished run; if any has one, finished runs of the others."""
        folders: list[Path | None] = [None] * len(self)
        for finished in (False, True):
            for number, algo in enumerate(self.algos):
                if folders[number] is None:
                    place = None if out is None else Path(out)
                    folders[number] = find_run(algo, place, configs[number], finished, folders)
            if not any(folders):
                break
        return folders

    def best(self, metric: str = "eval/return_mean", maximize: bool | None = None) -> Algo:
        """Returns the member whose last value of a metric is best; what is no finite number is not.

        Args:
            metric: A column of the members' history.
            maximize: Whether higher is better; None goes by the metric.

        Raises:
            ValueError: If no member measured it, or nothing says whether more of it is better.
        """
        last = {}
        for number, rows in enumerate(self.history):
            values = [row[metric] for row in rows if metric in row]
            if values and number not in self.errors and math.isfinite(values[-1]):
                last[number] = values[-1]
        if not last:
            measured = sorted({name for rows in self.history for row in rows for name in row})
            hint = did_you_mean(metric, measured) or f"; they have: {', '.join(measured) or 'nothing yet'}"
            raise ValueError(f"no member has measured {metric!r}{hint}")
        choose = max if is_maximized(metric, maximize, self._evaluators) else min
        return self.algos[choose(last, key=lambda number: last[number])]
