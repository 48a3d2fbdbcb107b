"""What happens to the score when algorithms go online: before, the dip, after and regret, in seeds with intervals.

    python benchmarks/going_online.py --task pendulum --task "lunar lander"
    offlinekit datasets record hopper-medium
    python benchmarks/going_online.py --task hopper --offline 100000 --online 50000

Each run learns from the recorded rows of a task, but for those that begin from nothing, and then goes online in its
environment; seeds of an algorithm are a population. Appends rows to benchmarks/results/going_online.csv as an algorithm
is done, and goes on from there when started again; `--table` prints the means and their intervals.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import gymnasium
from run_tables import append_rows, by_algorithm, mean_cell, missing_seeds, table_options

from offlinekit import algos
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.training.online.before_after import BeforeAfter

RESULTS = Path(__file__).parent / "results" / "going_online.csv"
MEASURES = ("before", "lowest", "dip", "after", "regret", "recovered_at", "steps", "updates")
COLUMNS = ("task", "algorithm", "seed", *MEASURES, "seconds")
NETWORK = {"encoder": MLPEncoder((64, 64)), "batch_size": 128, "gamma": 0.97, "device": "cpu"}
RATES = {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3}
SCALED = {**NETWORK, **RATES, "reward_scaler": {"type": "multiply", "multiplier": 0.1}}
CRITICS = {**SCALED, "critic_encoder": MLPEncoder((64, 64))}
SOFT = {**SCALED, "initial_temperature": 0.05, "temperature_learning_rate": 1e-3}
CONSERVATIVE = {**SOFT, "alpha": 1.0, "n_actions": 4}

PENDULUM: dict[str, tuple[str, dict[str, Any], bool, dict[str, Any]]] = {
    "SAC from nothing": ("SAC", SOFT, False, {"random_steps": 200, "warmup_steps": 200}),
    "RLPD": ("RLPD", {**SOFT, "policy_delay": 2}, False, {
        "updates_per_step": 2.0, "random_steps": 200, "warmup_steps": 200, "mixing": "symmetric"}),
    "IQL": ("IQL", SCALED, True, {}),
    "AWAC": ("AWAC", SCALED, True, {}),
    "TD3+BC": ("TD3PlusBC", {**SCALED, "observation_scaler": None}, True, {"noise": 0.1}),
    "ReBRAC": ("ReBRAC", CRITICS, True, {"mixing": "symmetric", "noise": 0.1}),
    "Cal-QL": ("CalQL", CONSERVATIVE, True, {"mixing": "symmetric"}),
    "PEX": ("PEX", SCALED, True, {"mixing": "symmetric", "warmup_steps": 200}),
    "WSRL": ("WSRL", {**CONSERVATIVE, "critic_encoder": None, "online_policy_delay": 2}, True, {
        "mixing": "none", "updates_per_step": 2.0, "warmup_steps": 400}),
    "E2O": ("E2O", CONSERVATIVE, True, {"mixing": "none", "warmup_steps": 400}),
    "BRED": ("BRED", CONSERVATIVE, True, {"mixing": "balanced", "warmup_steps": 400}),
}  # fmt: skip
"""Of each row: class, hyperparameters, whether it learns from the data alone first, and settings of `fit_online`."""

LANDER = {**NETWORK, "learning_rate": 1e-3, "reward_scaler": {"type": "multiply", "multiplier": 0.1}}
LUNAR_LANDER: dict[str, tuple[str, dict[str, Any], bool, dict[str, Any]]] = {
    "DQN from nothing": ("DoubleDQN", LANDER, False, {"epsilon": 0.1, "warmup_steps": 500}),
    "discrete CQL": ("DiscreteCQL", {**LANDER, "alpha": 0.5}, True, {"epsilon": 0.05}),
    "discrete BCQ": ("DiscreteBCQ", LANDER, True, {"epsilon": 0.05}),
}

HOPPER_NETWORK = {"encoder": MLPEncoder((64, 64)), "batch_size": 128, "device": "cpu"}
HOPPER_CONSERVATIVE = {**HOPPER_NETWORK, "alpha": 5.0, "n_actions": 4}
HOPPER: dict[str, tuple[str, dict[str, Any], bool, dict[str, Any]]] = {
    "SAC from nothing": ("SAC", HOPPER_NETWORK, False, {"random_steps": 1_000, "warmup_steps": 1_000}),
    "RLPD": ("RLPD", {**HOPPER_NETWORK, "policy_delay": 2}, False, {
        "updates_per_step": 2.0, "random_steps": 1_000, "warmup_steps": 1_000, "mixing": "symmetric"}),
    "IQL": ("IQL", HOPPER_NETWORK, True, {}),
    "AWAC": ("AWAC", HOPPER_NETWORK, True, {}),
    "TD3+BC": ("TD3PlusBC", HOPPER_NETWORK, True, {"noise": 0.1}),
    "ReBRAC": ("ReBRAC", {**HOPPER_NETWORK, "critic_encoder": MLPEncoder((64, 64))}, True, {
        "mixing": "symmetric", "noise": 0.1}),
    "PEX": ("PEX", HOPPER_NETWORK, True, {"mixing": "symmetric", "warmup_steps": 1_000}),
    "Cal-QL": ("CalQL", HOPPER_CONSERVATIVE, True, {"mixing": "symmetric"}),
    "WSRL": ("WSRL", {**HOPPER_CONSERVATIVE, "critic_encoder": None, "online_policy_delay": 2}, True, {
        "mixing": "none", "updates_per_step": 2.0, "warmup_steps": 1_000}),
    "E2O": ("E2O", HOPPER_CONSERVATIVE, True, {"mixing": "none", "warmup_steps": 1_000}),
    "BRED": ("BRED", HOPPER_CONSERVATIVE, True, {"mixing": "balanced", "warmup_steps": 1_000}),
}  # fmt: skip

TASKS = {
    "pendulum": ("pendulum-mixed", "Pendulum-v1", PENDULUM),
    "lunar lander": ("lunarlander-mixed", "LunarLander-v3", LUNAR_LANDER),
    "hopper": ("recorded/hopper-medium", "Hopper-v5", HOPPER),
}
FROM_NOTHING = ("SAC", "DoubleDQN")


def runs(
    task: str, name: str, seeds: Sequence[int], offline: int, online: int, episodes: int
) -> Iterator[dict[str, Any]]:
    """Yields the row of each seed."""
    recorded, env_id, settings = TASKS[task]
    dataset, _ = get_dataset(recorded)
    front, options, pretrains, given = settings[name]
    population = algos.Population([getattr(algos, front)(seed=seed, **options) for seed in seeds])
    started = time.perf_counter()
    if pretrains:
        population.fit(dataset, n_steps=offline, out=None, progress=False, value_alarm="off")
    data: MDPDataset | None = None if front in FROM_NOTHING else dataset
    population.fit_online(
        lambda: gymnasium.make(env_id),
        online,
        dataset=data,
        eval_env=gymnasium.make(env_id),
        eval_interval=max(online // 4, 1),
        eval_episodes=episodes,
        log_interval=online,
        out=None,
        progress=False,
        **given,
    )
    seconds = round((time.perf_counter() - started) / len(seeds), 1)
    for seed, algo in zip(seeds, population, strict=True):
        report = BeforeAfter.of(algo.history)
        assert report is not None
        yield {"task": task, "algorithm": name, "seed": seed, **report.row(), "seconds": seconds}


def table(path: Path) -> str:
    """Returns means over seeds with 95% intervals of Student's t, a line an algorithm."""
    lines = ["| task | algorithm | seeds | before | dip | after | regret |", "|---|---|---|---|---|---|---|"]
    for task, name, own in by_algorithm(path):
        cells = [mean_cell(own, measure) for measure in ("before", "dip", "after", "regret")]
        lines.append(f"| {task} | {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@table_options(TASKS, RESULTS)
@click.option("--offline", default=5_000, show_default=True, help="Updates on the data alone.")
@click.option("--online", default=5_000, show_default=True, help="Environment steps.")
@click.option("--episodes", default=10, show_default=True, help="Of each evaluation.")
def main(
    tasks: tuple[str, ...],
    names: tuple[str, ...],
    seeds: int,
    offline: int,
    online: int,
    episodes: int,
    out: Path,
    shows: bool,
) -> None:
    """Measure what going online does to scores."""
    if not shows:
        for task in tasks or TASKS:
            for name in (name for name in TASKS[task][2] if not names or name in names):
                if missing := missing_seeds(out, task, name, seeds):
                    append_rows(out, COLUMNS, runs(task, name, missing, offline, online, episodes))
    click.echo(table(out))


if __name__ == "__main__":
    main()
