"""Actions of a policy in every state of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete, Space

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.callable_policies import as_policy, checked_actions
from offlinekit.envs.frame_stacking import next_observations_of, stacked_observations
from offlinekit.envs.stateful_policies import check_memoryless
from offlinekit.ground.action_spaces import every_action, one_hot, own_actions, part_sizes
from offlinekit.types import Array, first_leaf, row_parts, rows

if TYPE_CHECKING:
    from offlinekit.interfaces import PolicyLike
    from offlinekit.types import ArrayTree

ROWS_AT_ONCE = 8_192


class Choices:
    """A policy's actions, as numbers that a value can be averaged over.

    Args:
        policy: An algorithm, an object with `predict(observations)`, or a callable; all on batches. For discrete
            actions its `log_prob(observations, actions)` -> [B] is called, if it has one.
        space: The actions it has.
        n_draws: Calls of a policy without `log_prob`; more than one if it draws.

    Raises:
        UnsupportedError: For a policy that remembers its episode, whose choices follow from more than a state.
    """

    def __init__(self, policy: PolicyLike, space: Space[Any], n_draws: int = 1) -> None:
        check_memoryless(policy)
        self.space, self.n_draws = space, n_draws
        self._act, self._log_prob = as_policy(policy), getattr(policy, "log_prob", None)

    def at(self, observations: ArrayTree) -> Array:
        """Returns the choices for B observations, in the units of the data.

        Returns:
            float32 probabilities [B, A] of discrete actions, of the choices of each part if these are factored; else
            float32 actions [B, n_draws, A].

        Raises:
            ValueError: For actions that the space does not hold, and probabilities that do not sum to 1.
        """
        n = len(first_leaf(observations))
        if not isinstance(self.space, Discrete):
            draws = [checked_actions(self._act(observations), self.space, n) for _ in range(self.n_draws)]
            return np.stack(draws, 1).astype(np.float32).reshape(n, self.n_draws, -1)
        if self._log_prob is not None and len(part_sizes(self.space)) == 1:
            every = own_actions(every_action(self.space), self.space)
            return probabilities_of(self._log_prob, observations, every).astype(np.float32)
        draws = [checked_actions(self._act(observations), self.space, n) for _ in range(self.n_draws)]
        return np.asarray(np.mean([one_hot(actions, self.space) for actions in draws], 0, dtype=np.float32))

    def everywhere(
        self, dataset: MDPDataset, frame_stack: int = 1, frame_pad: str = "zero", history: int = 1
    ) -> tuple[Array, Array]:
        """Returns the choices at all N rows, and at what follows the last row of each of E episodes.

        Args:
            dataset: Of the states; of unordered transitions the second are all next observations.
            frame_stack: Images of an episode that make one observation of the policy.
            frame_pad: What stands before an episode's first image.
            history: Rows of an episode that make one observation of the policy.
        """

        def seen(part: Array) -> ArrayTree:
            return stacked_observations(dataset, part, frame_stack, frame_pad, history)

        following = dataset.next_observations
        if following is None:
            last = dataset.episode_ends - 1
            following = next_observations_of(dataset, last, frame_stack, frame_pad, history)
        finals = self._in_parts(len(first_leaf(following)), lambda part: rows(following, part))
        return self._in_parts(len(dataset), seen), finals

    def _in_parts(self, n: int, observations: Callable[[Array], Any]) -> Array:
        return np.concatenate([self.at(observations(part)) for part in row_parts(np.arange(n), ROWS_AT_ONCE)])


def behaviour_choices(dataset: MDPDataset, n_draws: int = 1) -> tuple[Array, Array]:
    """Returns the actions of a dataset as `Choices.everywhere` returns a policy's; zeros behind each episode.

    Args:
        dataset: With E episodes; of unordered transitions no action is known to follow.
        n_draws: How often a continuous action stands in its row.
    """
    n_final = dataset.n_episodes if dataset.next_observations is None else len(dataset)
    if isinstance(dataset.action_space, Discrete):
        space = dataset.action_space
        now = one_hot(dataset.actions, space)
    else:
        now = np.repeat(dataset.actions.reshape(len(dataset), 1, -1), n_draws, 1)
    return now, np.zeros((n_final, *now.shape[1:]), np.float32)


def probabilities_of(
    log_prob: Callable[[ArrayTree, Array], Array], observations: ArrayTree, actions: Array
) -> Array:
    """Returns the probabilities [B, A] of all discrete actions [A] or [A, k], in the precision of `log_prob`.

    Raises:
        ValueError: If they do not sum to 1.
    """
    n = len(first_leaf(observations))
    every = (np.repeat(action[None], n, 0) for action in actions)
    probabilities = np.exp(np.stack([log_prob(observations, action) for action in every], 1))
    sums = probabilities.sum(-1)
    if not np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            f"the probabilities of a policy's actions must sum to 1; exp of its log_prob sums to {sums.min():.4g} to "
            f"{sums.max():.4g}"
        )
    return np.asarray(probabilities)
