"""Networks that are tables or constants, and small tables for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from offlinekit.algos import MLPEncoder

TABLE = MLPEncoder(hidden_sizes=())
"""No hidden layer: on one-hot observations the network's weight is a table, a row a state."""


def one_hot(states: Sequence[int], n_states: int) -> Tensor:
    """Returns [B, n_states] float observations."""
    return torch.eye(n_states)[torch.as_tensor(states)]


STATES = one_hot([0, 1], 2)
"""Two states."""
FIRST = [[1.0], [2.0], [1.0]]
"""A critic's table on (state, action): Q = 1 + a in state 0 and 2 + a in state 1."""
SECOND = [[2.0], [0.0], [4.0]]
"""Another: Q = 2 + 4 a and 4 a."""


def set_table(module: nn.Module, table: Any) -> None:
    """Writes the output for each one-hot state into a Network, QFunction or policy made with `TABLE`.

    Args:
        module: Holds one Network.
        table: [inputs, outputs], or [K, inputs, outputs] for an ensemble of K.
    """
    head = getattr(module, "network", module).mlp.layers[-1]
    values = torch.as_tensor(table, dtype=torch.float32)
    with torch.no_grad():
        head.weight.copy_(values.T if isinstance(head, nn.Linear) else values)
        head.bias.zero_()


def set_constant(module: nn.Module, outputs: Any) -> None:
    """Makes a Network, QFunction or policy return the same outputs everywhere, whatever its encoder.

    Args:
        module: Holds one Network.
        outputs: [outputs], or [K, outputs] for an ensemble of K.
    """
    head = getattr(module, "network", module).mlp.layers[-1]
    values = torch.as_tensor(outputs, dtype=torch.float32)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(values if isinstance(head, nn.Linear) else values.unsqueeze(-2))


def set_gaussian(policy: Any, means: Sequence[float], log_std: float) -> None:
    """Makes a policy with one standard deviation a Gaussian around `means`, one a state."""
    set_table(policy, [[math.atanh(mean)] for mean in means])
    policy.log_stds.data.fill_(log_std)


POLICY = [[0.0, 0.0, -100.0], [0.0, math.log(3.0), -100.0]]
"""Logits of the probabilities (1/2, 1/2, 0) and (1/4, 3/4, 0)."""

VALUES = [[[1.0, 2.0, 7.0], [4.0, 9.0, 7.0]], [[3.0, 0.0, 7.0], [8.0, 2.0, 7.0]]]
"""Of two critics, the lowest of the first two actions (1, 0) and (4, 2)."""

ONE_STEP = math.exp(-5.05)
"""Share of the signal that a diffusion of one step leaves: exp(-0.1 - 9.9 / 2)."""


def set_one_step(diffusion: nn.Module, actions: Sequence[float], slope: float = 0.0) -> None:
    """Makes a diffusion of one step, built with `TABLE`, give `actions[s] + slope * noise` in one-hot state s.

    With x the noise and a the action, the network says (x - sqrt(g) a) / sqrt(1 - g), g = `ONE_STEP`; so the
    loss of an action b is g / (1 - g) (b - a)^2, a taken at the noisy b.
    """
    times = diffusion.network.mlp.layers[-1].in_features - len(actions) - 1
    near, far = math.sqrt(ONE_STEP), math.sqrt(1.0 - ONE_STEP)
    rows = [-near * action / far for action in actions] + [(1.0 - near * slope) / far] + [0.0] * times
    set_table(diffusion, [[row] for row in rows])
