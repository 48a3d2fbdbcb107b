"""Runs of full length beside published scores: one command a row, resumable.

    offlinekit datasets record maze2d-umaze                                   # or: python reproductions/record.py
    python reproductions/benchmark.py train maze2d-umaze td3_plus_bc --seed 0 --runs runs/benchmark
    python reproductions/benchmark.py select maze2d-umaze --seed 0 --runs runs/benchmark

`train` takes the preset of the dataset that the recording stands for, goes on where an earlier call was stopped, and
scores the last policy, never the best. `select` estimates all policies of a task and seed from the data alone, and says
which of them offlinekit would deploy. Rows go to reproductions/benchmark*.csv; what stands there is not run again.
"""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import offlinekit
from offlinekit.algos import catalogue
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.datasets.recording.recipes import RECIPES
from offlinekit.datasets.sources import d4rl
from offlinekit.io import atomic_write
from offlinekit.metrics import evaluate
from offlinekit.metrics.ope.selection import select as select_policy
from offlinekit.training.run_folder import environment

FOLDER = Path(__file__).parent
TASKS = [name for name, recipe in RECIPES.items() if recipe.stands_for in d4rl.table()]
"""Those that published presets are for."""
ALGOS = ("bc", "percent_bc", "td3_plus_bc", "iql", "awac", "rebrac")
EPISODES = 100
FIRST_SEED = 10_000
"""Of the episodes that score a policy."""
KEYS = {"benchmark": ("task", "algo", "seed"), "benchmark_episodes": ("task", "algo", "seed", "episode")}
KEYS["benchmark_selection"] = ("task", "seed", "algo")
Row = dict[str, Any]


def rows_of(table: str, folder: Path) -> list[Row]:
    """Returns the rows of a table, none if it is not there."""
    path = folder / f"{table}.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def key_of(table: str, row: Row) -> tuple[Any, ...]:
    """Returns what tells a row from the others of its table, numbers as numbers."""
    return tuple(int(row[name]) if str(row[name]).isdigit() else str(row[name]) for name in KEYS[table])


def add(table: str, folder: Path, new: list[Row]) -> None:
    """Writes rows to a table in place of those of the same key, in the order of keys."""
    rows = {key_of(table, row): row for row in [*rows_of(table, folder), *new]}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / f"{table}.csv") as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


def has(table: str, folder: Path, **values: object) -> bool:
    """Returns whether a table has a row with these values."""
    return any(all(row[k] == str(v) for k, v in values.items()) for row in rows_of(table, folder))


