"""Records the embedded datasets with policies that offlinekit trains itself.

Each environment is learned online, from random actions on. Snapshots of different skill and a random policy then record
the dataset. The files of the package were recorded when updates came in one block after each round.

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

import offlinekit
from offlinekit.algos import SAC, Algo, DoubleDQN
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.recording.recorder import record_episodes
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.metrics import evaluate
from offlinekit.sweeps.skill_datasets import rounds_online

FOLDER = Path(__file__).parent.parent / "offlinekit" / "datasets" / "embedded"
SNAPSHOTS = Path("runs") / "record"


@dataclass(frozen=True)
class Recipe:
    """How one dataset comes to be.

    Attributes:
        env_id: gymnasium environment.
        seed: Of everything.
        parts: (skill, noise, rows): the snapshot nearest to a mean return, the share of random actions, and
            how many rows it records. Skill None is the random policy.
        make: The learner, or None where only a random policy records.
        rounds: Of the learner online.
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


def learn(recipe: Recipe) -> list[tuple[float, Algo, Path]]:
    """Returns the snapshots of a learner that goes online, an untrained one first, with their mean returns."""
    assert recipe.make is not None
    algo, env = recipe.make(recipe.seed), gymnasium.make(recipe.env_id)
    sizes = {"rounds": recipe.rounds, "steps": recipe.steps, "updates": recipe.updates}
    snapshots: list[tuple[float, Algo, Path]] = []
    for n_rows, _ in rounds_online(algo, env, **sizes, eval_episodes=1):
        score = evaluate(algo, env, 10, seed=10_000, n_envs=1).mean
        path = algo.save(SNAPSHOTS / recipe.env_id / f"{len(snapshots):03d}.okt")
        click.echo(f"{recipe.env_id}, round {len(snapshots)}: {n_rows} rows, return {score:.1f}")
        snapshots.append((score, algo, path))
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
    env = gymnasium.make(recipe.env_id)
    parts: list[MDPDataset] = []
    described = []
    for skill, noise, n_rows in recipe.parts:
        policy: Any = RandomPolicy(env.action_space)
        score = None
        if skill is not None:
            score, algo, path = min(snapshots, key=lambda snapshot: abs(snapshot[0] - skill))
            policy = type(algo).load(path).predict
        seed = recipe.seed + 1_000 + sum(part.n_episodes for part in parts)
        parts.append(record_episodes(policy, env, n_rows, noise, seed))
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
