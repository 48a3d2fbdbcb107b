"""The known example of evolution, here and with AgileRL 2.58: a population of four on cartpole data.

    python benchmarks/evolution.py ../shared/data/d3rlpy_v1/cartpole_v1.1.0.h5 \
        --peer-python ../agile/bin/python --csv benchmarks/results/evolution.csv

Batch 128, learning rate 1e-3 in 1e-4..1e-2, gamma 0.99, tau 1e-3, hidden layers 32-32-32, tournaments of 2 with
elitism, mutations 0.4 / 0.2 / 0.2 / 0 / 0.2, one generation every 10,000 updates, until a return of 200 of 500 or the
last generation. Both rank by `--episodes` in the environment. Each library, target, number of episodes and seed is a
row, seeds in turn; rows that the CSV has are not run again. The clock starts with the first update, so that reading
the data does not count. `score` is the best return of the last agents over 20 episodes, `winner` that of the one which
evolution here hands over; AgileRL hands over all.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
from shared import csv_option, show, write

WIDTHS = {
    **{"library": 10, "target": 6, "episodes": 8, "seed": 4, "updates": 9, "seconds": 8},
    **{"per_second": 10, "fitness": 8, "score": 8, "winner": 8},
}
HERE = Path(__file__).parent


@click.command(help=__doc__.split("\n")[0])
@click.argument("data", type=click.Path(exists=True))
@click.option("--seeds", default=3)
@click.option("--steps", default=10_000, help="Updates of each member in a generation.")
@click.option("--generations", default=20)
@click.option("--target", default=200.0)
@click.option("--episodes", default=1, help="Of each agent in each generation, to rank by.")
@click.option("--algo", type=click.Choice(["discrete_cql", "cqn"]), default="discrete_cql", help="Ours.")
@click.option("--peer-python", type=click.Path(exists=True), help="Of an environment with agilerl and peft.")
@click.option("--worker", type=int, hidden=True, help="Run this seed here and print its row.")
@csv_option
def main(
    data: str,
    seeds: int,
    steps: int,
    generations: int,
    target: float,
    episodes: int,
    algo: str,
    peer_python: str | None,
    worker: int | None,
    path: Path | None,
) -> None:
    """Runs the rows that the CSV lacks, and prints the ratio of the rates."""
    if worker is not None:
        click.echo(json.dumps(ours(data, worker, steps, generations, target, episodes, algo)))
        return
    rows = list(csv.DictReader(path.open())) if path is not None and path.exists() else []
    common = [
        data,
        "--steps",
        steps,
        "--generations",
        generations,
        "--target",
        target,
        "--episodes",
        episodes,
    ]
    key = {"target": f"{target:g}", "episodes": str(episodes)}
    programs = {"offlinekit": [sys.executable, HERE / "evolution.py", *common, "--algo", algo, "--worker"]}
    if peer_python:
        programs["agilerl"] = [peer_python, HERE / "peer_agilerl.py", *common, "--seed"]
    for seed in range(seeds):
        for library, words in programs.items():
            named = {"library": library, **key, "seed": str(seed)}
            if not any(named.items() <= row.items() for row in rows):
                row = {**named, **run([*words, seed])}
                rows.append(row)
                show([row], WIDTHS, head=len(rows) == 1)
                write(path, rows)
    run_now = [row for row in rows if key.items() <= row.items()]
    means = {
        name: [float(row["per_second"]) for row in run_now if row["library"] == name] for name in programs
    }
    if all(means.values()) and len(means) == 2:
        mine, theirs = (sum(means[name]) / len(means[name]) for name in ("offlinekit", "agilerl"))
        click.echo(f"agent-updates a second: {mine:,.0f} and {theirs:,.0f}, ratio {mine / theirs:.1f}")


def run(words: list[object]) -> dict[str, str]:
    """Returns the row that a program prints last, run on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **threads},
    )
    return {name: str(value) for name, value in json.loads(done.stdout.strip().splitlines()[-1]).items()}


def ours(
    data: str, seed: int, steps: int, generations: int, target: float, episodes: int, algo: str
) -> dict[str, object]:
    """Runs the example with offlinekit."""
    from offlinekit.algos import get_algo
    from offlinekit.datasets import get_dataset
    from offlinekit.envs.evaluation import evaluate
    from offlinekit.nn.encoders import MLPEncoder
    from offlinekit.sweeps import EnvironmentFitness, Evolution, Range

    dataset, _ = get_dataset(data)
    evolution = Evolution(search={"learning_rate": Range(1e-4, 1e-2, log=True)}, seed=seed)
    algos = [
        get_algo(algo)(
            seed=seed + member,
            batch_size=128,
            learning_rate=1e-3,
            gamma=0.99,
            tau=1e-3,
            target_update_interval=1,
            td_loss="mse",
            clip_grad_norm=1.0,
            encoder=MLPEncoder((32, 32, 32)),
            device="cpu",
        )
        for member in range(4)
    ]
    fitness = EnvironmentFitness(env="CartPole-v1", n_episodes=episodes, n_reported=1)
    began = time.perf_counter()
    for generation in evolution.fitter(
        algos,
        dataset,
        generations=generations,
        steps=steps,
        fitness=fitness,
        target=target,
        out=None,
        progress=False,
    ):
        last, seconds = generation, time.perf_counter() - began
    scores = [evaluate(member, "CartPole-v1", 20, seed=10_000).mean for member in last.population]
    updates = last.number * steps * len(algos)
    return {
        "updates": updates,
        "seconds": round(seconds, 1),
        "per_second": round(updates / seconds),
        "fitness": round(last.rows[last.best].fitness, 1),
        "score": round(max(scores), 1),
        "winner": round(scores[last.evolved.number], 1),
    }


if __name__ == "__main__":
    main()
