"""Records the embedded datasets with policies that offlinekit trains itself.

Each environment is learned by growing a batch: collect with the newest policy, train on all that was
collected, repeat. Snapshots of different skill and a random policy then record the dataset.

    python scripts/record_datasets.py                    # all, into offlinekit/datasets/embedded
    python scripts/record_datasets.py pendulum-mixed     # one of them
    python scripts/record_datasets.py --reuse pendulum-mixed    # with the snapshots of the last training

Another version of torch or of this project trains other policies from the same seed; the manifest's hash
says which recording the package holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np

import offlinekit
from offlinekit.algos import SAC, Algo, DoubleDQN
from offlinekit.datasets import MDPDataset
from offlinekit.metrics import evaluate
from offlinekit.types import Array

FOLDER = Path(__file__).parent.parent / "offlinekit" / "datasets" / "embedded"
SNAPSHOTS = Path("runs") / "record"
Policy = Callable[[Array], Any]


@dataclass(frozen=True)
class Recipe:
    """How one dataset comes to be.

    Attributes:
        env_id: gymnasium environment.
        seed: Of everything.
        parts: (skill, noise, rows): the snapshot nearest to a mean return, the share of random actions, and
            how many rows it records. Skill None is the random policy.
        make: The learner, or None where only a random policy records.
        rounds: How often the learner's batch grows.
        steps: Environment steps a round.
        updates: Updates a round.
    """

    env_id: str
    seed: int
    parts: tuple[tuple[float | None, float, int], ...]
    make: Callable[[int], Algo] | None = None
    rounds: int = 0
    steps: int = 0
    updates: int = 0


def _dqn(seed: int) -> Algo:
    return DoubleDQN(seed=seed, learning_rate=5e-4, n_step=5, target_update_interval=1, tau=0.01)


def _lander_dqn(seed: int) -> Algo:
    return DoubleDQN(seed=seed, learning_rate=5e-4, batch_size=128, n_step=5)


def _sac(seed: int) -> Algo:
    return SAC(seed=seed, actor_learning_rate=1e-3, critic_learning_rate=1e-3)


RECIPES = {
    "cartpole-random": Recipe("CartPole-v1", 1, ((None, 1.0, 5_000),)),
    "cartpole-mixed": Recipe(
        "CartPole-v1",
        2,
        ((None, 1.0, 3_000), (10.0, 0.3, 3_000), (500.0, 0.4, 4_000)),
        _dqn,
        rounds=12,
        steps=2_000,
        updates=2_000,
    ),
    "pendulum-mixed": Recipe(
        "Pendulum-v1",
        3,
        ((None, 1.0, 4_000), (-900.0, 0.2, 4_000), (-150.0, 0.2, 2_000)),
        _sac,
        rounds=12,
        steps=1_000,
        updates=1_000,
    ),
    "lunarlander-mixed": Recipe(
        "LunarLander-v3",
        4,
        ((None, 1.0, 5_000), (-150.0, 0.3, 10_000), (220.0, 0.2, 15_000)),
        _lander_dqn,
        rounds=32,
        steps=2_500,
        updates=2_500,
    ),
}


class Recorder:
    """Steps one environment and keeps columns of all it saw."""

    def __init__(self, env_id: str, seed: int) -> None:
        self.env = gymnasium.make(env_id)
        self.rng = np.random.default_rng(seed)
        self.seed = seed

    def record(self, policy: Policy | None, noise: float, n_rows: int) -> MDPDataset:
        """Records at least `n_rows` rows, to the end of an episode.

        Args:
            policy: Observation to action, or None for random actions.
            noise: Probability of a random action in each step.
            n_rows: Rows wanted.
        """
        space = self.env.action_space
        rows: list[tuple[Any, ...]] = []
        while len(rows) < n_rows or not (rows[-1][3] or rows[-1][4]):
            if not rows or rows[-1][3] or rows[-1][4]:
                observation, _ = self.env.reset(seed=int(self.rng.integers(2**31)))
                space.seed(int(self.rng.integers(2**31)))
            chance = policy is None or self.rng.random() < noise
            action = space.sample() if chance or policy is None else policy(observation)
            following, reward, terminal, timeout, _ = self.env.step(action)
            rows.append((observation, action, reward, terminal, timeout and not terminal, following))
            observation = following
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        return MDPDataset(
            *columns[:4],
            timeouts=columns[4],
            next_observations=columns[5],
            action_space=space,
            observation_space=self.env.observation_space,
        )


def learn(recipe: Recipe) -> list[tuple[float, Algo, Path]]:
    """Grows a batch with a learner; returns its snapshots, the untrained one first, with their mean returns."""
    assert recipe.make is not None
    algo, recorder = recipe.make(recipe.seed), Recorder(recipe.env_id, recipe.seed)
    data = recorder.record(None, 1.0, recipe.steps)
    snapshots = []
    folder = SNAPSHOTS / recipe.env_id
    algo.build(data)
    for round_ in range(recipe.rounds + 1):
        score = evaluate(algo, recorder.env, 10, seed=10_000, n_envs=1).mean
        path = algo.save(folder / f"{round_:03d}.okt")
        snapshots.append((score, algo, path))
        click.echo(f"{recipe.env_id}, round {round_}: {len(data)} rows, return {score:.1f}")
        algo.fit(data, recipe.updates, out=None)
        data = data.concat(recorder.record(algo.sample_action, 0.1, recipe.steps))
    return snapshots


def judged(recipe: Recipe) -> list[tuple[float, Algo, Path]]:
    """Returns the snapshots of the last training with their mean returns over 10 episodes."""
    env = gymnasium.make(recipe.env_id)
    paths = sorted((SNAPSHOTS / recipe.env_id).glob("*.okt"))
    policies = [(offlinekit.load(path), path) for path in paths]
    return [(evaluate(algo, env, 10, seed=10_000, n_envs=1).mean, algo, path) for algo, path in policies]


def record(name: str, recipe: Recipe, reuse: bool = False) -> dict[str, Any]:
    """Records one dataset and returns its entry of the manifest."""
    snapshots = [] if recipe.make is None else judged(recipe) if reuse else learn(recipe)
    recorder = Recorder(recipe.env_id, recipe.seed + 1_000)
    parts, described = [], []
    for skill, noise, n_rows in recipe.parts:
        policy, score = None, None
        if skill is not None:
            score, algo, path = min(snapshots, key=lambda snapshot: abs(snapshot[0] - skill))
            policy = type(algo).load(path).predict
        parts.append(recorder.record(policy, noise, n_rows))
        described.append({"policy_return": score, "random_actions": noise, "rows": len(parts[-1])})
    dataset = parts[0].concat(*parts[1:]).with_options(name=name, metadata={"env_id": recipe.env_id})
    path = dataset.save(FOLDER / f"{name}.h5")
    returns = dataset.episode_returns()
    return {
        "env_id": recipe.env_id,
        "seed": recipe.seed,
        "rows": len(dataset),
        "episodes": dataset.n_episodes,
        "behaviour_return_mean": round(float(returns.mean()), 3),
        "behaviour_return_std": round(float(returns.std()), 3),
        "parts": described,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(RECIPES)))
@click.option("--reuse", is_flag=True, help="Take the snapshots of the last training, train nothing.")
def main(names: tuple[str, ...], reuse: bool) -> None:
    """Records the named embedded datasets, or all of them, and updates the manifest."""
    manifest_path = FOLDER / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {}
    for name in names or sorted(RECIPES):
        manifest[name] = record(name, RECIPES[name], reuse)
        click.echo(f"{name}: {json.dumps(manifest[name])}")
        manifest_path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
