"""From a dataset and a policy to the flows of marginalised importance sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from offlinekit.datasets.episodes import recorded_next
from offlinekit.envs.frame_stacking import next_observations_of, observations_at
from offlinekit.envs.past.sight import sight_of
from offlinekit.ground.action_spaces import numbers_from_0
from offlinekit.metrics.ope.dice import Flow
from offlinekit.metrics.ope.fitted_behaviour import vectors
from offlinekit.metrics.ope.gathering import tabular_states
from offlinekit.metrics.ope.logged import Floats
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.types import ArrayTree


class Features:
    """Features of vectors: an indicator of each state if they are whole numbers, else random Fourier ones.

    The random ones belong to a Gaussian kernel as wide as the vectors' typical distance, after each
    dimension was standardised; a constant stands beside them. Source: Rahimi & Recht 2007, "Random features for
    large-scale kernel machines".

    Args:
        inputs: [N, D], to standardise by; or, for indicators, the number of states.
        n_features: Of the random ones.
        seed: Of the random ones.
    """

    def __init__(self, inputs: Floats | int, n_features: int = 128, seed: int = 0) -> None:
        self.n_states = inputs if isinstance(inputs, int) else None
        if isinstance(inputs, int):
            return
        from sklearn.kernel_approximation import RBFSampler

        self.mean, self.scale = inputs.mean(0), np.maximum(inputs.std(0), 1e-6)
        width = 1 / (2 * inputs.shape[1])
        self.sampler = RBFSampler(gamma=width, n_components=n_features, random_state=seed)
        self.sampler.fit(np.zeros((1, inputs.shape[1])))

    def __call__(self, inputs: Floats) -> Floats | sparse.csr_array:
        """Returns the features [N, d] of vectors [N, D]; sparse if they are indicators."""
        if self.n_states is not None:
            states = inputs.reshape(-1).astype(np.int64)
            ones = np.ones(len(states))
            return sparse.csr_array((ones, (np.arange(len(states)), states)), (len(states), self.n_states))
        transformed = self.sampler.transform((inputs - self.mean) / self.scale)
        return np.concatenate([transformed, np.ones((len(transformed), 1))], 1)


class FlowMaker:
    """Makes the flows of one dataset under one policy.

    Rows whose next observation was not recorded are left out.

    Args:
        target: The policy.
        dataset: Vector observations.
        seed: Of random features.
    """

    def __init__(self, target: TargetPolicy, dataset: MDPDataset, seed: int = 0) -> None:
        self.target, self.dataset, self.seed = target, dataset, seed
        numbers = tabular_states(dataset) if sight_of(target.source).history == 1 else None
        self.n_states = 0 if numbers is None else max(int(part.max()) for part in numbers) + 1
        episode_of = np.repeat(np.arange(dataset.n_episodes), dataset.episode_lengths())
        known = dataset.terminals | recorded_next(dataset)
        self.index = np.flatnonzero(known)
        self.episodes, self.goes_on = episode_of[known], ~dataset.terminals[known]
        self.rewards = dataset.rewards[known].astype(np.float64)
        self.here = observations_at(target.source, dataset, self.index)
        following = next_observations_of(dataset, self.index, *sight_of(target.source))
        self.following = map_tree(self._where_it_goes_on, following, self.here)
        self.starts = observations_at(target.source, dataset, dataset.episode_starts)

    def _states(self, observations: ArrayTree) -> Floats:
        """Returns observations [N, ...] as the policy sees them, [N, D]."""
        return vectors(observations, sight_of(self.target.source).history > 1)

    def _where_it_goes_on(self, following: Array, here: Array) -> Array:
        """Returns next observations, of rows where the MDP ended their own: no policy is defined beyond."""
        return np.where(self.goes_on.reshape(-1, *[1] * (here.ndim - 1)), following, here)

    def of_states(self, ratios: Floats) -> Flow:
        """Returns the flow over states, corrected by the ratios [N] of the logged actions.

        If states are whole numbers, the ratios of each state are divided by their mean, so that no state sends
        out more than came in, nor less: a state whose rows all have the ratio 0 goes on as the behaviour does.
        """
        ratios, states = ratios[self.index], self._states(self.here)
        if self.n_states:
            numbers = states.reshape(-1).astype(np.int64)
            sums, counts = (np.bincount(numbers, w, self.n_states) for w in (ratios, np.ones_like(ratios)))
            scales = counts / np.where(sums > 0, sums, 1.0)
            ratios = np.where(sums > 0, 0.0, 1.0)[numbers] + ratios * scales[numbers]
        features = Features(self.n_states or states, seed=self.seed)
        here, following, starts = (
            features(self._states(part)) for part in (self.here, self.following, self.starts)
        )
        return Flow.of_states(here, self._ended(following), starts, self.rewards, ratios, self.episodes)

    def of_pairs(self) -> Flow:
        """Returns the flow over pairs of state and action, which needs no propensities.

        If states are whole numbers, probabilities of pairs that are not in the data go to those of the same
        state that are; of a state if none of the policy's actions is, to all that was done there.
        """
        actions = numbers_from_0(self.dataset.actions[self.index], self.dataset.action_space)
        if not self.target.discrete:
            return self._of_continuous_pairs(vectors(actions))
        taken = np.eye(self.target.n_actions)[actions]
        states = self._states(self.here)
        if self.n_states:
            return self._of_counted_pairs(states, taken)
        features = Features(states, seed=self.seed)
        here = _products(features(states), taken)
        following, starts = (
            _products(features(self._states(part)), self.target.probabilities(part))
            for part in (self.following, self.starts)
        )
        return Flow(here, self._ended(following), starts, self.rewards, self.episodes)

    def _of_counted_pairs(self, states: Floats, taken: Floats) -> Flow:
        done = np.zeros((self.n_states, self.target.n_actions))
        np.add.at(done, (states.reshape(-1).astype(np.int64), taken.argmax(1)), 1.0)
        occurs = done > 0
        number = np.cumsum(occurs.reshape(-1)).reshape(occurs.shape) - 1

        def indicators(observations: ArrayTree, shares: Floats) -> sparse.csr_array:
            numbers = vectors(observations).reshape(-1).astype(np.int64)
            kept = shares * occurs[numbers]
            kept = np.where(kept.sum(1, keepdims=True) > 0, kept, done[numbers])
            kept = kept / np.maximum(kept.sum(1, keepdims=True), 1e-300)
            place, action = np.nonzero(kept)
            columns = number[numbers[place], action]
            return sparse.csr_array((kept[place, action], (place, columns)), (len(kept), occurs.sum()))

        following, starts = (
            indicators(part, self.target.probabilities(part)) for part in (self.following, self.starts)
        )
        here = indicators(self.here, taken)
        return Flow(here, self._ended(following), starts, self.rewards, self.episodes)

    def _of_continuous_pairs(self, actions: Floats) -> Flow:
        joined = np.concatenate([self._states(self.here), actions], 1)
        features = Features(joined, seed=self.seed)

        def expected(observations: ArrayTree) -> Floats:
            draws = [vectors(np.asarray(self.target.act(observations))) for _ in range(self.target.n_samples)]
            inputs = self._states(observations)
            features_of_draws = [features(np.concatenate([inputs, draw], 1)) for draw in draws]
            return np.asarray(np.mean(features_of_draws, axis=0))

        following = self._ended(expected(self.following))
        return Flow(features(joined), following, expected(self.starts), self.rewards, self.episodes)

    def _ended(self, features: Floats | sparse.csr_array) -> Floats | sparse.csr_array:
        """Returns next features, zero in the rows where the MDP ended."""
        return sparse.diags_array(self.goes_on.astype(np.float64)) @ features


def _products(features: Floats, shares: Floats) -> Floats:
    """Returns the products [N, d * A] of features [N, d] and shares of actions [N, A]."""
    return (features[:, :, None] * shares[:, None, :]).reshape(len(shares), -1)
