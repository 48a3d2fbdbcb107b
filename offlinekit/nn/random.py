"""Randomness that one run owns: its own generator, never the global one."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.nn.isolation import chosen_by

M = TypeVar("M", bound=nn.Module)


OTHER_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


STREAMS: WeakValueDictionary[int, Random] = WeakValueDictionary()
"""Generators that the operator `offlinekit::draw` draws from, by number."""


class Random:
    """Draws of one agent; every random number inside a loss comes from here.

    Args:
        seed: Seed of the stream.
        device: Where the numbers are drawn.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.number = 0  # In STREAMS, once torch.compile is in play.

    def normal(self, *shape: int) -> Tensor:
        """Draws standard normal numbers of the given shape."""
        if torch.compiler.is_compiling():
            drawn: Tensor = torch.ops.offlinekit.draw("normal", self.number, shape)
            return drawn
        return torch.randn(shape, generator=self.generator, device=self.device, dtype=torch.float32)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draws numbers uniform in [low, high) of the given shape."""
        if torch.compiler.is_compiling():
            drawn: Tensor = torch.ops.offlinekit.draw("uniform", self.number, shape)
        else:
            drawn = torch.rand(shape, generator=self.generator, device=self.device, dtype=torch.float32)
        return drawn * (high - low) + low

    def prepare_compiling(self) -> None:
        """Makes the draws an operator of their own, since torch.compile cannot look into generators."""
        register_draws()
        self.number = max(STREAMS, default=0) + 1
        STREAMS[self.number] = self

    def categorical(self, logits: Tensor) -> Tensor:
        """Draws one index a row from the softmax of logits [B, A], by the Gumbel maximum."""
        gumbels = -torch.log(-torch.log(self.uniform(*logits.shape).clamp(1e-20, 1.0 - 1e-7)))
        return chosen_by(logits, (logits + gumbels).argmax(-1))

    def subset(self, n: int, size: int) -> Tensor:
        """Draws `size` different numbers below n, int64 [size]; all subsets are equally likely."""
        return self.uniform(n).argsort()[:size]

    def state(self) -> Tensor:
        """Returns the generator's state as bytes."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Restores a state that `state` returned."""
        self.generator.set_state(state.cpu())


@functools.cache
def register_draws() -> None:
    """Registers the operator offlinekit::draw; not at import, which costs time and would be a side effect."""

    @torch.library.custom_op(
        "offlinekit::draw", mutates_args=(), tags=[torch.Tag.nondeterministic_seeded]
    )  # The tag keeps two draws from being taken for one.
    def draw(kind: str, number: int, shape: Sequence[int]) -> Tensor:
        stream = STREAMS[number]
        function = torch.randn if kind == "normal" else torch.rand
        return function(list(shape), generator=stream.generator, device=stream.device, dtype=torch.float32)

    @draw.register_fake
    def shaped(kind: str, number: int, shape: Sequence[int]) -> Tensor:
        return torch.empty(list(shape), device=STREAMS[number].device, dtype=torch.float32)


def fixed_normals(n: int, size: int, device: torch.device) -> Tensor:
    """Returns standard normal numbers [n, size], the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((n, size), generator=generator, dtype=torch.float32, device="cpu").to(device)


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
        return self.dropped(inputs, self.rate) if self.training else inputs

    def dropped(self, inputs: Tensor, rate: float) -> Tensor:
        """Zeroes units and scales the others."""
        kept = self.random.uniform(*inputs.shape) >= rate
        return inputs * kept / (1.0 - rate)


def own_dropout(module: nn.Module, random: Random) -> nn.Module:
    """Replaces each torch.nn.Dropout inside a module, which would use the global generator.

    Raises:
        ValueError: For a dropout layer of another kind.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(child.p, random))
        elif isinstance(child, OTHER_DROPOUTS):
            raise ValueError(
                f"an encoder may hold torch.nn.Dropout, which draws from the agent's own generator, but not "
                f"{type(child).__name__}, which draws from the global one; use nn.Dropout"
            )
        else:
            own_dropout(child, random)
    return module


def copy_module(module: M) -> M:
    """Returns a deep copy of a module that draws from the same generator as the module itself."""
    copies: dict[int, object] = {}
    for part in module.modules():
        if hasattr(part, "random"):
            copies[id(part.random)] = part.random
        # A layer has ten tables of hooks, nearly always empty, and to copy these takes longest.
        tables = (value for value in vars(part).values() if isinstance(value, OrderedDict) and not value)
        copies.update((id(table), OrderedDict()) for table in tables)
    return copy.deepcopy(module, copies)


def derive(seed: int, stream: str) -> int:
    """Returns the seed of one of an agent's independent streams, such as "networks" or "batches"."""
    words = [seed, *stream.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0])
