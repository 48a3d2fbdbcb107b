"""Tools of the algorithms' tests: networks that are tables or constants, small batches and datasets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.algos import MLPEncoder
from offlinekit.datasets import MDPDataset
from offlinekit.nn.rows import Rows, reduce_rows
from offlinekit.sampling.batch import Batch

TABLE = MLPEncoder(hidden_sizes=())
"""No hidden layer: on one-hot observations the network's weight is a table, a row a state."""


def one_hot(states: Sequence[int], n_states: int) -> Tensor:
    """Returns [B, n_states] float observations."""
    return torch.eye(n_states)[torch.as_tensor(states)]


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


def make_batch(
    observations: Tensor,
    actions: Any,
    rewards: Any = None,
    *,
    next_observations: Tensor | None = None,
    next_actions: Any = None,
    discounts: Any = None,
    returns: Any = None,
    masks: Any = None,
    **columns: Tensor,
) -> Batch:
    """Makes a batch by hand; what is not given is zero, the next observations the observations themselves.

    Args:
        columns: Further named columns.
    """
    n_rows = len(observations)
    acted = torch.as_tensor(actions)

    def column(values: Any) -> Tensor:
        return torch.zeros(n_rows) if values is None else torch.as_tensor(values, dtype=torch.float32)

    return Batch(
        observations=observations,
        actions=acted,
        rewards=column(rewards),
        next_observations=observations if next_observations is None else next_observations,
        discounts=column(discounts),
    ).with_columns(
        next_actions=torch.zeros_like(acted) if next_actions is None else torch.as_tensor(next_actions),
        returns=column(returns),
        masks=None if masks is None else torch.as_tensor(masks, dtype=torch.float32),
        **columns,
    )


def two_steps(actions: Sequence[int], /, **changes: Any) -> Batch:
    """Makes row 0: state 0, reward 1, then state 1 at discount 1/2; row 1: state 1, reward -1, the end."""
    after = one_hot([1, 0], 2)
    batch = make_batch(one_hot([0, 1], 2), actions, [1, -1], next_observations=after, discounts=[0.5, 0])
    return batch.with_columns(**changes)


def discrete_dataset(n_states: int = 2, n_actions: int = 3, **options: Any) -> MDPDataset:
    """Makes one episode that visits each one-hot state with each action once; rewards count up from 0."""
    n_rows = n_states * n_actions
    return MDPDataset(
        np.eye(n_states, dtype=np.float32)[np.arange(n_rows) // n_actions],
        np.arange(n_rows) % n_actions,
        np.arange(n_rows, dtype=np.float32),
        np.arange(n_rows) == n_rows - 1,
        **options,
    )


def continuous_dataset(n_rows: int = 8, observation_size: int = 2, action_size: int = 1) -> MDPDataset:
    """Makes one episode of seeded observations, actions in (-1, 1) and rewards, ended by the MDP."""
    rng = np.random.default_rng(0)
    return MDPDataset(
        rng.normal(size=(n_rows, observation_size)).astype(np.float32),
        rng.uniform(-0.9, 0.9, (n_rows, action_size)).astype(np.float32),
        rng.normal(size=n_rows).astype(np.float32),
        np.arange(n_rows) == n_rows - 1,
    )


def chain_dataset(missing: Sequence[tuple[int, int]] = ()) -> MDPDataset:
    """Makes each step of a chain of 5 one-hot states once, but for the missing (state, action) pairs.

    Action 0 goes left (and stays at state 0), action 1 goes right; right of state 4 pays 1 and ends.
    """
    steps = [(s, a) for s in range(5) for a in range(2) if (s, a) not in missing]
    states, actions = np.array(steps).T
    ends = (states == 4) & (actions == 1)
    states_after = np.clip(states + 2 * actions - 1, 0, 4)
    observations = np.eye(5, dtype=np.float32)
    return MDPDataset(
        observations[states],
        actions,
        ends.astype(np.float32),
        ends,
        np.ones(len(steps), dtype=bool),
        next_observations=observations[states_after],
    )


def chain_values(gamma: float) -> Tensor:
    """Returns the exact optimal Q [5, 2]: right gamma**(4 - s), left gamma times what right then earns."""
    right = gamma ** torch.arange(4.0, -1.0, -1.0)
    left = gamma * torch.cat([right[:1], right[:-1]])
    return torch.stack([left, right], 1)


def close(actual: Tensor | float | None, expected: Any, atol: float = 1e-5) -> None:
    """Asserts that a float tensor has the expected numbers and shape."""
    found = torch.as_tensor(actual)
    wanted = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=atol)


