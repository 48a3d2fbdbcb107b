"""Randomness that one run owns: its own generator, never the global one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Random:
    """Draws of one agent; every random number inside a loss comes from here.

    Args:
        seed: Seed of the stream.
        device: Where the numbers are drawn.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Draws standard normal numbers of the given shape."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draws numbers uniform in [low, high) of the given shape."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def categorical(self, logits: Tensor) -> Tensor:
        """Draws one index a row from the softmax of logits [B, A], by the Gumbel maximum."""
        gumbels = -torch.log(-torch.log(self.uniform(*logits.shape).clamp(1e-20, 1.0 - 1e-7)))
        return (logits + gumbels).argmax(-1)

    def state(self) -> Tensor:
        """Returns the generator's state as bytes."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Takes up a state that `state` returned."""
        self.generator.set_state(state.cpu())


class Dropout(nn.Module):
    """Dropout that draws from the agent's own generator.

    Args:
        rate: Share of units set to zero in training, in [0, 1).
        random: The agent's random numbers.
    """

    def __init__(self, rate: float, random: Random) -> None:
        super().__init__()
        self.rate, self.random = rate, random

    def forward(self, inputs: Tensor) -> Tensor:
        """Zeroes units in training and scales the others by 1 / (1 - rate); identity in evaluation."""
        if not self.training:
            return inputs
        kept = self.random.uniform(*inputs.shape) >= self.rate
        return inputs * kept / (1.0 - self.rate)


def own_dropout(module: nn.Module, random: Random) -> nn.Module:
    """Replaces each torch.nn.Dropout inside a module, which would use the global generator."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(child.p, random))
        else:
            own_dropout(child, random)
    return module


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialises networks from a seed and leaves the global CPU generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
