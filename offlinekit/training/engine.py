"""Runs updates: draws batches, updates the impl, sums metrics on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from offlinekit.errors import TrainingError
from offlinekit.types import Batch, Metrics

CHECK_EVERY = 100
"""Updates between two looks at whether the metrics are still finite."""


class Updatable(Protocol):
    """What the engine asks of an impl."""

    grad_step: int

    def update(self, batch: Batch) -> Metrics:
        """Takes one update."""

    def train(self, mode: bool = True) -> Any:
        """Switches to training or evaluation."""


class Samples(Protocol):
    """What the engine asks of a sampler."""

    def sample(self) -> Batch:
        """Draws a minibatch."""


class Engine:
    """One update after another, without a look at any number on the device in between."""

    def __init__(self, impl: Updatable, sampler: Samples) -> None:
        self.impl, self.sampler = impl, sampler
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def run(self, n_updates: int, stop: Callable[[], bool]) -> int:
        """Takes updates until `n_updates` are done or `stop` says so, and returns how many.

        Raises:
            TrainingError: Where a metric is no longer finite.
        """
        self.impl.train()
        done = 0
        while done < n_updates and not stop():
            self._add(self.impl.update(self.sampler.sample()))
            done += 1
        self.impl.train(False)
        self._check_finite()
        return done

    def take_means(self) -> dict[str, float]:
        """Returns the mean of each metric since the last call, and begins anew."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """Returns the sums as plain numbers."""
        return {"sums": {name: float(v) for name, v in self.sums.items()}, "counts": dict(self.counts)}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes up sums that `state` returned."""
        self.sums = {name: torch.tensor(v, device=device) for name, v in state["sums"].items()}
        self.counts = dict(state["counts"])

    def _add(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            if name in self.sums:
                self.sums[name] += value.detach()
                self.counts[name] += 1
            else:
                self.sums[name] = value.detach().clone()
                self.counts[name] = 1

    def _check_finite(self) -> None:
        if not self.sums or bool(torch.stack(list(self.sums.values())).isfinite().all()):
            return
        names = ", ".join(sorted(name for name, v in self.sums.items() if not bool(v.isfinite())))
        raise TrainingError(
            f"{names} is no longer finite, seen at update {self.impl.grad_step}; lower the learning rate, "
            "clip gradients (clip_grad_norm=1.0) or scale the rewards (reward_scaler='standard')"
        )
