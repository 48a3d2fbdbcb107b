"""Evaluations at the intervals of a run: episodes in an environment, the evaluators given, and a look at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets import MDPDataset
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.frame_stacking import observations_at
from offlinekit.errors import UnsupportedError
from offlinekit.events import get_logger
from offlinekit.interfaces import Evaluator
from offlinekit.training.episode_table import EPISODES
from offlinekit.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.interfaces import EnvSource
    from offlinekit.types import Array

Judge = Callable[[], dict[str, Any]]
N_ROWS = 256
"""Rows, evenly spread over the data, on which actions are compared."""

log = get_logger()


def make_evaluations(
    algo: Algo,
    dataset: MDPDataset,
    env: EnvSource | None,
    n_episodes: int,
    evaluators: Mapping[str, Evaluator],
    **how: int | None,
) -> dict[str, Judge]:
    """Returns name -> what measures some metrics of an algorithm as it is at the time of the call.

    That of the environment also returns its episodes, under `EPISODES`.

    Args:
        algo: To evaluate.
        dataset: What the evaluators look at, and whose reference scores the environment's returns are set against.
        env: Environment to play `n_episodes` in, or None.
        n_episodes: Of each evaluation.
        evaluators: Name to a function (algo, dataset) -> float, or -> several by name, logged as "name/part".
        how: `n_envs`, `max_steps` and `seed` of `evaluate`; without a seed that of the algorithm.
    """
    judges: dict[str, Judge] = {
        name: partial(_judge, name, of, algo, dataset) for name, of in evaluators.items()
    }
    if env is None:
        return judges
    reference = dataset if dataset.reference_scores else None
    return {"eval": partial(_play, algo, env, n_episodes, reference, **how), **judges}


RESERVED = ("step", "time", "updates", "eval", "online", "value_estimate", "value_diverged")
"""Names of columns, and of groups of them, that a run writes itself."""


def try_evaluators(algo: Algo, dataset: MDPDataset, evaluators: Mapping[str, Evaluator]) -> None:
    """Calls each evaluator on the best episode of the data, so that what is wrong shows before the first update.

    Raises:
        ValueError: For the name of a column that a run has anyway.
    """
    best = dataset[int(dataset.episode_returns().argmax())]
    taken = {*RESERVED, *(f"{objective.name}_loss" for objective in algo.impl.objectives)}
    for name, evaluator in evaluators.items():
        if name in taken:
            raise ValueError(f"an evaluator cannot be named {name!r}, as a column of the run is; rename it")
        with undisturbed(algo):
            _judge(name, evaluator, algo, best)


def _play(
    algo: Algo,
    env: EnvSource,
    n_episodes: int,
    reference: MDPDataset | None,
    n_envs: int | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Returns the figures of some episodes and, for the run's folder, the episodes themselves."""
    seed = (algo.seed or 0) if seed is None else seed
    played = evaluate(algo, env, n_episodes, seed=seed, n_envs=n_envs, max_steps=max_steps)
    episodes = {
        "seed": range(seed, seed + n_episodes),
        "return": played.returns.tolist(),
        "length": played.lengths.tolist(),
        "value_start": () if played.start_values is None else played.start_values.tolist(),
    }
    figures = {f"eval/{name}": value for name, value in played.summary(reference).items()}
    return {**figures, EPISODES: episodes}


def _judge(name: str, evaluator: Evaluator, algo: Algo, dataset: MDPDataset) -> dict[str, float]:
    measured = evaluator(algo, dataset)
    values = measured if isinstance(measured, Mapping) else {"": measured}
    try:
        return {f"{name}/{part}" if part else name: float(value) for part, value in values.items()}
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the evaluator {name!r} returned {measured!r:.100}, expected a number, or numbers by name ({error}); "
            "return one, such as float(x.mean())"
        ) from error


def warn_of_one_action(algo: Algo, dataset: MDPDataset) -> None:
    """Logs a warning if a policy takes one action whatever it sees, though the data do not."""
    if algo.is_stateful or algo.family == "TEXT":
        return
    index = np.unique(np.linspace(0, len(dataset) - 1, N_ROWS).astype(int))
    try:
        with undisturbed(algo):
            taken = np.asarray(algo.predict(observations_at(algo, dataset, index)))
    except UnsupportedError:  # Of values and models, which do not act.
        return
    if _spread(taken) < 1e-3 * _spread(np.asarray(dataset.actions[index])):
        log.warning(
            "policy takes one action on all rows",
            algorithm=type(algo).__name__,
            action=taken[0].round(3).tolist(),
            rows=len(index),
            remedy="it does not look at what it sees: train longer, lower its learning rate, or scale observations",
        )


def _spread(actions: Array) -> float:
    """Returns the largest range of a part of actions [N] or [N, A]."""
    return float(np.ptp(actions.reshape(len(actions), -1).astype(np.float64), axis=0).max())