def commit() -> str:
    """Returns the commit of the code, with "+" if files differ from it; empty outside a clone."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=FOLDER, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def run_folder(runs: Path, task: str, algo: str, seed: int) -> Path:
    """Returns the folder of one row, in which its run makes its own."""
    return runs / f"{task}_{algo}_seed{seed}"


def trained(dataset: MDPDataset, algo: str, seed: int, n_steps: int, out: Path) -> tuple[Algo, float]:
    """Trains by the published settings, or goes on; returns the algorithm and the seconds of all calls together."""
    finished = sorted(out.glob("*/policy.okt"))
    spent = out / "seconds"
    before = float(spent.read_text()) if spent.exists() else 0.0
    if finished:
        return offlinekit.load(finished[-1]), before
    front = catalogue()[algo].preset(RECIPES[dataset.name].stands_for, seed=seed, device="cpu")
    began = time.perf_counter()
    try:
        front.fit(
            dataset,
            n_steps,
            out=out,
            resume="auto",
            checkpoint_interval=max(n_steps // 50, 1),
            preemptible=True,
        )
    finally:
        out.mkdir(parents=True, exist_ok=True)
        spent.write_text(str(before + time.perf_counter() - began))
    return front, float(spent.read_text())


def row_of(dataset: MDPDataset, algo: Algo, seconds: float, returns: Iterable[float]) -> Row:
    """Returns the row of a trained policy."""
    made, where = dataset.metadata, environment(torch.device("cpu"))
    preset = type(algo).presets()[RECIPES[dataset.name].stands_for]
    scores = dataset.normalized_score(np.array(list(returns)))
    error = float(scores.std(ddof=1) / len(scores) ** 0.5) if len(scores) > 1 else 0.0
    settings = {"n_steps": algo.grad_step, **preset.hyperparameters}
    return {
        **{"task": dataset.name, "algo": algo.catalogue_name(), "seed": algo.seed, "n_steps": algo.grad_step},
        **{"score": f"{scores.mean():.2f}", "standard_error": f"{error:.2f}"},
        **{"episodes": len(scores), "seconds": round(seconds), "stands_for": made["stands_for"]},
        **{"data": fingerprint(dataset), "recorded_with": json.dumps(made["versions"])},
        **{"settings": json.dumps(settings), "commit": commit(), "torch": where["versions"]["torch"]},
        **{"machine": f"{where['processor']}, {where['threads']} thread"},
    }


def train_row(task: str, algo: str, seed: int, n_steps: int, runs: Path, results: Path, episodes: int) -> Row:
    """Trains and scores one policy, writes its row and episodes, and returns the row."""
    dataset, env = get_dataset(f"recorded/{task}")
    front, seconds = trained(dataset, algo, seed, n_steps, run_folder(runs, task, algo, seed))
    scored = evaluate(front, env, episodes, seed=FIRST_SEED)
    row = row_of(dataset, front, seconds, scored.returns.tolist())
    name = {"task": task, "algo": algo, "seed": seed}
    played = zip(scored.returns.tolist(), scored.lengths.tolist(), strict=True)
    add(
        "benchmark_episodes",
        results,
        [{**name, "episode": i, "return": f"{r:.6g}", "length": n} for i, (r, n) in enumerate(played)],
    )
    add("benchmark", results, [row])
    return row


def select_rows(task: str, seed: int, runs: Path, results: Path, n_steps: int | None) -> list[Row]:
    """Estimates the finished policies of a task and seed from its data, writes the rows and returns them."""
    dataset, _ = get_dataset(f"recorded/{task}")
    policies = {
        algo: offlinekit.load(path)
        for algo in ALGOS
        for path in sorted(run_folder(runs, task, algo, seed).glob("*/policy.okt"))
    }
    if not policies:
        raise click.UsageError(
            f"no run of {task} with seed {seed} is finished below {runs}; train some first"
        )
    began = time.perf_counter()
    found = select_policy(policies, dataset, n_resamples=3, n_steps=n_steps, seed=seed)
    seconds = round(time.perf_counter() - began)
    rows = [
        {
            **{"task": task, "seed": seed, "algo": each.name, "value": f"{each.value:.4g}"},
            **{"standard_error": f"{each.standard_error:.3g}", "behaviour": f"{found.behaviour:.4g}"},
            **{"gain": f"{each.gain:.4g}", "lower_bound": f"{each.lower_bound:.4g}"},
            **{"held_back": each.held_back, "chosen": found.chosen or "", "reason": found.reason},
            **{"candidates": len(policies), "seconds": seconds, "commit": commit()},
        }
        for each in found.candidates
    ]
    add("benchmark_selection", results, rows)
    return rows


runs_option = click.option(
    "--runs",
    default=Path("runs/benchmark"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Run folders.",
)
results_option = click.option(
    "--results",
    default=FOLDER,
    type=click.Path(path_type=Path),
    help="Folder of the CSV files.  [default: beside this]",
)
seed_option = click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))


@click.group()
def main() -> None:
    """Trains and scores what the table of docs/results.md shows."""


@main.command()
@click.argument("task", type=click.Choice(TASKS))
@click.argument("algo", type=click.Choice(ALGOS))
@seed_option
@click.option(
    "--steps", "n_steps", default=500_000, show_default=True, type=click.IntRange(min=1), help="Updates."
)
@click.option(
    "--episodes", default=EPISODES, show_default=True, type=click.IntRange(min=1), help="That score it."
)
@runs_option
@results_option
def train(task: str, algo: str, seed: int, n_steps: int, episodes: int, runs: Path, results: Path) -> None:
    """Trains ALGO on TASK, or goes on; writes its row."""
    if has("benchmark", results, task=task, algo=algo, seed=seed, n_steps=n_steps):
        click.echo(f"{task} {algo} seed {seed}: stands there")
        return
    row = train_row(task, algo, seed, n_steps, runs, results, episodes)
    click.echo(
        f"{task} {algo} seed {seed}: {row['score']} +- {row['standard_error']} in {row['seconds']:,} s"
    )


@main.command()
@click.argument("task", type=click.Choice(TASKS))
@seed_option
@click.option(
    "--steps", "n_steps", type=click.IntRange(min=1), help="Updates of each fit.  [default: until settled]"
)
@runs_option
@results_option
def select(task: str, seed: int, n_steps: int | None, runs: Path, results: Path) -> None:
    """Estimates the policies of TASK from its data and chooses one to deploy, or none."""
    for row in select_rows(task, seed, runs, results, n_steps):
        click.echo(
            f"{task} {row['algo']}: value {row['value']}, gain at least {row['lower_bound']} {row['held_back']}"
        )
    click.echo(row["reason"])


if __name__ == "__main__":
    main()
