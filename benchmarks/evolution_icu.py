"""Offline fitness against exact values on ICU-Sepsis: does it rank policies, and does its interval hold the truth?

    python benchmarks/evolution_icu.py ../shared/data/icu_sepsis/dynamics.npz --csv benchmarks/results/evolution_icu.csv

Each of `--runs` draws episodes of the clinicians' policy and trains thirty policies on one part: ten cloned, ten of
discrete CQL, ten of discrete BCQ, of 0 to `--updates` updates. One judge ranks them all by its lower bound on held-out
episodes; the best is reported by the second judge. A row has the rank correlation of fitness with the exact values that
linear algebra gives, the winner's reported value, its interval, and its exact value. Rows that the CSV has are not run
again. States are one-hot; gamma is 1.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import numpy as np
from ope_icu import Floats, Problem
from scipy import stats
from shared import csv_option, show, write

from offlinekit.algos import DiscreteBC, DiscreteBCQ, DiscreteCQL, Population
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sweeps import OfflineFitness

FRONTS = (DiscreteBC, DiscreteCQL, DiscreteBCQ)
WIDTHS = {"run": 4, "correlation": 12, "reported": 9, "low": 8, "high": 8, "exact": 8, "best_exact": 11}


@click.command(help=__doc__.split("\n")[0])
@click.argument("dynamics", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=20)
@click.option("--episodes", default=2_000)
@click.option("--updates", default=20_000)
@click.option("--each", default=10, help="Policies of each algorithm.")
@click.option("--judge-steps", type=int, help="Updates of each fit; by default as many as values need.")
@csv_option
def main(
    dynamics: Path,
    runs: int,
    episodes: int,
    updates: int,
    each: int,
    judge_steps: int | None,
    path: Path | None,
) -> None:
    """Runs the rows that the CSV lacks, and prints how often the interval holds the truth."""
    problem = Problem.load(dynamics)
    rows = list(csv.DictReader(path.open())) if path is not None and path.exists() else []
    for run in range(len(rows), runs):
        row = measured(problem, run, episodes, updates, each, judge_steps)
        rows.append({name: str(value) for name, value in row.items()})
        show(rows[-1:], WIDTHS, head=run == 0)
        write(path, rows)
    held = [float(row["low"]) <= float(row["exact"]) <= float(row["high"]) for row in rows]
    correlations = [float(row["correlation"]) for row in rows]
    click.echo(f"correlation {np.mean(correlations):.2f}, interval held in {sum(held)} of {len(held)}")


def measured(
    problem: Problem, run: int, episodes: int, updates: int, each: int, judge_steps: int | None
) -> dict[str, object]:
    """Returns the row of one draw of episodes."""
    dataset = one_hot(problem.draw(problem.clinicians, episodes, np.random.default_rng(run)), problem)
    fitness = OfflineFitness(n_steps=judge_steps, gamma=1.0, max_distance=1e9)
    learned = fitness.prepare(dataset, run)
    members = trained(learned, run, updates, each)
    verdicts = fitness.judge(members, 1)
    exact = [problem.truth(table(member, problem)) for member in members]
    best = int(np.argmax([verdict.fitness for verdict in verdicts]))
    reported = fitness.report(members[best])
    correlation = stats.spearmanr([verdict.fitness for verdict in verdicts], exact).statistic
    figures = {"reported": reported.value, "low": reported.low, "high": reported.high}
    figures |= {"exact": exact[best], "best_exact": max(exact)}
    return {
        "run": run,
        "correlation": round(float(correlation), 4),
        **{n: round(float(v), 4) for n, v in figures.items()},
    }


def trained(dataset: MDPDataset, run: int, updates: int, each: int) -> list[Algo]:
    """Returns policies of each algorithm, the first of 0 updates and the last of all."""
    members: list[Algo] = []
    for front in FRONTS:
        algos = [
            front(seed=100 * run + i, gamma=1.0, batch_size=256, encoder=MLPEncoder((64,)))
            for i in range(each)
        ]
        for algo in algos:
            algo.build(dataset)
        ends = np.linspace(0, updates, each).round().astype(int)
        for index in range(1, each):
            Population(algos[index:]).fit(
                dataset, int(ends[index] - ends[index - 1]), out=None, progress=False, value_alarm="off"
            )
        members += algos
    return members


def one_hot(dataset: MDPDataset, problem: Problem) -> MDPDataset:
    """Returns the dataset with states as vectors of which one entry is 1."""
    eye = np.eye(len(problem.starts), dtype=np.float32)
    return MDPDataset(
        eye[dataset.observations[:, 0].astype(int)],
        dataset.actions,
        dataset.rewards,
        dataset.terminals,
        action_space=dataset.action_space,
        final_observations=eye[dataset.final_observations[:, 0].astype(int)],
        name="icu-sepsis",
    )


def table(member: Algo, problem: Problem) -> Floats:
    """Returns the greedy policy as probabilities [S, A]."""
    states = np.eye(len(problem.starts), dtype=np.float32)
    policy: Floats = np.eye(problem.clinicians.shape[1])[member.predict(states)]
    return policy


if __name__ == "__main__":
    main()
