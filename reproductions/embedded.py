"""Behaviour cloning against offline RL on the embedded datasets, over seeds.

    python reproductions/embedded.py                      # all rows, 5 seeds
    python reproductions/embedded.py --dataset cartpole-mixed --seeds 2

Writes one line a seed to reproductions/embedded.csv and prints a table: the mean final return over seeds
with its 95% bootstrap interval, beside the return of the data and of a random policy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import gymnasium
import torch
from catalogue import keep, kept, references, summary

from offlinekit.algos import get_algo
from offlinekit.core.algo import Algo
from offlinekit.datasets import get_dataset
from offlinekit.metrics import evaluate

RESULTS = Path(__file__).with_suffix(".csv")
FAST = {"learning_rate": 1e-3, "lr_schedule": "cosine", "n_step": 5}
STEADY = {**FAST, "n_step": 3, "target_update_interval": 1, "tau": 0.01}
SETTINGS: dict[str, list[tuple[str, int, dict[str, Any]]]] = {
    "cartpole-mixed": [
        ("DiscreteBC", 5_000, {}),
        ("DiscreteBCQ", 10_000, FAST),
        ("DiscreteCQL", 10_000, FAST),
    ],
    "lunarlander-mixed": [
        ("DiscreteBC", 5_000, {}),
        ("DiscreteBCQ", 15_000, STEADY),
        ("DiscreteCQL", 15_000, {**STEADY, "alpha": 0.5}),
    ],
    "pendulum-mixed": [
        ("BC", 5_000, {}),
        ("TD3PlusBC", 10_000, {"alpha": 10.0, "reward_scaler": "standard"}),
    ],
}
COLUMNS = ("dataset", "algo", "seed", "n_steps", "return_mean", "torch", "gymnasium")


def train(dataset_name: str, algo: str, n_steps: int, hyperparameters: dict[str, Any], seed: int) -> float:
    """Trains one seed and returns the mean return of its last policy over 50 episodes."""
    dataset, env = get_dataset(dataset_name)
    policy: Algo = get_algo(algo)(seed=seed, **hyperparameters)
    policy.fit(dataset, n_steps, out=None)
    return evaluate(policy, env, 50, seed=10_000).mean


def run(name: str, n_seeds: int) -> list[dict[str, Any]]:
    """Trains all settings of a dataset and returns one row a seed."""
    rows = []
    for algo, n_steps, hyperparameters in SETTINGS[name]:
        for seed in range(n_seeds):
            score = train(name, algo, n_steps, hyperparameters, seed)
            versions = (torch.__version__, gymnasium.__version__)
            rows.append(dict(zip(COLUMNS, (name, algo, seed, n_steps, score, *versions), strict=True)))
            click.echo(f"{name} {algo} seed {seed}: {score:.1f}")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as Markdown: mean over seeds with a 95% bootstrap interval."""
    lines = ["| dataset | random | behaviour | algorithm | final return, mean of seeds [95% interval] |"]
    lines.append("|---|---|---|---|---|")
    for name, algo in dict.fromkeys((row["dataset"], row["algo"]) for row in rows):
        behaviour, chance = references(name)
        scores = [float(r["return_mean"]) for r in rows if (r["dataset"], r["algo"]) == (name, algo)]
        lines.append(f"| {name} | {chance:.0f} | {behaviour:.0f} | {algo} | {summary(scores)} |")
    return "\n".join(lines)


@click.command()
@click.option("--dataset", "names", multiple=True, type=click.Choice(list(SETTINGS)), help="Default: all.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Seeds 0 to N - 1.")
def main(names: tuple[str, ...], seeds: int) -> None:
    """Trains every setting over seeds, keeps the results as CSV and prints the table."""
    rows = kept(RESULTS)
    for name in names or SETTINGS:
        rows = [row for row in rows if row["dataset"] != name] + run(name, seeds)
        keep(RESULTS, rows)
    click.echo(table(rows))


if __name__ == "__main__":
    main()
