"""Agents: algorithms with networks, which act and value actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.core.impl import Impl
from offlinekit.core.stateful_actor import StatefulActor
from offlinekit.core.units import Converter
from offlinekit.errors import NotFittedError
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.types import ArrayTreeLike


class Agent:
    """Acts in the units of the data: arrays in, arrays out."""

    scaling: Scaling

    _impl: Impl | None

    @property
    def impl(self) -> Impl:
        """The implementation with its networks.

        Raises:
            NotFittedError: Before `fit`, `build` or `load`.
        """
        if self._impl is None:
            name = type(self).__name__
            raise NotFittedError(f"this {name} has no networks yet; call fit(dataset), or {name}.load(path)")
        return self._impl

    def predict(self, observations: ArrayTreeLike) -> Array:
        """Returns the greedy actions.

        Args:
            observations: [B, ...] or one observation, in the units of the data; a tree of such for dict or
                tuple observations.

        Returns:
            float32 [B, A] in the units of the data, or int64 [B]; without the axis of B for one observation.

        Raises:
            NotFittedError: Without networks.
            ValueError: For another shape.
        """
        return self._converter.act(observations, self.impl.predict_best_action)

    def sample_action(self, observations: ArrayTreeLike) -> Array:
        """Returns actions drawn from the policy, as `predict` does; greedy if it is deterministic."""
        return self._converter.act(observations, self.impl.sample_action)

    def predict_value(self, observations: ArrayTreeLike, actions: ArrayLike | None = None) -> Array:
        """Returns the estimated discounted return, in units of the scaled reward.

        Args:
            observations: As for `predict`.
            actions: The actions to value, in the units of the data; None for the greedy ones.

        Returns:
            float32 [B], or a float32 scalar for one observation.

        Raises:
            UnsupportedError: If the algorithm learns no value function.
        """
        return self._converter.value(observations, actions, self.impl.predict_value)

    def as_stateful(self, target_return: float | None = None, *, sample: bool = False) -> StatefulActor:
        """Returns what acts step by step: `actor.reset()`, then `actor.predict(observation, reward)` each step.

        Args:
            target_return: Return to reach, for a model that takes one, in units of the data; None is its
                hyperparameter `target_return`.
            sample: Whether actions are drawn from the policy, in place of the greedy ones.

        Raises:
            NotFittedError: Without networks.
            UnsupportedError: For a target return if the algorithm takes none.
        """
        return StatefulActor(self, target_return, sample)

    @property
    def _converter(self) -> Converter:
        impl = self.impl
        return Converter(impl.observation_space, impl.action_space, self.scaling, impl.device)
