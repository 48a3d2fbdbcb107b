"""Every algorithm against the data and behaviour cloning on the embedded datasets, over seeds.

    python reproductions/catalogue.py                             # all algorithms, 5 seeds, about two hours
    python reproductions/catalogue.py --dataset cartpole-mixed --algo iql --algo discrete_iql --seeds 2

All have the same small networks and learning rates, and their own defaults in the rest but for SETTINGS below, which
scale a hyperparameter to the returns of these tasks. Writes one line a seed to reproductions/catalogue.csv and prints
a table: the mean final return over seeds with its 95% bootstrap interval.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from offlinekit.algos import MLPEncoder, catalogue
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.metrics import RandomPolicy, bootstrap_interval, evaluate, mean

RESULTS = Path(__file__).with_suffix(".csv")
SMALL = MLPEncoder((64, 64))
NETWORKS = ("encoder", "critic_encoder", "vae_encoder")
RATES = (
    "learning_rate",
    "actor_learning_rate",
    "critic_learning_rate",
    "value_learning_rate",
    "vae_learning_rate",
)
COMMON: dict[str, Any] = {
    **dict.fromkeys(NETWORKS, SMALL),
    **dict.fromkeys(RATES, 1e-3),
    "batch_size": 128,
    "lr_schedule": "cosine",
    "n_candidates": 16,
    "flow_steps": 5,
    **{"context": 10, "n_layers": 1, "n_heads": 1, "width": 32},
}
TASKS: dict[str, tuple[int, dict[str, Any]]] = {
    "cartpole-mixed": (10_000, {"n_step": 5}),
    "lunarlander-mixed": (15_000, {"n_step": 3, "target_update_interval": 1, "tau": 0.01}),
    "pendulum-mixed": (
        10_000,
        {
            "reward_scaler": "standard",
            "observation_scaler": "standard",
            "critic_encoder": MLPEncoder((64, 64), layer_norm=True),
            "warmup_steps": 2_000,
        },
    ),
}
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("cartpole-mixed", "discrete_decision_transformer"): {"return_scale": 100.0, "n_step": 1},
    ("lunarlander-mixed", "discrete_cql"): {"alpha": 0.5},
    ("lunarlander-mixed", "discrete_decision_transformer"): {"return_scale": 100.0, "n_step": 1},
    ("pendulum-mixed", "decision_transformer"): {"return_scale": 1_000.0, "reward_scaler": None},
    ("pendulum-mixed", "td3_plus_bc"): {"alpha": 10.0},
    ("pendulum-mixed", "fql"): {"alpha": 1.0},  # 10 weighs cloning above rewards of this scale.
    ("pendulum-mixed", "qc_fql"): {"alpha": 1.0},
    ("pendulum-mixed", "redq"): {"policy_delay": 1},  # 20 leave 500 steps of the policy in 10,000 updates.
    ("pendulum-mixed", "idql"): {"expectile": 0.9},  # As IFQL's.
    ("pendulum-mixed", "msg"): {"n_critics": 16},
    ("pendulum-mixed", "lbsac"): {"batch_size": 1_024},
    ("pendulum-mixed", "uwac"): {"n_passes": 10},
    ("pendulum-mixed", "crr"): {"n_critics": 2, "tau": 0.005, "target_update_interval": 1},
}
COLUMNS = ("dataset", "algo", "seed", "return_mean", "n_steps", "hyperparameters")
EPISODES = 50


def hyperparameters(name: str, dataset: str) -> dict[str, Any]:
    """Returns what an algorithm is trained with on a dataset, of those that it has."""
    known = catalogue()[name].hyperparameters()
    wanted = {**COMMON, **TASKS[dataset][1]}
    return {**{k: v for k, v in wanted.items() if k in known}, **SETTINGS.get((dataset, name), {})}


def train(dataset: MDPDataset, env: Any, name: str, seeds: int) -> list[float]:
    """Trains the seeds of one algorithm; returns the mean return of each one's last policy."""
    n_steps = TASKS[dataset.name][0]
    front = catalogue()[name](seed=0, **hyperparameters(name, dataset.name))
    members: list[Algo] = front.fit(dataset, n_steps, seeds=seeds, out=None, progress=False).algos
    return [evaluate(member, env, EPISODES, seed=10_000).mean for member in members]


def run(dataset_name: str, names: tuple[str, ...], seeds: int) -> Iterator[list[dict[str, Any]]]:
    """Trains the algorithms that a dataset's actions admit and yields the rows of one after another, one a seed."""
    dataset, env = get_dataset(dataset_name)
    kind = "discrete" if hasattr(dataset.action_space, "n") else "continuous"
    for name, front in sorted(catalogue().items()):
        if front.action_kind != kind or (names and name not in names):
            continue
        began = time.perf_counter()
        scores = train(dataset, env, name, seeds)
        shown = ", ".join(f"{score:.0f}" for score in scores)
        click.echo(f"{dataset_name} {name}: {shown} ({time.perf_counter() - began:.0f} s)")
        given = ";".join(f"{k}={v}" for k, v in SETTINGS.get((dataset_name, name), {}).items())
        rest = (TASKS[dataset_name][0], given)
        yield [
            dict(zip(COLUMNS, (dataset_name, name, seed, score, *rest), strict=True))
            for seed, score in enumerate(scores)
        ]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as Markdown, the best of each dataset first: mean over seeds with a 95% bootstrap interval."""
    lines = []
    for name in dict.fromkeys(row["dataset"] for row in rows):
        behaviour, chance = references(name)
        lines += [f"\n{name}: behaviour {behaviour:.0f}, random {chance:.0f}\n"]
        lines += ["| algorithm | final return, mean of seeds [95% interval] |", "|---|---|"]
        scores: dict[str, list[float]] = {}
        for row in rows:
            if row["dataset"] == name:
                scores.setdefault(row["algo"], []).append(float(row["return_mean"]))
        for algo, values in sorted(scores.items(), key=lambda item: -mean(item[1])):
            lines.append(f"| {algo} | {summary(values)} |")
    return "\n".join(lines)


def references(name: str) -> tuple[float, float]:
    """Returns the mean return of a dataset's behaviour and of a random policy."""
    dataset, env = get_dataset(name)
    chance = evaluate(RandomPolicy(dataset.action_space), env, EPISODES).mean
    return mean(dataset.episode_returns()), chance


def summary(scores: list[float]) -> str:
    """Returns the mean over seeds with its 95% bootstrap interval."""
    low, high = bootstrap_interval(scores)
    return f"{mean(scores):.0f} [{low:.0f}, {high:.0f}]"


def kept(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a CSV file, none where it is not there."""
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def keep(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@click.command()
@click.option("--dataset", "datasets", multiple=True, type=click.Choice(list(TASKS)), help="Default: all.")
@click.option("--algo", "names", multiple=True, type=click.Choice(sorted(catalogue())), help="Default: all.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Seeds 0 to N - 1.")
@click.option("--out", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="CSV file.")
def main(datasets: tuple[str, ...], names: tuple[str, ...], seeds: int, out: Path) -> None:
    """Trains, keeps the results as CSV and prints the table."""
    rows = kept(out)
    for new in chain.from_iterable(run(dataset, names, seeds) for dataset in datasets or TASKS):
        made = (new[0]["dataset"], new[0]["algo"])
        rows = [row for row in rows if (row["dataset"], row["algo"]) != made] + new
        keep(out, sorted(rows, key=lambda row: (row["dataset"], row["algo"], int(row["seed"]))))
    click.echo(table(rows))


if __name__ == "__main__":
    main()
