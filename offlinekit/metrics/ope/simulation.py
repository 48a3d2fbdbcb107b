"""Returns of a policy in learned dynamics: rollouts from the first states of the data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
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
    beyond: Callable[[Array, int], Floats] | None = None,
) -> Simulation:
    """Rolls the policy out in each model from the first states of the data, to the cuts of `cuts_of`.

    Args:
        dynamics: The models.
        target: What acts.
        dataset: Whose first states episodes begin with.
        gamma: Discount factor of one step.
        seed: Of all draws.
        scale: Makes rewards what returns add up; None leaves them in the units of the data.
        beyond: Values [B] of observations, and of the number of a model, that are added where a rollout is cut; those
            of episodes whose final observation was not recorded count to the cut. None adds nothing.

    Raises:
        ValueError: For fewer than two models, whose spread says nothing.
    """
    n_models, rng, n = _checked(dynamics), np.random.default_rng(seed), dataset.n_episodes
    starts = np.asarray(dataset.observations)[dataset.episode_starts]
    copies = -(-ROLLOUTS // n)
    observations: Array = np.broadcast_to(
        np.tile(starts, (copies, 1)), (n_models, copies * n, starts.shape[1])
    )
    cuts = cuts_of(dataset, (n_models, copies), np.random.default_rng((seed, 1)))
    shares = np.tile(_known_cuts(dataset), copies)
    n_seen = sight_of(target.source).history
    past = [observations] * n_seen
    total, alive = np.zeros(observations.shape[:2]), np.ones(observations.shape[:2], np.bool_)
    for step in count():
        past = [*past[1:], observations]
        seen = observations if n_seen == 1 else np.stack(past, 2)
        is_cut = alive & (cuts == step)
        if beyond is not None:
            for k in np.flatnonzero(is_cut.any(1)).tolist():
                total[k, is_cut[k]] += gamma**step * shares[is_cut[k]] * beyond(seen[k, is_cut[k]], k)
        alive &= ~is_cut
        if not alive.any():
            break
        actions = drawn_actions(target, seen.reshape(-1, *seen.shape[2:]), rng)
        actions = actions.reshape(*alive.shape, *actions.shape[1:])
        observations, rewards, ends = dynamics.sample_steps(observations, actions, rng)
        earned = rewards if scale is None else scale(rewards)
        total += gamma**step * np.where(alive, earned, 0.0)
        alive &= ~ends
    each = total.reshape(n_models, copies, n).mean(1)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=n_models)
    return Simulation(each.mean(0), (counts * each).sum(1) / n)


def _checked(dynamics: DynamicsModel) -> int:
    """Returns how many models there are, after a check that their spread says something."""
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
            stacklevel=4,
        )
    return n_models


def cuts_of(dataset: MDPDataset, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Returns after how many steps rollouts are cut, int64 [K, C * E]: C from the start of each episode in K models.

    From the start of an episode that was cut, where it was. One that ended says only that its cut would have come no
    sooner: each of its rollouts draws one from what the data say of cuts from there on (Kaplan & Meier 1958), at most
    the steps of the longest episode. So the behaviour's own rollouts return what is recorded, whatever cuts there are.

    Args:
        dataset: With E episodes.
        shape: K and C.
        rng: Draws cuts.
    """
    lengths, cut = dataset.episode_lengths(), _cut(dataset)
    longest = int(lengths.max())
    n_cut = np.bincount(lengths[cut], minlength=longest + 1)
    n_longer = len(lengths) - np.cumsum(np.bincount(lengths, minlength=longest + 1))
    uncut = np.cumprod(1 - n_cut / np.maximum(n_cut + n_longer, 1))  # The probability of none by each step.
    chances = rng.random((*shape, len(lengths))) * uncut[lengths - 1]
    drawn = np.searchsorted(-uncut, -chances).clip(lengths, longest)
    return np.asarray(np.where(cut, lengths, drawn).reshape(shape[0], -1))


def _known_cuts(dataset: MDPDataset) -> Floats:
    """Returns 1 for episodes that are known to go on behind their cut, else 0, [E]; of those that ended, the mean."""
    cut = _cut(dataset)
    known = dataset.final_known.astype(np.float64)
    return np.asarray(np.where(cut, known, known[cut].mean() if cut.any() else 1.0))


def _cut(dataset: MDPDataset) -> Array:
    """Returns which episodes did not end with a terminal, bool [E]."""
    return np.asarray(~dataset.terminals[dataset.episode_ends - 1])


def drawn_actions(target: TargetPolicy, observations: Array, rng: np.random.Generator) -> Array:
    """Returns actions as the dataset has them: discrete ones [B] drawn by their probabilities, else [B, A]."""
    if not target.discrete:
        return np.asarray(target.act(observations))
    thresholds = target.probabilities(observations).cumsum(1)
    drawn = rng.random((len(thresholds), 1)) * thresholds[:, -1:] >= thresholds
    return np.asarray(every_action(target.action_space)[drawn.sum(1).clip(0, thresholds.shape[1] - 1)])
