"""An algorithm in the episodes that it acts in, with a memory of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from offlinekit.core.units import NO_LABELS, Converter, as_arrays
from offlinekit.envs.legal_actions import legal_of, rest_of, space_of_rest
from offlinekit.envs.past.seen_past import seen_of
from offlinekit.envs.past.sight import is_image, shown_space, sight_of, space_leaves
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.fields import Finite, checked
from offlinekit.types import Array, ArrayTree, leaves, map_tree, rows, stack_trees

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.core.algo import Algo
    from offlinekit.sampling.batch import TensorTree
    from offlinekit.types import RowsLike


class StatefulActor(StatefulPolicy):
    """Acts step by step as an algorithm does: `predict(observation, reward)`, and `reset()` before an episode.

    Args:
        algo: With networks.
        target_return: Return to reach, for an algorithm that takes one, in units of the data; None leaves it
            to the algorithm.
        sample: Whether actions are drawn from the policy, in place of the greedy ones.

    Raises:
        TypeError: For a target that is no number.
        ValueError: For one that is not finite.
        UnsupportedError: For one of an algorithm that takes none.
    """

    def __init__(self, algo: Algo, target_return: float | None = None, sample: bool = False) -> None:
        super().__init__()
        self.impl, self.sample = algo.impl, sample
        self.target_return = checked("target_return", target_return, Finite | None)
        self.impl.begin_episode(self.target_return)  # Raises now what the first step would.
        self._sight = sight_of(algo)
        self._n_rows = max(self._sight.frame_stack, self._sight.history)
        impl = self.impl
        self._converter = Converter(impl.observation_space, impl.action_space, algo.scaling, impl.device)
        self._reward_scaler = algo.scaling.reward
        self._row_space = shown_space(impl.observation_space, self._sight.frame_stack)

    def begin(self) -> object:
        """Returns the memory of an episode that has taken no step."""
        begun = self.impl.begin_episode(self.target_return)
        return begun if self._n_rows == 1 else ((), begun)

    def predict(
        self,
        observation: RowsLike,
        reward: float = 0.0,
        *,
        legal_actions: ArrayLike | None = None,
        labels: bool = False,
    ) -> Array:
        """Returns the action on one observation of the episode under way.

        Args:
            observation: The newest one, without an axis of batches; or a row of a table, as `Algo.predict` takes it.
            reward: What the action before it has earned; 0 in the first step.
            legal_actions: [A] of 0 and 1, where the data had them.
            labels: Whether the action comes as its label in the schema of the table.

        Raises:
            ValueError: For what `Algo.predict` refuses; the episode goes on as if the call had not been.
        """
        schema = self._converter.scaling.schema
        if labels and schema is None:
            raise ValueError(NO_LABELS)
        if labels and schema is not None:
            schema.check_labels()  # Before the step is remembered.
        action = super().predict(self._converter.encoded(observation, legal_actions), reward)
        return schema.decode(action) if labels and schema is not None else action

    def choose(
        self, observations: ArrayTree, rewards: Array, memories: list[Any]
    ) -> tuple[Array, Sequence[Any]]:
        """Returns the actions [B, ...] in the units of the data and the memories that hold them.

        A policy of stacks or histories remembers the rows, but for those of an environment that shows these itself.
        """
        if self._n_rows == 1:
            return self._choose(observations, rewards, memories)
        pasts, begun = zip(*memories, strict=True)
        if self._are_single(observations):
            # Checked before they stand beside others, and copied: environments may write into their arrays again.
            newest, _ = as_arrays(self._converter.encoded(observations, None), self._row_space)
            newest = map_tree(np.array, newest)
            pasts = tuple((*past, rows(newest, i))[-self._n_rows :] for i, past in enumerate(pasts))
            observations = stack_trees([seen_of(past, self._sight) for past in pasts])
        actions, after = self._choose(observations, rewards, list(begun))
        return actions, list(zip(pasts, after, strict=True))

    def _are_single(self, observations: ArrayTree) -> bool:
        """Returns whether leaves [B, ...] are single images or rows, and no stacks or histories."""
        space = space_of_rest(self.impl.observation_space)
        given = rest_of(observations) if legal_of(observations) is not None else observations  # type: ignore[arg-type]  # A dict then.
        if self._sight.history > 1:
            deepest = max(len(leaf.shape or ()) for leaf in space_leaves(space))
            return max(np.ndim(leaf) for leaf in leaves(given)) <= deepest
        single = [leaf.shape for leaf in space_leaves(space_of_rest(self._row_space))]
        shown = [
            leaf.shape[1:] for leaf in map(np.asarray, leaves(given)) if is_image(leaf.dtype, leaf.shape[1:])
        ]
        return any(shape in single for shape in shown)

    def _choose(
        self, observations: ArrayTree, rewards: Array, memories: list[Any]
    ) -> tuple[Array, Sequence[Any]]:
        if not np.isfinite(rewards).all():
            raise ValueError(
                f"rewards must be finite, got {rewards[~np.isfinite(rewards)][0]}; give the reward of the action before"
            )
        after: list[Any] = []
        scaler = self._reward_scaler
        scaled = rewards if scaler is None else scaler.transform(rewards)
        earned = torch.as_tensor(scaled, dtype=torch.float32).to(self.impl.device)

        def act(seen: TensorTree) -> torch.Tensor:
            actions: torch.Tensor
            actions, kept = self.impl.take_steps(seen, earned, memories, self.sample)
            after.extend(kept)
            return actions

        return self._converter.act(observations, act), after
