"""What must be so before an online run begins: settings, networks, shares and environment that fit one another."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import fit_env, observations_at
from offlinekit.envs.past.sight import image_shapes, shapes_of
from offlinekit.errors import TrainingWarning, UnsupportedError
from offlinekit.sampling.loss_weights import loss_weights
from offlinekit.sampling.scalers import resolve_scaler
from offlinekit.training.online.online_settings import OnlineSettings, share_of
from offlinekit.training.setup.settings import evaluators_of
from offlinekit.training.trackers import find_factories
from offlinekit.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.sampling.loss_weights import LossWeights
    from offlinekit.types import Array


def check_together(algo: Algo, settings: OnlineSettings) -> None:
    """Checks an algorithm and settings that depend on one another, and decides which way early stopping goes.

    Raises:
        UnsupportedError: For an algorithm that learns from windows of trajectories.
        ValueError: For settings that contradict one another, or have no effect without another.
    """
    cls = type(algo).__name__
    if algo.family in ("SEQ", "TEXT"):
        raise UnsupportedError(
            f"{cls} learns from windows of trajectories, which fit_online does not collect; fine-tune one of "
            "transitions, such as SAC or DoubleDQN"
        )
    if settings["out"] is None and (settings["tensorboard"] or settings["loggers"]):
        raise ValueError("loggers belong to a run folder; give out='runs' as well")
    if settings["guide_steps"] and settings["guide"] is None:
        raise ValueError("guide_steps needs a policy that acts first; give guide= as well")
    if settings["guide"] is not None and not settings["guide_steps"]:
        raise ValueError(
            "guide acts in the first guide_steps steps of each episode; give guide_steps=200, say"
        )
    find_factories(settings["loggers"])
    stopping = settings["early_stopping"]
    if stopping is not None:
        settings["early_stopping"] = stopping.resolved(evaluators_of(settings))


def build_online(algo: Algo, dataset: MDPDataset | None, example: MDPDataset) -> None:
    """Makes networks and scalers, or checks that those there are fit.

    Raises:
        ValueError: For scalers that would have to be fitted on no data.
    """
    fresh = algo.grad_step == 0 and algo.run_dir is None
    given = {"observation": algo.observation_scaler, "reward": algo.reward_scaler}
    scalers = [resolve_scaler(scaler, kind) for kind, scaler in given.items()]
    if dataset is None and fresh and any(scaler is not None and scaler.needs_data for scaler in scalers):
        raise ValueError(
            "observation_scaler and reward_scaler are fitted on data; give dataset=, or leave them out to "
            "learn from nothing, or take one with numbers of its own ('multiply', 'shift', 'clip')"
        )
    if dataset is not None:
        algo.check(dataset)
    algo.build(example if dataset is None else dataset)


def check_share(algo: Algo, share: tuple[float, float] | None, dataset: MDPDataset | None) -> None:
    """Checks that there are rows of which a share can be drawn.

    Raises:
        ValueError: For a share of recorded rows without any.
        UnsupportedError: For an algorithm whose losses look at all rows at once.
    """
    if share is None or share == (0.0, 0.0):
        return
    if dataset is None:
        raise ValueError(
            f"mixing draws a share {max(share)} of recorded rows; give a dataset, or mixing='none'"
        )
    if algo.impl.learns_whole_dataset:
        raise UnsupportedError(
            f"{type(algo).__name__} learns from all rows at once, of which there are no shares; give mixing='append'"
        )


def warn_of_nothing_to_learn(algo: Algo, dataset: MDPDataset | None, settings: OnlineSettings) -> None:
    """Warns if rows that one may expect are in no minibatch: recorded ones, or those of the last call."""
    share, size = share_of(settings["mixing"]), algo.batch_size
    if share is not None:
        _warn_of_rounding(share, size)
    if dataset is not None or settings["resume"] is not None:
        return
    if algo.family == "IL":
        warnings.warn(
            f"{type(algo).__name__} imitates the rows that it draws, which from nothing are its own actions; give "
            "dataset=, or take an algorithm that learns from rewards, such as SAC or DoubleDQN",
            TrainingWarning,
            stacklevel=4,
        )
    if algo.experience is not None:
        warnings.warn(
            f"this call begins a new memory, without the {len(algo.experience):,} rows that were played before, and on "
            "the same seeds; give dataset=algo.experience to learn from them too",
            TrainingWarning,
            stacklevel=4,
        )


def _warn_of_rounding(share: tuple[float, float], size: int) -> None:
    """Warns of shares of which minibatches of a size have no row, or only such."""
    most, least = max(share), min(share)  # Of recorded rows.
    has_rows: tuple[tuple[str, float, Callable[[int], bool]], ...] = (
        ("recorded", most, lambda n: round(most * n) > 0),
        ("new", 1 - least, lambda n: round(least * n) < n),
    )
    for which, part, has_row in has_rows:
        if part > 0 and not has_row(size):
            warnings.warn(
                f"minibatches of {size} rows with a share {part:g} of {which} ones have none of these; give a share of "
                f"at least {1 / size:g}, or batch_size={next(filter(has_row, count(size)))} or more",
                TrainingWarning,
                stacklevel=5,
            )


def recorded_weights(
    dataset: MDPDataset | None, weights: LossWeights | None, share: tuple[float, float] | None
) -> Array | None:
    """Returns the loss weights [N] of recorded rows, of mean 1 over those above 0; None without weights.

    Raises:
        ValueError: If minibatches have no recorded rows.
        DatasetError: For weights that cannot be.
    """
    if weights is None:
        return None
    if dataset is None:
        raise ValueError("weights are those of recorded rows; give dataset= as well")
    if share == (0.0, 0.0):
        raise ValueError(
            "weights are those of recorded rows, and mixing='none' draws none; give mixing='append' or a share such "
            "as 0.5, or leave weights out"
        )
    values = loss_weights(dataset, weights)
    scaled: Array = values / values[values > 0].mean()
    return scaled


def check_acting(algo: Algo, example: MDPDataset, env: gymnasium.Env[Any, Any]) -> None:
    """Checks that an algorithm acts, and in the spaces of an environment.

    Args:
        algo: With networks.
        example: One row.
        env: Where it is to act.

    Raises:
        UnsupportedError: For an algorithm that does not act, or an environment that stacks its images or has none.
        DatasetError: For an environment of other spaces.
    """
    with undisturbed(algo):
        algo.predict(observations_at(algo, example, np.zeros(1, np.int64)))
    shown = fit_env(env, algo, "env=", "the algorithm")
    if algo.frame_stack > 1 and not image_shapes(env.observation_space):
        raise UnsupportedError(
            f"{type(algo).__name__} stacks {algo.frame_stack} uint8 images [C, H, W], and the environment shows none: "
            f"its observations have the shapes {shapes_of(env.observation_space)}; leave frame_stack at 1"
        )
    if algo.frame_stack > 1 and shown is env:
        raise UnsupportedError(
            f"{type(algo).__name__} stacks {algo.frame_stack} images itself; give an environment that shows single ones"
        )
    if algo.history_length > 1 and shown is env:
        raise UnsupportedError(
            f"{type(algo).__name__} keeps a history of {algo.history_length} rows itself; give an environment that "
            "shows single ones"
        )
