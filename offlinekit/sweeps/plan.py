"""Plans of sweeps, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, cast

from offlinekit.algos import get_algo
from offlinekit.core.algo import Algo
from offlinekit.directions import is_maximized
from offlinekit.errors import FileFormatError, did_you_mean
from offlinekit.fields import Count, checked
from offlinekit.ground.hints import answers_keywords
from offlinekit.interfaces import Evaluator
from offlinekit.metrics.evaluators import FQE_NAME, get_evaluator, known_evaluators
from offlinekit.sweeps import space
from offlinekit.sweeps.space import Range, Space
from offlinekit.training.setup.settings import N_STEPS, PLAIN, SETTINGS, RunSettings, complete

FIELDS: dict[str, Any] = {
    **dict.fromkeys(("steps", "seeds", "pack", "fqe_steps"), Count),
    "trials": Count | None,
    **dict.fromkeys(("algo", "metric", "device"), str),
    **dict.fromkeys(("dataset", "eval_env"), str | None),
    "maximize": bool | None,
}
"""What fields of a plan are checked by."""
DIRECTION = "give maximize=True or maximize=False, on the command line --maximize or --minimize"
"""How to say whether more of a metric is better."""
OWN = ("progress", "preemptible")
"""Settings of a run that the sweep decides for all of its runs."""

RunFields: Any = make_dataclass(
    "RunFields", [(name, Any, field(default=None, kw_only=True)) for name in PLAIN if name not in OWN]
)
"""A field for each setting of a run that is a number, a flag or a choice; None leaves it to the run."""


@answers_keywords
@dataclass
class Plan(RunFields):  # type: ignore[misc]  # Its fields are those of the run's settings, whatever these are.
    """A sweep: an algorithm, what varies, and by what settings are compared.

    Further keywords are the settings of each run, such as `eval_interval`, `engine` or `max_seconds`. Without an
    `eval_interval` runs are evaluated once, at the end.

    Attributes:
        algo: Name of the algorithm.
        vary: Hyperparameter to a list of values, or to a range.
        dataset: Name or path of the dataset, for processes that read it themselves.
        dataset_options: Of its reader.
        set: Hyperparameters that all settings share.
        trials: How many settings Optuna proposes; None tries the whole grid.
        seeds: Runs of each setting; its value is their mean.
        seed: The first seed.
        steps: Updates of each run.
        metric: "fqe", the name of an evaluator, or a column of the history such as "eval/return_mean".
        maximize: Whether higher is better; None goes by the metric.
        fqe_steps: Updates of each fitted Q evaluation.
        eval_env: Environment to evaluate in, "none", or None for the dataset's own.
        device: Where the networks are.
        pack: The most runs that are trained at once.

    Raises:
        TypeError: For a field of another type.
        ValueError: For a field out of its range, or hyperparameters that the algorithm does not take.
    """

    algo: str
    vary: dict[str, Any]
    dataset: str | None = None
    dataset_options: dict[str, Any] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)
    trials: int | None = None
    seeds: int = 1
    seed: int = 0
    steps: int = N_STEPS
    metric: str = FQE_NAME
    maximize: bool | None = None
    fqe_steps: int = 10_000
    eval_env: str | None = None
    device: str = "auto"
    pack: int = 32

    def __post_init__(self) -> None:
        for name, hint in FIELDS.items():
            setattr(self, name, checked(name, getattr(self, name), hint))
        complete(self.run_settings)
        for name in ("vary", "set", "dataset_options"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(
                    f"{name} must name values, such as {{alpha: ...}}, got {getattr(self, name)!r}"
                )
        if both := sorted({*self.vary} & {*self.set, "seed"}):
            raise ValueError(f"{both[0]} cannot vary and be set; seeds= says how many seeds there are")
        chosen = True if self.metric == FQE_NAME and self.maximize is None else self.maximize
        self.maximize = is_maximized(
            self.metric, chosen, evaluators_of(self.metric), [FQE_NAME, *known_evaluators()], DIRECTION
        )
        self.algo = get_algo(self.algo).catalogue_name()
        for values in self.grid if self.trials is None else space.corners(self.space):
            self.make(values, self.seed)

    @property
    def run_settings(self) -> RunSettings:
        """The settings of each run, those that are given and what the sweep has instead of a default."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunFields)}
        interval = given["eval_interval"] or self.steps
        rows = given["log_interval"] or SETTINGS["log_interval"].default
        own = {"eval_interval": interval, "log_interval": min(rows, interval)}
        return cast("RunSettings", {**{k: v for k, v in given.items() if v is not None}, **own})

    @property
    def space(self) -> Space:
        """The settings that vary, parsed."""
        return space.parse(self.vary)

    @property
    def grid(self) -> list[dict[str, Any]]:
        """Every setting of the grid."""
        return space.grid(self.space)

    def make(self, values: Mapping[str, Any], seed: int) -> Algo:
        """Makes the algorithm of a setting and a seed."""
        return get_algo(self.algo)(**{**self.set, **values, "seed": seed, "device": self.device})

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as plain data."""
        vary = {n: v.to_json() if isinstance(v, Range) else v for n, v in self.space.items()}
        return {**dataclasses.asdict(self), "vary": vary}

    @classmethod
    def from_dict(cls, data: object, where: str) -> Plan:
        """Makes a plan of plain data.

        Args:
            data: As `to_json` gives it; fields may be left out.
            where: Where they are from, for messages.

        Raises:
            FileFormatError: For something else than an object, unknown fields or missing ones.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(data, Mapping):
            raise FileFormatError(f"{where} must hold an object with {names}, got {type(data).__name__}")
        for name in data:
            if name not in names:
                raise FileFormatError(
                    f"{where} has an unknown field {name!r}{did_you_mean(str(name), names)}"
                )
        if missing := [name for name in ("algo", "vary") if name not in data]:
            raise FileFormatError(f"{where} lacks the field {missing[0]!r}")
        return cls(**data)


def evaluators_of(metric: str) -> dict[str, Evaluator]:
    """Returns what a run calls to measure a metric, by its name; nothing for columns that it has anyway."""
    return {metric: get_evaluator(metric)} if metric in known_evaluators() else {}
