"""The keywords of an evolution's `fit`, each declared once: default, type and range, meaning."""

# Annotations are objects here, which the checks read. Those in quotes are for type checkers alone.
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from offlinekit.fields import Count
from offlinekit.training.setup.settings import Setting

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvLike, Evaluator
    from offlinekit.sweeps.evolution.fitness import Fitness
    from offlinekit.training.trackers import LoggerFactory


class EvolutionSettings(TypedDict, total=False):
    """Keywords of `fit` beside the population and the dataset."""

    generations: Annotated[Count, "How many, those of a run that goes on included.", Setting(10)]
    steps: Annotated[Count, "Updates of each member in each generation.", Setting(10_000)]
    fitness: Annotated[
        "str | Fitness | Evaluator | EnvLike",
        "By what members are ranked: 'fqe' (fitted Q evaluation on held-out episodes), the name of an evaluator, a "
        "function (algo, dataset) -> float, an environment, or a `Fitness`.",
        Setting("fqe"),
    ]
    target: Annotated[float | None, "Fitness at which to stop; None never stops early.", Setting(None)]
    budget: Annotated[
        Count | None,
        "Updates of all members together after which no further generation begins.",
        Setting(None),
    ]
    out: Annotated["str | Path | None", "Folder in which the run makes its own, or None.", Setting("runs")]
    resume: Annotated["str | Path | None", "Folder of a run to go on with.", Setting(None)]
    from_generation: Annotated[
        Count | None,
        "The generation to go on from, whose successors are forgotten; None is the newest.",
        Setting(None),
    ]
    loggers: Annotated[
        "Sequence[str | LoggerFactory]",
        "As `Algo.fit` takes them ('wandb', 'mlflow', 'tensorboard'); each gets a row a generation.",
        Setting(()),
    ]
    progress: Annotated[bool, "Whether a terminal shows a progress bar.", Setting(True)]
    preemptible: Annotated[
        bool,
        "Whether SIGTERM and SIGUSR1 end the run as Ctrl-C does and raise Preempted.",
        Setting(False),
    ]
