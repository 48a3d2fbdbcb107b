"""Returns of a policy in learned dynamics: rollouts from the first states of the data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from scipy import stats

from offlinekit.core.algo import Algo
from offlinekit.core.bases.model_based import ModelBased
from offlinekit.envs.past.sight import sight_of
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import every_action
from offlinekit.metrics.ope.logged import Floats
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset

ROLLOUTS = 100  # Of each model at least, however few the first states.


class DynamicsModel(Protocol):
    """K models of one step, such as the elites of `offlinekit.algos.Dynamics`; K is `n_simulated`, if it has that.

    Attributes:
        n_members: K, without `n_simulated`.
    """

    n_members: int

    def sample_steps(
        self, observations: Array, actions: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draws next observations [K, B, D], rewards [K, B] and ends, bool [K, B], of steps [K, B, ...].

        Actions are [K, B, A], or numbers [K, B] as the dataset has them: of its space, whose first may not be 0.
        """


DynamicsLike: TypeAlias = "DynamicsModel | Algo | str | Path"
"""Dynamics, an algorithm that learned inside some, or a file or run folder of either."""


def dynamics_of(
    given: DynamicsLike, dataset: MDPDataset | None = None, device: str = "auto"
) -> DynamicsModel:
    """Returns the dynamics that something is, holds or lies at, after a check that they are of such data.

    Args:
        given: See `DynamicsLike`.
        dataset: What policies are to be estimated on; None checks nothing.
        device: Where the networks of a file go.

    Raises:
        UnsupportedError: If there are no dynamics in it, or if they are of data of another form.
    """
    import offlinekit

    algo = offlinekit.load(given, device=device) if isinstance(given, str | Path) else given
    model = algo.model if isinstance(algo, ModelBased) else algo
    if not callable(getattr(model, "sample_steps", None)):
        raise UnsupportedError(
            f"{type(algo).__name__} learned no dynamics; give a run of Dynamics or of MOPO, say"
        )
    if dataset is not None and isinstance(model, Algo):
        model.check(dataset)
    return model  # type: ignore[return-value]  # It draws steps.


@dataclass(frozen=True)
class Simulation:
    """Discounted returns in K models.

    Attributes:
        returns: [E], from each first state, the mean over models.
        values: [K], the mean over first states in each model, these drawn again with replacement.
    """

    returns: Floats
    values: Floats

    def interval(self, confidence: float) -> tuple[float, float]:
        """Returns mean -+ t(K - 1, 1 - alpha / 2) times the deviation of the models' values.

        Each model learned from a bootstrap of the episodes, so this deviation is the estimate's own. What all models
        get wrong together it does not hold.
        """
        half = stats.t.ppf((1 + confidence) / 2, len(self.values) - 1) * self.values.std(ddof=1)
        return float(self.returns.mean() - half), float(self.returns.mean() + half)


def simulated(
    dynamics: DynamicsModel,
    target: TargetPolicy,
    dataset: MDPDataset,
    gamma: float,
    seed: int = 0,
    scale: Callable[[Array], Array] | None = None,
) -> Simulation:
    """Rolls the policy out in each model from the first states of the data, for as long as its longest episode.

    Args:
        dynamics: The models.
        target: What acts.
        dataset: Whose first states episodes begin with.
        gamma: Discount factor of one step.
        seed: Of all draws.
        scale: Makes rewards what returns add up; None leaves them in the units of the data.

    Raises:
        ValueError: For fewer than two models, whose spread says nothing.
    """
    n_models = int(getattr(dynamics, "n_simulated", dynamics.n_members))
    if n_models < 2:
        raise ValueError(
            f"an interval needs the spread of at least 2 models, got n_members={n_models}; fit "
            "dynamics of more, such as dynamics={'n_members': 7} of an algorithm that learns inside them"
        )
    if getattr(dynamics, "bootstrap", "episodes") != "episodes":
        warnings.warn(
            "the interval of model_based holds if each model learned from episodes drawn anew; fit the dynamics with "
            "bootstrap='episodes'",
            stacklevel=3,
        )
    rng, n = np.random.default_rng(seed), dataset.n_episodes
    starts = np.asarray(dataset.observations)[dataset.episode_starts]
    copies = -(-ROLLOUTS // n)
    observations: Array = np.broadcast_to(
        np.tile(starts, (copies, 1)), (n_models, copies * n, starts.shape[1])
    )
    n_seen = sight_of(target.source).history
    past = [observations] * n_seen
    total, alive = np.zeros(observations.shape[:2]), np.ones(observations.shape[:2], np.bool_)
    for step in range(int(dataset.episode_lengths().max())):
        past = [*past[1:], observations]
        seen = observations if n_seen == 1 else np.stack(past, 2)
        actions = drawn_actions(target, seen.reshape(-1, *seen.shape[2:]), rng)
        actions = actions.reshape(*alive.shape, *actions.shape[1:])
        observations, rewards, ends = dynamics.sample_steps(observations, actions, rng)
        earned = rewards if scale is None else scale(rewards)
        total += gamma**step * np.where(alive, earned, 0.0)
        alive &= ~ends
        if not alive.any():
            break
    each = total.reshape(n_models, copies, n).mean(1)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=n_models)
    return Simulation(each.mean(0), (counts * each).sum(1) / n)


def drawn_actions(target: TargetPolicy, observations: Array, rng: np.random.Generator) -> Array:
    """Returns actions as the dataset has them: discrete ones [B] drawn by their probabilities, else [B, A]."""
    if not target.discrete:
        return np.asarray(target.act(observations))
    thresholds = target.probabilities(observations).cumsum(1)
    drawn = rng.random((len(thresholds), 1)) * thresholds[:, -1:] >= thresholds
    return every_action(target.action_space)[drawn.sum(1).clip(0, thresholds.shape[1] - 1)]
