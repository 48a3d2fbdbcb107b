"""Looking at an algorithm without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo


@contextmanager
def undisturbed(algo: Algo) -> Iterator[None]:
    """Computes without gradients, and gives the algorithm's random numbers back as they were."""
    state = algo.impl.random.state()
    try:
        with torch.no_grad():
            yield
    finally:
        algo.impl.random.set_state(state)
