"""Tasks that are learned within some hundred updates, and what a trained policy earns on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from offlinekit.algos import MLPEncoder
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.metrics import evaluate


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


PENDULUM: dict[str, Any] = {
    **BANDIT,
    "encoder": MLPEncoder((64, 64)),
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "batch_size": 256,
    "reward_scaler": "standard",
}
"""Settings with which `pendulum_return` is above that of cloning after some thousand updates."""


def pendulum_return(algo: Any, n_steps: int) -> float:
    """Trains on the recorded pendulum, whose mean return is -950, and returns the policy's; cloning has -1100."""
    dataset, env = get_dataset("pendulum-mixed")
    algo.fit(dataset, n_steps, out=None, progress=False)
    return evaluate(algo, env, n_episodes=10, seed=0).mean
