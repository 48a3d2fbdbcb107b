"""Datasets of five skills from one online run, as D4RL has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium

from offlinekit.algos.double_dqn import DoubleDQN
from offlinekit.algos.sac import SAC
from offlinekit.core.algo import Algo
from offlinekit.core.units import GreedyActions, SampledPolicy
from offlinekit.datasets import MDPDataset, collect
from offlinekit.datasets.editing.thinning import first_rows, merge
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.errors import DatasetError
from offlinekit.events import get_logger

LEVELS = ("random", "medium", "medium-replay", "medium-expert", "expert")


class Snapshot(NamedTuple):
    """A policy on the way, saved."""

    path: Path
    mean_return: float
    n_rows: int  # Of the data that it was trained on.


def rounds_online(
    algo: Algo,
    env: gymnasium.Env[Any, Any],
    *,
    rounds: int,
    steps: int,
    updates: int,
    epsilon: float = 0.1,
    eval_episodes: int = 10,
) -> Iterator[tuple[int, float]]:
    """Learns online from nothing, the first round with random actions and without updates.

    Args:
        algo: What learns; its seed is that of the episodes too.
        env: Where it acts and is evaluated.
        rounds: How many follow the first.
        steps: Environment steps a round.
        updates: Updates a round, spread over its steps.
        epsilon: Probability of a random action in each step.
        eval_episodes: Episodes of the evaluation after each round.

    Yields:
        (environment steps so far, mean return) at the first end of an episode after each round.
    """
    n_steps = (1 + rounds) * steps
    run = algo.fitter_online(
        env,
        n_steps,
        random_steps=steps,
        warmup_steps=steps,
        updates_per_step=updates / steps,
        epsilon=epsilon,
        buffer_size=n_steps,
        log_interval=steps,
        eval_interval=steps,
        eval_episodes=eval_episodes,
        out=None,
        progress=False,
    )
    for step, row in run:
        if step:
            yield step, row["eval/return_mean"]


def record_levels(
    env: gymnasium.Env[Any, Any],
    folder: str | Path,
    *,
    n_rows: int = 1_000_000,
    algo: Algo | None = None,
    rounds: int = 100,
    steps: int = 1_000,
    updates: int = 1_000,
    medium: float = 1 / 3,
    seed: int = 0,
    eval_episodes: int = 10,
    progress: bool | None = None,
) -> dict[str, Path]:
    """Trains a policy online and records five datasets of its skills.

    random: uniform actions. expert: the best policy. medium: the first policy whose return reached the share
    `medium` of the way from random to expert. medium-replay: all that was recorded until then. medium-expert:
    both, one after the other. A dataset that is there already is not recorded again.

    Args:
        env: A gymnasium environment with a spec.
        folder: Where `random.h5` and the others go, and the policies under `policies`.
        n_rows: Of each dataset; medium-replay has what there is, medium-expert twice as many.
        algo: What learns; None takes SAC, or DoubleDQN for discrete actions.
        rounds: As `rounds_online`.
        steps: As `rounds_online`.
        updates: As `rounds_online`.
        medium: Share, in (0, 1).
        seed: Of everything, but for an `algo` that is given and the episodes that it learns from.
        eval_episodes: Episodes by which each policy is evaluated.
        progress: Whether to show progress bars; None does on a terminal.

    Returns:
        The file of each level.

    Raises:
        ValueError: For a share outside (0, 1).
        DatasetError: If `folder` holds datasets that were recorded otherwise.
    """
    if not 0 < medium < 1:
        raise ValueError(f"medium must be in (0, 1), got {medium}")
    folder = Path(folder)
    algo = algo or _learner(env.action_space, seed)
    snapshots: list[Snapshot] = []
    sizes = {"rounds": rounds, "steps": steps, "updates": updates, "eval_episodes": eval_episodes}
    for n_rows_so_far, mean in rounds_online(algo, env, **sizes):
        path = algo.save(folder / "policies" / f"{len(snapshots):04d}.okt")
        snapshots.append(Snapshot(path, mean, n_rows_so_far))
        get_logger().info("online round", round=len(snapshots) - 1, rows=n_rows_so_far, mean_return=mean)
    halfway, best = choose_snapshots(snapshots, medium)
    files = {level: folder / f"{level}.h5" for level in LEVELS}
    parts = {}
    for level, snapshot in (("random", None), ("medium", halfway), ("expert", best)):
        policy, facts = _behaviour(type(algo), snapshot, env)
        settings: dict[str, Any] = {"seed": seed + 2 * 10**6, "progress": progress, "metadata": facts}
        if files[level].exists():
            parts[level] = _same(files[level], n_rows, facts)
        else:
            parts[level] = collect(policy, env, n_rows, out=files[level], name=level, **settings)
    facts = {key: value for key, value in parts["medium"].metadata.items() if key != "recording"}
    assert algo.experience is not None  # For the type checker: the run has ended.
    replay = first_rows(algo.experience, halfway.n_rows)
    replay.with_options(name="medium-replay", metadata=facts).save(files["medium-replay"])
    merge([parts["medium"], parts["expert"]], name="medium-expert").save(files["medium-expert"])
    return files


def choose_snapshots(snapshots: list[Snapshot], medium: float) -> tuple[Snapshot, Snapshot]:
    """Returns the first snapshot a share of the way from the first one's return to the best one's, and the best."""
    finite = [snapshot for snapshot in snapshots if math.isfinite(snapshot.mean_return)]
    if not finite:
        raise ValueError(
            "no policy had a finite mean return, so none is the best; mend the environment's rewards"
        )
    best = max(finite, key=lambda snapshot: snapshot.mean_return)
    low = finite[0].mean_return
    enough = low + medium * (best.mean_return - low)
    return next(snapshot for snapshot in finite if snapshot.mean_return >= enough), best


def _same(path: Path, n_rows: int, facts: dict[str, Any]) -> MDPDataset:
    """Returns a dataset that an earlier call recorded.

    Raises:
        DatasetError: If it was recorded otherwise.
    """
    dataset = MDPDataset.load(path)
    recorded = {key: dataset.metadata.get(key) for key in facts}
    if len(dataset) != n_rows or recorded != facts:
        raise DatasetError(
            f"{path} holds {len(dataset):,} rows of {recorded}, expected {n_rows:,} rows of {facts}; "
            "write to another folder, or remove it"
        )
    return dataset


def _learner(space: gymnasium.Space[Any], seed: int) -> Algo:
    if isinstance(space, gymnasium.spaces.Discrete):
        return DoubleDQN(seed=seed, learning_rate=5e-4, n_step=5)
    return SAC(seed=seed)


def _behaviour(
    front: type[Algo], snapshot: Snapshot | None, env: gymnasium.Env[Any, Any]
) -> tuple[Any, dict[str, Any]]:
    """Returns what records a level, and what is noted of it."""
    if snapshot is None:
        return RandomPolicy(env.action_space), {
            "policy": f"random actions in {env.spec.id if env.spec else env}"
        }
    algo = front.load(snapshot.path)
    facts = {"policy": snapshot.path.name, "algorithm": front.__name__, "policy_return": snapshot.mean_return}
    return GreedyActions(algo) if algo.action_kind == "discrete" else SampledPolicy(algo), facts
