"""What a history is worth where a state does not show its speed: Pendulum with and without it, in seeds with intervals.

    python benchmarks/history.py --seeds 3

Each run learns from `pendulum-mixed`, plays Pendulum, is exported for numpy and compared there step by step, and is
estimated from the recorded episodes by fitted Q evaluation. Appends a row to benchmarks/results/history.csv as each run
is done, and goes on from there when started again; `--table` prints means and their intervals.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np
from run_tables import append_runs, by_algorithm, mean_cell, table_options

from offlinekit.algos import AWAC, FQE, IQL
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.metrics import evaluate
from offlinekit.nn.encoders import GRUEncoder, MLPEncoder

RESULTS = Path(__file__).parent / "results" / "history.csv"
COLUMNS = (
    "task", "algorithm", "seed", "updates", "return_mean", "discounted", "estimate", "apart", "seconds",
)  # fmt: skip
SHARED = {
    "batch_size": 128,
    "gamma": 0.97,
    "device": "cpu",
    "reward_scaler": {"type": "multiply", "multiplier": 0.1},
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
}
FRONTS: dict[str, tuple[type[Algo], dict[str, Any]]] = {"AWAC": (AWAC, {}), "IQL": (IQL, {})}
PASTS: dict[str, dict[str, Any]] = {
    "one row": {"encoder": MLPEncoder((128, 128))},
    "8 rows": {"encoder": MLPEncoder((128, 128)), "history_length": 8},
    "GRU of 8 rows": {"encoder": GRUEncoder((64,), state_size=32, burn_in=2), "history_length": 8},
}
TASKS = {"speed seen": 3, "speed hidden": 2}
"""How many of cosine, sine and speed are observed."""


def seen_in(env: gymnasium.Env[Any, Any], n_seen: int) -> gymnasium.Env[Any, Any]:
    """Returns an environment that shows the first numbers of its observations."""
    whole = env.observation_space
    assert isinstance(whole, gymnasium.spaces.Box)
    space = gymnasium.spaces.Box(whole.low[:n_seen], whole.high[:n_seen])
    return gymnasium.wrappers.TransformObservation(env, lambda seen: seen[:n_seen], space)


def seen_of(dataset: MDPDataset, n_seen: int) -> MDPDataset:
    """Returns the rows of a dataset with the first numbers of their observations."""
    observations = np.asarray(dataset.observations)[:, :n_seen]
    finals = np.asarray(dataset.final_observations)[:, :n_seen]
    return MDPDataset(
        observations,
        dataset.actions,
        dataset.rewards,
        dataset.terminals,
        timeouts=dataset.timeouts,
        final_observations=finals,
        action_space=dataset.action_space,
    )


def run(task: str, name: str, seed: int, updates: int, episodes: int) -> dict[str, Any]:
    """Returns the row of one run."""
    n_seen, (front, past) = TASKS[task], name.split(", ")
    dataset = seen_of(get_dataset("pendulum-mixed")[0], n_seen)
    made, options = FRONTS[front]
    algo = made(seed=seed, **SHARED, **options, **PASTS[past])
    started = time.perf_counter()
    algo.fit(dataset, n_steps=updates, out=None, progress=False, value_alarm="off", log_interval=updates)
    seconds = time.perf_counter() - started
    env = seen_in(gymnasium.make("Pendulum-v1"), n_seen)
    judge = FQE(policy=algo, seed=seed, gamma=0.97, learning_rate=1e-3, device="cpu", **PASTS[past])
    judge.fit(
        dataset, n_steps=updates // 4, out=None, progress=False, value_alarm="off", log_interval=updates
    )
    discounted, apart = played(algo, env, seed)
    return {
        "task": task,
        "algorithm": name,
        "seed": seed,
        "updates": updates,
        "return_mean": evaluate(algo, env, n_episodes=episodes, seed=1_000 + seed).mean,
        "discounted": discounted,
        "estimate": float(judge.start_values(dataset).mean()),
        "apart": apart,
        "seconds": round(seconds, 1),
    }


def played(algo: Algo, env: gymnasium.Env[Any, Any], seed: int, episodes: int = 20) -> tuple[float, float]:
    """Returns the mean discounted return of `as_stateful`, and how far actions of the exported policy are off."""
    with tempfile.TemporaryDirectory() as folder:
        exported = NumpyPolicy.load(algo.export(Path(folder) / "policy.safetensors"))
    actor, other, returns, apart = algo.as_stateful(), exported.as_stateful(), [], 0.0
    for episode in range(episodes):
        actor.reset()
        other.reset()
        observation, discount, total, over = env.reset(seed=2_000 + 100 * seed + episode)[0], 1.0, 0.0, False
        while not over:
            action = actor.predict(observation)
            apart = max(apart, float(np.abs(action - other.predict(observation)).max()))
            observation, reward, terminated, truncated, _ = env.step(action)
            total, discount, over = (
                total + discount * float(reward),
                discount * algo.gamma,
                terminated or truncated,
            )
        returns.append(total)
    return float(np.mean(returns)), apart


def table(path: Path) -> str:
    """Returns means over seeds with 95% intervals of Student's t, a line an algorithm."""
    lines = [
        "| task | algorithm | seeds | return | discounted, played | discounted, estimated |",
        "|---|---|---|---|---|---|",
    ]
    for task, name, own in by_algorithm(path):
        cells = [mean_cell(own, column) for column in ("return_mean", "discounted", "estimate")]
        lines.append(f"| {task} | {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@table_options(TASKS, RESULTS)
@click.option("--past", "pasts", multiple=True, type=click.Choice(list(PASTS)), help="Only this history.")
@click.option(
    "--updates", default=8_000, show_default=True, help="Of the policy; its estimate takes a quarter."
)
@click.option("--episodes", default=20, show_default=True, help="Of the evaluation at the end.")
def main(
    tasks: tuple[str, ...],
    names: tuple[str, ...],
    pasts: tuple[str, ...],
    seeds: int,
    updates: int,
    episodes: int,
    out: Path,
    shows: bool,
) -> None:
    """Measure what a history gives."""
    if not shows:
        chosen = [f"{front}, {past}" for front in names or FRONTS for past in pasts or PASTS]
        one = partial(run, updates=updates, episodes=episodes)
        append_runs(out, COLUMNS, seeds, tasks or TASKS, lambda _: chosen, one)
    click.echo(table(out))


if __name__ == "__main__":
    main()
