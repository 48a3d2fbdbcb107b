"""Support of a policy by the data: the share of its behaviour without rows, for which no estimator has data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from offlinekit.datasets.episodes import recorded_next
from offlinekit.envs.frame_stacking import observations_at
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import numbers_from_0
from offlinekit.metrics.batches import ROWS_AT_ONCE
from offlinekit.metrics.ope.fitted_behaviour import vectors
from offlinekit.metrics.ope.gathering import tabular_states
from offlinekit.metrics.ope.logged import Floats
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.types import Array, row_parts

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset

MOST_OUTSIDE = (
    0.02  # Of the target's probability, in states told apart; estimates without a warning stay below.
)
MOST_FAR = 0.1  # The same by distances, which show less.
ROWS = 50_000  # Rows that are used; of more, episodes are drawn.
REGIONS = 100
NEIGHBOURS = 50
MOST_STEPS = 500


@dataclass(frozen=True)
class Support:
    """Share of a policy's behaviour that has no rows.

    Attributes:
        outside: Probability, discounted by gamma, that an episode of the policy takes an action that the data do not
            show in its state or region; of continuous actions the share that lies further from the data's actions in
            like states than 99% of these do. NaN if observations are images.
        limit: Above which an estimate needs a warning.
        how: What was compared: "states", "regions of states" or "distances of actions"; or why nothing was.
    """

    outside: float
    limit: float
    how: str

    @property
    def fails(self) -> bool:
        """Whether too much of the policy has no rows."""
        return self.outside > self.limit

    @property
    def is_known(self) -> bool:
        """Whether it could be measured."""
        return not np.isnan(self.outside)

    def __str__(self) -> str:
        if not self.is_known:
            return f"how much of what the policy does has rows is not known ({self.how})"
        return f"{self.outside:.1%} of what the policy does has no rows (by {self.how})"


def support_of(target: TargetPolicy, dataset: MDPDataset, gamma: float, seed: int = 0) -> Support:
    """Returns how much of a policy the data do not show.

    Of discrete actions, the policy is followed through counted transitions between states (if few differ) or
    regions of them (k-means), until it takes an action without rows there.
    """
    numbered = tabular_states(dataset) is not None
    if not numbered and len(dataset) > ROWS:
        dataset = _drawn(dataset, seed)
    try:
        states = None if numbered else vectors(dataset.observations)
    except UnsupportedError:
        return Support(float("nan"), MOST_OUTSIDE, "observations are images")
    if not target.discrete:
        return Support(
            _far(target, dataset, vectors(dataset.observations), seed), MOST_FAR, "distances of actions"
        )
    here, following, how = _numbers(dataset, states, seed)
    policy = np.concatenate(
        [target.probabilities(observations_at(target.source, dataset, part)) for part in _parts(dataset)]
    )
    return Support(_leaves(dataset, here, following, policy, gamma), MOST_OUTSIDE, how)


def _parts(dataset: MDPDataset) -> list[Array]:
    return row_parts(np.arange(len(dataset)), ROWS_AT_ONCE)


def _drawn(dataset: MDPDataset, seed: int) -> MDPDataset:
    """Returns episodes of about `ROWS` rows, at least two."""
    order = np.random.default_rng(seed).permutation(dataset.n_episodes)
    lengths = dataset.episode_lengths()[order]
    n = max(2, int(np.searchsorted(np.cumsum(lengths), ROWS)))
    return dataset[np.sort(order[:n])]


def _numbers(dataset: MDPDataset, states: Floats | None, seed: int) -> tuple[Array, Array, str]:
    """Returns the state or region of each row and of the one that follows, -1 where nothing does, and their kind."""
    known = ~dataset.terminals & recorded_next(dataset)
    if states is None:
        here, following = tabular_states(dataset) or (np.empty(0, np.int64),) * 2
        return here, following, "states"
    ahead = vectors(dataset.next_observations_at(np.arange(len(dataset))))
    both = np.concatenate([states, np.where(known[:, None], ahead, states)])
    if len(np.unique(both[:2_000], axis=0)) <= min(1_000, len(states) // 5):
        numbers, how = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1), "states"
        if numbers.max() < len(states) // 5:
            return numbers[: len(states)], np.where(known, numbers[len(states) :], -1), how
    from sklearn.cluster import MiniBatchKMeans

    scaled = (both - states.mean(0)) / np.maximum(states.std(0), 1e-6)
    n_regions = int(np.clip(len(states) // 100, 1, REGIONS))
    regions = MiniBatchKMeans(n_regions, random_state=seed, n_init=1).fit(scaled[: len(states)])
    numbers = regions.predict(scaled).astype(np.int64)
    return numbers[: len(states)], np.where(known, numbers[len(states) :], -1), "regions of states"


def _leaves(dataset: MDPDataset, here: Array, following: Array, policy: Floats, gamma: float) -> float:
    """Returns the discounted probability that the policy takes an action without rows in its state.

    Args:
        dataset: With discrete actions.
        here, following: int64 [N], states; -1 where nothing follows.
        policy: Probabilities [N, A].
        gamma: Of the discount.
    """
    n_states, n_actions = int(max(here.max(), following.max())) + 1, policy.shape[1]
    actions = numbers_from_0(dataset.actions, dataset.action_space)
    pairs = here * n_actions + actions
    counts = np.bincount(pairs, minlength=n_states * n_actions).reshape(n_states, n_actions)
    visits = counts.sum(1)
    shares = (
        sparse.csr_array((np.ones(len(here)), (here, np.arange(len(here)))), (n_states, len(here))) @ policy
    )
    shares = shares / np.maximum(visits, 1)[:, None]
    leaving = np.where(visits > 0, (shares * (counts == 0)).sum(1), 1.0)
    stays = following >= 0
    weights = (shares / np.maximum(counts, 1))[here, actions][stays]
    moves = sparse.csr_array((weights, (following[stays], here[stays])), (n_states, n_states))
    present = np.bincount(here[dataset.episode_starts], minlength=n_states) / dataset.n_episodes
    total = 0.0
    for _ in range(MOST_STEPS):
        total += float(present @ leaving)
        present = gamma * (moves @ present)
        if present.sum() < 1e-4:
            break
    return min(total, 1.0)


def _far(target: TargetPolicy, dataset: MDPDataset, states: Floats, seed: int) -> float:
    """Returns the share of a policy's continuous actions that lie far from all that was done in like states.

    Far is further than 99% of the data's own actions in episodes apart, whose share of 1% is taken off.
    """
    actions = vectors(dataset.actions)
    scale, width = np.maximum(states.std(0), 1e-6), np.maximum(actions.std(0), 1e-6)
    half = np.random.default_rng(seed).permutation(dataset.n_episodes) % 2 == 0
    known = np.repeat(half, dataset.episode_lengths())
    if known.all() or not known.any():
        known = np.arange(len(states)) < len(states) // 2
    index = np.random.default_rng(seed).permutation(np.flatnonzero(~known))[:2_000]
    k = int(np.clip(known.sum() // 20, 1, NEIGHBOURS))
    near = cKDTree(states[known] / scale).query(states[index] / scale, k)[1].reshape(len(index), k)
    done = actions[known][near]

    def distances(taken: Floats) -> Floats:
        return np.asarray(np.linalg.norm((taken[:, None] - done) / width, axis=-1).min(1))

    taken = vectors(np.asarray(target.act(observations_at(target.source, dataset, index))))
    own = np.quantile(distances(actions[index]), 0.99)
    return max(0.0, float((distances(taken) > own).mean()) - 0.01)