def bandit_dataset(n_rows: int = 1_000) -> MDPDataset:
    """Makes one-step episodes of uniform actions with reward -(a - s / 2)**2: best s / 2, their mean is 0."""
    rng = np.random.default_rng(0)
    states, actions = rng.uniform(-1.0, 1.0, (2, n_rows, 1)).astype(np.float32)
    rewards = -np.square(actions - states / 2)[:, 0]
    return MDPDataset(states, actions, rewards, np.ones(n_rows, bool))


BANDIT: dict[str, Any] = {
    "encoder": MLPEncoder((32, 32)),
    "actor_learning_rate": 3e-3,
    "critic_learning_rate": 3e-3,
    "batch_size": 64,
    "seed": 0,
    "device": "cpu",
}
"""Settings with which `bandit_error` is small after some hundred updates."""


def bandit_error(algo: Any, n_steps: int) -> float:
    """Trains on `bandit_dataset` and returns the mean distance of the policy's actions from the best ones.

    Cloning predicts the mean action 0, whose distance is E|s| / 2 = 0.25.
    """
    algo.fit(bandit_dataset(), n_steps, out=None, progress=False)
    states = np.linspace(-1.0, 1.0, 101, dtype=np.float32)[:, None]
    return float(np.abs(algo.predict(states) - states / 2).mean())


def choice_dataset(n_rows: int = 1_000) -> MDPDataset:
    """Makes one-step episodes of 3 actions: 0 pays 1 where s < 0, 2 pays 1 where s > 0, 1 never pays.

    The behaviour takes the worthless action in 3 of 5 episodes, so cloning always does.
    """
    rng = np.random.default_rng(0)
    states = rng.uniform(-1.0, 1.0, (n_rows, 1)).astype(np.float32)
    actions = rng.choice(3, n_rows, p=[0.2, 0.6, 0.2])
    rewards = (actions == np.where(states[:, 0] < 0, 0, 2)).astype(np.float32)
    return MDPDataset(states, actions, rewards, np.ones(n_rows, bool))


CHOICE = {"encoder": MLPEncoder((32,)), "learning_rate": 1e-2, "batch_size": 64, "seed": 0, "device": "cpu"}
"""Settings with which `choice_score` is high after some hundred updates."""


def choice_score(algo: Any, n_steps: int) -> float:
    """Trains on `choice_dataset` and returns the mean reward of the policy's actions; that of cloning is 0."""
    algo.fit(choice_dataset(), n_steps, out=None, progress=False)
    states = np.linspace(-1.0, 1.0, 100, dtype=np.float32)[:, None]
    return float((algo.predict(states) == np.where(states[:, 0] < 0, 0, 2)).mean())


POLICY = [[0.0, 0.0, -100.0], [0.0, math.log(3.0), -100.0]]
"""Logits of the probabilities (1/2, 1/2, 0) and (1/4, 3/4, 0)."""
VALUES = [[[1.0, 2.0, 7.0], [4.0, 9.0, 7.0]], [[3.0, 0.0, 7.0], [8.0, 2.0, 7.0]]]
"""Of two critics, the lowest of the first two actions (1, 0) and (4, 2)."""

ONE_STEP = math.exp(-5.05)
"""What a diffusion of one step leaves of the signal: exp(-0.1 - 9.9 / 2)."""


def set_one_step(diffusion: nn.Module, actions: Sequence[float], slope: float = 0.0) -> None:
    """Makes a diffusion of one step, built with `TABLE`, give `actions[s] + slope * noise` in one-hot state s.

    With x the noise and a the action, the network says (x - sqrt(g) a) / sqrt(1 - g), g = `ONE_STEP`; so the
    loss of an action b is g / (1 - g) (b - a)^2, a taken at the noisy b.
    """
    times = diffusion.network.mlp.layers[-1].in_features - len(actions) - 1
    near, far = math.sqrt(ONE_STEP), math.sqrt(1.0 - ONE_STEP)
    rows = [-near * action / far for action in actions] + [(1.0 - near * slope) / far] + [0.0] * times
    set_table(diffusion, [[row] for row in rows])
