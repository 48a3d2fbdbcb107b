"""What policies that learn inside a model reach, beside others on the same recorded rows, in seeds with intervals.

    python benchmarks/inside_a_model.py --task pendulum --updates 4000
    offlinekit datasets record hopper-medium --policy-file hopper_medium-v2.hdf5
    python benchmarks/inside_a_model.py --task hopper --updates 25000

Algorithms of one task and seed share one model, which is trained in the first row that needs it; those of robots share
one in all seeds, and have the published settings but for smaller networks and fewer rollouts. Appends a row to
benchmarks/results/inside_a_model.csv as each run is done, and goes on from there when started again; `--table` prints
the means and their intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from run_tables import append_runs, by_algorithm, mean_cell, table_options

from offlinekit import algos
from offlinekit.core.algo import Algo
from offlinekit.core.bases.model_based import ModelBased
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

PENDULUM: dict[str, tuple[str, dict[str, Any]]] = {
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

OF_MOPO = ("actor_learning_rate", "temperature_learning_rate", "log_std_min", "actor_lr_schedule")
"""Hyperparameters of MOPO's SAC, which SAC without a model has as well."""

ROBOTS = {
    "SAC": "SAC",
    "TD3+BC": "TD3PlusBC",
    "MOPO": "MOPO",
    "COMBO": "COMBO",
    "MOBILE": "MOBILE",
    "MoBRAC": "MoBRAC",
}
"""Class of each row."""
SMALL = {"batch_size": 128, "device": "cpu"}
HIDDEN = [64, 64]
FEWER_ROLLOUTS = 5_000
"""Every 1,000 updates, in place of the published 50,000."""
MODEL_EPOCHS = 15
"""At most, of a million rows."""


def on_pendulum(front: str, options: dict[str, Any], seed: int) -> Algo:
    """Makes an algorithm with small networks."""
    if "n_rollouts" in options:
        own = options.get("dynamics", {})
        options = {**options, "dynamics": {**MODEL, **own, "termination": "pendulum", "seed": seed}}
    algo: Algo = getattr(algos, front)(seed=seed, **options)
    return algo


def on_robots(front: str, stands_for: str, seed: int) -> Algo:
    """Makes an algorithm with the settings published for a dataset, but smaller, and with one model for all."""
    kind: type[Algo] = getattr(algos, front)
    if kind is algos.SAC:
        published = {name: algos.MOPO.hyperparameters()[name].default for name in OF_MOPO}
    else:
        published = kind.presets()[stands_for].hyperparameters
    settings = {"encoder": {"type": "mlp"}, **published, **SMALL}
    for name in ("encoder", "critic_encoder"):
        if settings.get(name):
            settings[name] = {**settings[name], "hidden_sizes": HIDDEN}
    if issubclass(kind, ModelBased):
        rule = published["dynamics"]["termination"]
        settings["dynamics"] = {"termination": rule, "max_epochs": MODEL_EPOCHS, "seed": 0}
        settings["n_rollouts"] = FEWER_ROLLOUTS
    return kind(seed=seed, **settings)


class Task(NamedTuple):
    """Recorded rows, and the algorithms by name: seed -> algorithm."""

    recorded: str
    algorithms: Mapping[str, Callable[[int], Algo]]
    fit: Mapping[str, Any] = {}
    """Settings of its runs."""


TASKS = {
    "pendulum": Task("pendulum-mixed", {name: partial(on_pendulum, *own) for name, own in PENDULUM.items()}),
    **{
        robot: Task(
            f"recorded/{robot}-medium",
            {name: partial(on_robots, front, f"{robot}-medium-v2") for name, front in ROBOTS.items()},
            {"out": Path("runs/inside_a_model") / robot, "resume": "auto"},
        )
        for robot in ("hopper", "halfcheetah")
    },
}


def run(task: str, name: str, seed: int, updates: int, episodes: int) -> dict[str, Any]:
    """Returns the row of one run."""
    recorded, algorithms, settings = TASKS[task]
    dataset, env = get_dataset(recorded)
    algo = algorithms[name](seed)
    started = time.perf_counter()
    algo.fit(
        dataset,
        n_steps=updates,
        **{"out": None, "progress": False, "value_alarm": "off", "log_interval": updates, **settings},
    )
    seconds = time.perf_counter() - started
    model = algo.impl.model if isinstance(algo, ModelBased) else None
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
        one = partial(run, updates=updates, episodes=episodes)

        def chosen(task: str) -> list[str]:
            return [name for name in TASKS[task].algorithms if not names or name in names]

        append_runs(out, COLUMNS, seeds, tasks or TASKS, chosen, one)
    click.echo(table(out))


if __name__ == "__main__":
    main()
