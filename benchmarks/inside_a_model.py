"""What policies that learn inside a model reach, beside others on the same recorded rows, in seeds with intervals.

    python benchmarks/inside_a_model.py --seeds 3

Algorithms of one task and seed share one model, which is trained in the first row that needs it. Appends a row to
benchmarks/results/inside_a_model.csv as each run is done, and goes on from there when started again; `--table` prints
the means and their intervals.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import gymnasium
from run_tables import append_runs, by_algorithm, mean_cell, table_options

from offlinekit import algos
from offlinekit.datasets import get_dataset
from offlinekit.metrics import evaluate
from offlinekit.nn.encoders import MLPEncoder

RESULTS = Path(__file__).parent / "results" / "inside_a_model.csv"
COLUMNS = (
    "task", "algorithm", "seed", "updates", "return_mean", "return_of_data", "holdout_error", "seconds",
)  # fmt: skip

SHARED = {
    "encoder": MLPEncoder((64, 64)),
    "batch_size": 128,
    "gamma": 0.97,
    "device": "cpu",
    "reward_scaler": {"type": "multiply", "multiplier": 0.1},
}
FAST = {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3}
SOFT = {**SHARED, **FAST, "initial_temperature": 0.05, "temperature_learning_rate": 1e-3}
CRITICS = {**SHARED, **FAST, "critic_encoder": MLPEncoder((64, 64))}
MODEL = {"encoder": MLPEncoder((64, 64), "silu", init="truncated_normal"), "max_epochs": 40}
ROLLOUTS = {"n_rollouts": 4_000, "rollout_length": 3, "rollout_interval": 500, "real_share": 0.25}

ANY_STEP = {
    "encoder": MLPEncoder((64, 64), "silu", layer_norm=True),
    "n_recurrent_layers": 1,
    "max_steps_back": 3,
    "learning_rate": 1e-3,
}

ALGORITHMS: dict[str, tuple[str, dict[str, Any]]] = {
    "SAC": ("SAC", SOFT),
    "TD3+BC": ("TD3PlusBC", {**SHARED, **FAST, "observation_scaler": None}),
    "MOPO": ("MOPO", {**SOFT, **ROLLOUTS, "penalty": 0.5}),
    "COMBO": ("COMBO", {**SOFT, **ROLLOUTS, "alpha": 0.5, "n_actions": 4}),
    "MOBILE": ("MOBILE", {**SOFT, **ROLLOUTS, "penalty": 0.5}),
    "ADMPO": ("ADMPO", {**SOFT, **ROLLOUTS, "penalty": 0.5, "dynamics": ANY_STEP}),
    "MoBRAC": ("MoBRAC", {**CRITICS, **ROLLOUTS, "penalty": 0.5}),
    "RAMBO": (
        "RAMBO",
        {**SOFT, **ROLLOUTS, "warmup_steps": 500, "observation_scaler": None, "adversarial_weight": 0.01},
    ),
}
"""Of each row: class and hyperparameters, with those in which its model differs from `MODEL`."""

TASKS = {"pendulum": ("pendulum-mixed", "Pendulum-v1", "pendulum")}
"""Recorded rows, environment and termination rule."""


def run(task: str, name: str, seed: int, updates: int, episodes: int) -> dict[str, Any]:
    """Returns the row of one run."""
    recorded, env_id, termination = TASKS[task]
    dataset, _ = get_dataset(recorded)
    front, options = ALGORITHMS[name]
    is_model_based = "n_rollouts" in options
    if is_model_based:
        own = options.get("dynamics", {})
        options = {**options, "dynamics": {**MODEL, **own, "termination": termination, "seed": seed}}
    algo = getattr(algos, front)(seed=seed, **options)
    started = time.perf_counter()
    algo.fit(dataset, n_steps=updates, out=None, progress=False, value_alarm="off", log_interval=updates)
    seconds = time.perf_counter() - started
    env = gymnasium.make(env_id)
    model = algo.impl.model if is_model_based else None
    return {
        "task": task,
        "algorithm": name,
        "seed": seed,
        "updates": updates,
        "return_mean": evaluate(algo, env, n_episodes=episodes, seed=1_000 + seed).mean,
        "return_of_data": float(dataset.rewards.sum()) / dataset.n_episodes,
        "holdout_error": "" if model is None else float(model.best_errors.mean()),
        "seconds": round(seconds, 1),
    }


def table(path: Path) -> str:
    """Returns means over seeds with 95% intervals of Student's t, a line an algorithm."""
    lines = ["| task | algorithm | seeds | updates | return | of the data |", "|---|---|---|---|---|---|"]
    for task, name, own in by_algorithm(path):
        reached, recorded = mean_cell(own, "return_mean"), float(own[0]["return_of_data"])
        lines.append(f"| {task} | {name} | {len(own)} | {own[0]['updates']} | {reached} | {recorded:.0f} |")
    return "\n".join(lines)


@click.command()
@table_options(TASKS, RESULTS)
@click.option("--updates", default=5_000, show_default=True, help="Of the policy.")
@click.option("--episodes", default=10, show_default=True, help="Of the evaluation at the end.")
def main(
    tasks: tuple[str, ...],
    names: tuple[str, ...],
    seeds: int,
    updates: int,
    episodes: int,
    out: Path,
    shows: bool,
) -> None:
    """Measure what learning inside a model gives."""
    if not shows:
        chosen = [name for name in ALGORITHMS if not names or name in names]
        one = partial(run, updates=updates, episodes=episodes)
        append_runs(out, COLUMNS, seeds, tasks or TASKS, lambda _: chosen, one)
    click.echo(table(out))


if __name__ == "__main__":
    main()
