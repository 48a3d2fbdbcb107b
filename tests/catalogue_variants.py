"""Every algorithm of the catalogue, small, with the mean and with quantiles as value, to parametrize a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from offlinekit.algos import catalogue

SMALL = {
    "encoder": {"type": "mlp", "hidden_sizes": [8]},
    "critic_encoder": None,
    "vae_encoder": None,
    "warmup_steps": 2,
    "context": 4,
    "width": 8,
    "n_layers": 1,
    "max_length": 20,
    "dynamics": {
        "encoder": {"type": "mlp", "hidden_sizes": [8]},
        "n_members": 2,
        "max_epochs": 1,
        "batch_size": 16,
    },
    "n_rollouts": 20,
    "rollout_length": 2,
    "rollout_interval": 3,
    "real_share": 0.5,
}
VALUES = {"mean": {}, "qr": {"q_function": "qr", "n_quantiles": 5}}


def small_variants(kinds: Iterable[str] = tuple(VALUES), **sizes: Any) -> Iterator[Any]:
    """Yields pairs of a front and options of it that make it small.

    Args:
        kinds: Which of `VALUES`; the mean alone is every algorithm once.
        sizes: In place of some of `SMALL`.
    """
    for name, front in catalogue().items():
        known = front.hyperparameters()
        small = {key: value for key, value in {**SMALL, **sizes}.items() if key in known}
        for kind in kinds:
            if set(options := VALUES[kind]) <= set(known):
                yield pytest.param(front, {**options, **small}, id=f"{name}-{kind}")
