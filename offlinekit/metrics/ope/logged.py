"""Episodes as padded arrays: what every estimator reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LARGEST_LOG_WEIGHT = 300.0  # Whose square and its sums are still numbers; 1e130 times as likely says nothing.


@dataclass(frozen=True)
class Logged:
    """E episodes of at most T steps, padded behind their ends.

    Attributes:
        rewards: [E, T].
        mask: bool [E, T], True for the steps of an episode, which stand in front.
        target_log_probs: [E, T], of the logged actions under the target policy; may be -inf.
        behavior_log_probs: [E, T], of the logged actions under the policy that took them; finite.
        gamma: Discount factor of one step, in [0, 1].
        q: [E, T], modelled value of the logged action under the target policy; None without a model.
        v: [E, T], modelled value of the state under the target policy.
        final_v: [E], modelled value after the last step; None stands for 0: the episode's return is its own.

    Raises:
        ValueError: For arrays of other shapes, gaps in the mask, and logged actions that the behaviour could
            not take.
    """

    rewards: Floats
    mask: npt.NDArray[np.bool_]
    target_log_probs: Floats
    behavior_log_probs: Floats
    gamma: float = 1.0
    q: Floats | None = None
    v: Floats | None = None
    final_v: Floats | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {self.gamma}")
        shape = self.mask.shape
        for name in ("rewards", "target_log_probs", "behavior_log_probs", "q", "v"):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name} must have the shape {list(shape)} of the mask, got {list(array.shape)}"
                )
        if self.final_v is not None and self.final_v.shape != shape[:1]:
            raise ValueError(f"final_v must have shape [{shape[0]}], got {list(self.final_v.shape)}")
        if len(shape) != 2 or not self.mask[:, 0].all() or (self.mask[:, 1:] > self.mask[:, :-1]).any():
            raise ValueError("mask must be [E, T] with the steps of each episode in front and at least one")
        if not np.isfinite(self.behavior_log_probs[self.mask]).all():
            raise ValueError(
                "behavior_log_probs must be finite: an action was logged whose probability under the behaviour "
                "is said to be zero or unknown; check the propensities, or fit them with behaviour='fit'"
            )

    @property
    def n_episodes(self) -> int:
        """E."""
        return len(self.mask)

    @property
    def has_model(self) -> bool:
        """Whether values of a model are given."""
        return self.q is not None and self.v is not None

    @cached_property
    def discounts(self) -> Floats:
        """[T], gamma ** t."""
        return np.asarray(self.gamma ** np.arange(self.mask.shape[1], dtype=np.float64))

    @cached_property
    def returns(self) -> Floats:
        """[E], discounted sums of rewards."""
        return np.where(self.mask, self.rewards, 0.0) @ self.discounts

    @cached_property
    def log_ratios(self) -> Floats:
        """[E, T], log of target over behaviour probability; 0 behind the end."""
        with np.errstate(invalid="ignore"):
            return np.where(self.mask, self.target_log_probs - self.behavior_log_probs, 0.0)

    @cached_property
    def ratios(self) -> Floats:
        """[E, T], target over behaviour probability of the logged actions; 1 behind the end."""
        return np.exp(self.log_ratios)

    @cached_property
    def _cumulative(self) -> Floats:
        """[E, T], logarithms of the products of ratios."""
        return np.asarray(np.cumsum(self.log_ratios, axis=1))

    @property
    def overflows(self) -> bool:
        """Whether a product of ratios is beyond the largest weight."""
        return bool(self._cumulative.max() > LARGEST_LOG_WEIGHT)

    def weights(self, clip: float | None = None) -> Floats:
        """Returns the cumulative products [E, T] of the ratios, the last one going on behind the end; at most e^300.

        Args:
            clip: Largest weight; None for no limit. Source: Ionides 2008, "Truncated importance sampling".
        """
        weights = np.exp(np.minimum(self._cumulative, LARGEST_LOG_WEIGHT))
        return weights if clip is None else np.minimum(weights, clip)

    @cached_property
    def td_errors(self) -> Floats:
        """[E, T], rewards + gamma * v of the next state - q; 0 behind the end.

        Raises:
            ValueError: Without a model.
        """
        if self.q is None or self.v is None:
            raise ValueError("this estimator needs the values q and v of a model; give a q_function")
        following = np.zeros_like(self.v)
        following[:, :-1] = np.where(self.mask[:, 1:], self.v[:, 1:], 0.0)
        if self.final_v is not None:
            rows = np.arange(self.n_episodes)
            following[rows, self.mask.sum(1) - 1] = self.final_v
        return np.where(self.mask, self.rewards + self.gamma * following - self.q, 0.0)

    @property
    def start_values(self) -> Floats:
        """[E], modelled values of the first states.

        Raises:
            ValueError: Without a model.
        """
        if self.v is None:
            raise ValueError("this estimator needs the values q and v of a model; give a q_function")
        return self.v[:, 0]
