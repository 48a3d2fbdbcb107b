"""Comparisons of tests by hand: losses, gradients and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.nn.rows import Rows, reduce_rows


def normals(state: Tensor, *shape: int) -> np.ndarray:
    """Returns the standard normal numbers that a generator draws from a state on."""
    return torch.randn(shape, generator=torch.Generator().set_state(state)).double().numpy()


def total(returned: Any, weights: Tensor | None = None) -> Any:
    """Reduces what a loss returned as its objective does: a number, with metrics (number, numbers)."""
    if not isinstance(returned, tuple):
        return reduce_rows(returned, weights)
    loss, metrics = returned
    return reduce_rows(loss, weights), {name: reduce_rows(value, weights) for name, value in metrics.items()}


def row_losses(returned: Any) -> Tensor:
    """Returns the losses [B] or [K, B] that a loss function returned, without what is beside the rows."""
    loss = returned[0] if isinstance(returned, tuple) else returned
    return (loss.values if isinstance(loss, Rows) else loss).detach()


def head_gradients(loss: Tensor, module: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    """Returns d loss / d (weight, bias) of the last layer, None where no path leads there."""
    head = getattr(module, "network", module).mlp.layers[-1]
    weight, bias = torch.autograd.grad(loss, [head.weight, head.bias], allow_unused=True, retain_graph=True)
    return weight, bias


def close(actual: Tensor | float | None, expected: Any, atol: float = 1e-5) -> None:
    """Asserts that a float tensor has the expected numbers and shape."""
    found = torch.as_tensor(actual)
    wanted = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=atol)
