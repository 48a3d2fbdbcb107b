"""Windows of steps by hand, for the tests of sequence models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets import MDPDataset
from offlinekit.sampling.batch import TrajectoryBatch

SMALL: dict[str, Any] = {
    "context": 3,
    "width": 4,
    "n_layers": 2,
    "n_heads": 2,
    "max_timestep": 10,
    "observation_scaler": None,
    "action_scaler": None,
    "seed": 0,
    "device": "cpu",
}


def walk_dataset(discrete: bool = False) -> MDPDataset:
    """Two episodes, of 4 steps that end by the MDP and of 2 that time out, with returns 10 and 11."""
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 3, 6) if discrete else rng.uniform(-0.9, 0.9, (6, 2)).astype(np.float32)
    return MDPDataset(
        rng.normal(size=(6, 2)).astype(np.float32),
        actions,
        np.arange(1.0, 7.0, dtype=np.float32),
        np.arange(6) == 3,
        timeouts=np.arange(6) == 5,
    )


def random_windows(
    n_rows: int, lengths: list[int], discrete: bool = False, context: int = 3
) -> TrajectoryBatch:
    """Returns windows of given lengths, padded on the left by zeros; the MDP ends with none of them."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(n_rows, context, *shape, generator=generator)

    valid = torch.arange(context) >= context - torch.tensor(lengths)[:, None]
    chosen = (draw() > 0).long() + (draw() > 0).long()
    batch = TrajectoryBatch(
        draw(2),
        chosen if discrete else draw(2).tanh(),
        draw(),
        draw() * 1_000,
        torch.zeros_like(valid),
        (torch.arange(context) + 2).expand(n_rows, -1),
        valid,
    )
    blank = [torch.where(valid.view(*valid.shape, *[1] * (x.ndim - 2)), x, 0) for x in batch[:-1]]
    return TrajectoryBatch(*blank, valid)


def set_head(impl: Any, bias: list[float]) -> None:
    """Makes the policy's outputs the same everywhere."""
    with torch.no_grad():
        impl.policy.head.weight.zero_()
        impl.policy.head.bias.copy_(torch.tensor(bias))


def reach(impl: Any, batch: TrajectoryBatch, row: int, step: int) -> dict[str, list[bool]]:
    """Returns for each column which steps of a row change the output of one step, by its gradient."""
    columns = {
        "observations": batch.observations.clone().requires_grad_(),
        "returns_to_go": batch.returns_to_go.clone().requires_grad_(),
    }
    if batch.actions.is_floating_point():
        columns["actions"] = batch.actions.clone().requires_grad_()
    output = impl.outputs(batch._replace(**columns))[row, step]
    weights = torch.arange(1.0, 1.0 + len(output))
    found = torch.autograd.grad((output * weights).sum(), list(columns.values()), allow_unused=True)
    return {
        name: gradient[row].flatten().unflatten(0, (len(batch.valid[row]), -1)).any(1).tolist()
        for name, gradient in zip(columns, found, strict=True)
        if gradient is not None
    }
