"""Small dialogues, and networks whose outputs are known, for tests of language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from offlinekit.algos import TextBC
from offlinekit.core.bases.text_model import TextModel
from offlinekit.datasets import MDPDataset, text_dataset
from offlinekit.sampling.batch import TrajectoryBatch

TINY: dict[str, Any] = {
    "width": 4,
    "n_heads": 1,
    "n_layers": 1,
    "max_length": 16,
    "warmup_steps": 0,
    "batch_size": 4,
    "seed": 0,
    "device": "cpu",
}
QUIET: dict[str, Any] = {"out": None, "progress": False}
END, A, B = 4, 7, 8
TALKS = (
    {"prompt": "a", "response": "b", "reward": 1},
    {"dialogue": [["b", 0.5], ["a", None], ["a", -0.5]], "terminal": False},
)
"""Rows of the first: <s> a </s> <a> b </a>, of which b and </a>, in rows 3 and 4, are the agent's.

Rows of the second: <a> b </a> <s> a </s> <a> a; the agent's are b, </a>, a, </a>, in rows 0, 1, 6 and 7. What came
behind the last was not recorded.
"""


def talks() -> MDPDataset:
    return text_dataset(TALKS)


def both(algo: TextModel) -> TrajectoryBatch:
    """Returns the two dialogues as a batch."""
    (batch,) = algo.episode_batches(talks())
    return batch


def trained(front: type[TextModel] = TextBC, **options: Any) -> TextModel:
    """Returns a model of some width whose numbers are large enough to differ."""
    algo = front(**{**TINY, "width": 8, "n_layers": 2, "n_heads": 2, **options}).build(talks())
    with torch.no_grad():
        for parameter in algo.impl.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return algo


class Always(nn.Module):
    """A head that gives the same numbers at every token; they are its parameter."""

    def __init__(self, numbers: dict[int, float], size: int = 9) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([numbers.get(i, 0.0) for i in range(size)]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.numbers.expand(*features.shape[:-1], -1)


class Places(nn.Module):
    """A trunk whose one feature is the number of the row in its dialogue."""

    def forward(self, observations: torch.Tensor, valid: torch.Tensor, past: object = None) -> torch.Tensor:
        return (valid.long().cumsum(1) - 1).float().unsqueeze(-1)


class Times(nn.Module):
    """A head that multiplies the feature."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.factor * features


def set_heads(heads: nn.ModuleList, numbers: Sequence[dict[int, float]]) -> None:
    for index, each in enumerate(numbers):
        heads[index] = Always(each)
