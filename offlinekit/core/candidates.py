"""Noise of the actions among which a policy takes the best: as many rows as `n_candidates` says now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.nn.random import derive

if TYPE_CHECKING:
    from offlinekit.core.impl import Impl

NAME = "n_candidates"


def resizable(impl: nn.Module) -> set[str]:
    """Returns the hyperparameter that a later `resize` brings into effect, if the impl has such noise."""
    return {NAME} if _buffers(impl) else set()


def resize(impl: Impl) -> None:
    """Resizes each buffer to the number of rows of the front; rows that stay keep their numbers.

    Further rows come from a generator of their own, so that they are the same at each load.
    """
    for _, rows, bound in _buffers(impl):
        n = getattr(impl.config, NAME)
        if n != len(rows):
            generator = torch.Generator().manual_seed(derive(impl.config.seed, "candidates"))
            fresh = torch.randn(n, *rows.shape[1:], generator=generator, dtype=torch.float32, device="cpu")
            fresh.clamp_(-bound, bound)
            rows.data = torch.cat([rows, fresh.to(rows)[len(rows) :]])[:n]


def make_room(impl: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Resizes each buffer to its rows in a state that is about to be loaded."""
    for name, rows, _ in _buffers(impl):
        if name in state and state[name].shape[1:] == rows.shape[1:]:
            rows.data = rows.new_empty(state[name].shape)


def _buffers(impl: nn.Module) -> list[tuple[str, Tensor, float]]:
    """Returns what modules name as `candidate_noise`: place in the state, the buffer [N, 1, ...], largest number."""
    buffers = []
    for place, module in impl.named_modules():
        name = getattr(module, "candidate_noise", None)
        if name is not None:
            bound = getattr(module, "candidate_bound", math.inf)
            buffers.append((f"{place}.{name}".lstrip("."), getattr(module, name), bound))
    return buffers
