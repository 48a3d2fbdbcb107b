"""Evolution against a plain random sweep of equal budget: who finds better settings, by fitness and by truth?

    python benchmarks/evolution_sweep.py --csv benchmarks/results/evolution_sweep.csv

Both have `--members` algorithms of `--generations` times `--steps` updates each. Evolution moves settings and networks
between generations; the sweep draws settings once, trains to the end and takes the best by the same judge. The truth
is the mean return of the winner in 50 episodes of the environment. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import numpy as np
from shared import csv_option, show, write

from offlinekit.algos import DiscreteCQL, TD3PlusBC
from offlinekit.core.algo import Algo
from offlinekit.datasets import get_dataset
from offlinekit.envs.evaluation import evaluate
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sweeps import Evolution, OfflineFitness, Range

METHODS = ("evolution", "sweep")
DATA = ("cartpole-mixed", "lunarlander-mixed", "pendulum-mixed")
WIDTHS = {"data": 18, "method": 10, "seed": 4, "fitness": 9, "reported": 9, "truth": 9}
SEARCH = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "critic_learning_rate": Range(1e-4, 1e-2, log=True),
    "alpha": Range(0.1, 10, log=True),
}


@click.command(help=__doc__.split("\n")[0])
@click.option("--data", "names", multiple=True, default=DATA, help="Dataset; may be repeated.")
@click.option("--seeds", default=3)
@click.option("--members", default=6)
@click.option("--generations", default=4)
@click.option("--steps", default=500, help="Updates of each member in a generation.")
@click.option("--judge-steps", default=1_000, help="Updates of each fit of the judge.")
@csv_option
def main(
    names: tuple[str, ...],
    seeds: int,
    members: int,
    generations: int,
    steps: int,
    judge_steps: int,
    path: Path | None,
) -> None:
    """Runs the rows that the CSV lacks."""
    rows = list(csv.DictReader(path.open())) if path is not None and path.exists() else []
    for seed in range(seeds):
        for data in names:
            for method in METHODS:
                key = {"data": data, "method": method, "seed": str(seed)}
                if any(key.items() <= row.items() for row in rows):
                    continue
                whole = (generations, steps) if method == "evolution" else (1, generations * steps)
                rows.append({**key, **measured(data, seed, members, *whole, judge_steps)})
                show(rows[-1:], WIDTHS, head=len(rows) == 1)
                write(path, rows)
    for data in names:
        for column in ("fitness", "truth"):
            means = [
                np.mean([float(row[column]) for row in rows if (row["data"], row["method"]) == (data, m)])
                for m in METHODS
            ]
            click.echo(f"{data}, mean {column}: evolution {means[0]:.2f}, sweep {means[1]:.2f}")


def measured(
    data: str, seed: int, members: int, generations: int, steps: int, judge_steps: int
) -> dict[str, str]:
    """Returns fitness, reported value and true return of the winner of one run."""
    dataset, env = get_dataset(data)
    algo = first(hasattr(dataset.action_space, "n"), seed)
    search = {name: space for name, space in SEARCH.items() if hasattr(algo, name)}
    evolution = Evolution(search=search, seed=seed)
    *_, last = evolution.fitter(
        evolution.population(algo, members),
        dataset,
        generations=generations,
        steps=steps,
        fitness=OfflineFitness(n_steps=judge_steps),
        out=None,
        progress=False,
    )
    truth = evaluate(last.evolved.winner, env, 50, seed=20_000).mean
    figures = {
        "fitness": last.rows[last.best].fitness,
        "reported": last.evolved.reported.value,
        "truth": truth,
    }
    return {name: f"{value:.3f}" for name, value in figures.items()}


def first(is_discrete: bool, seed: int) -> Algo:
    """Returns the algorithm that a population begins with."""
    settings = {"seed": seed, "encoder": MLPEncoder((64, 64))}
    if is_discrete:
        return DiscreteCQL(**settings, learning_rate=1e-3)
    return TD3PlusBC(**settings, critic_learning_rate=1e-3)


if __name__ == "__main__":
    main()
