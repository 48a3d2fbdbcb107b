"""Offline fitness against exact values on ICU-Sepsis: does it rank policies, and does its interval hold the truth?

    python benchmarks/evolution_icu.py ../shared/data/icu_sepsis/dynamics.npz --csv benchmarks/results/evolution_icu.csv

Data are episodes of ten behaviours, the clinicians tilted from death to survival. Thirty policies are trained once: ten
cloned, ten of discrete CQL, ten of discrete BCQ, one of each by each behaviour's episodes, of 0 to `--updates` updates
in a drawn order. Each of `--runs` draws new episodes of all behaviours; one judge ranks all thirty by its lower bound
on one half of them, and the best is reported by the second judge on the other half. A row has the rank correlation of
fitness with the exact values that linear algebra gives, the winner's reported value, its interval, and its exact value.
Rows that the CSV has are not run again. Networks see the number of a state through a table of features; gamma is 1.

The judge is `OfflineFitness` with one change: its fits are where fitted Q evaluation on a table of states and actions
settles, which linear algebra gives at once. `--fqe-steps` takes so many updates of networks instead.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import torch
from gymnasium import spaces
from ope_icu import Floats, Problem, tilted
from scipy import stats
from shared import csv_option, show, write
from torch import Tensor, nn

from offlinekit.algos import DiscreteBC, DiscreteBCQ, DiscreteCQL
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.nn.encoders import ModuleEncoder
from offlinekit.sampling.policy_table import Choices
from offlinekit.sweeps import OfflineFitness
from offlinekit.types import Array

N_STATES = 716
FRONTS = (DiscreteBC, DiscreteCQL, DiscreteBCQ)
WIDTHS = {"run": 4, "correlation": 12, "reported": 9, "low": 8, "high": 8, "exact": 8, "best_exact": 11}
TILTS = 40.0  # Of the behaviours, as `tilted` takes them, from minus to plus.
HELD_OUT = 0.98  # Of the episodes of a run: all policies have learned before.
PRIOR = 0.5  # Visits of a state that count for each of its actions, so that one not seen is worth what others are.
FITS = {"batch_size": 256, "learning_rate": 0.03, "tau": 0.1}


@click.command(help=__doc__.split("\n")[0])
@click.argument("dynamics", type=click.Path(exists=True, path_type=Path))
@click.option("--runs", default=20)
@click.option("--episodes", default=3_000, help="Of each behaviour in each run.")
@click.option("--learned", default=1_000, help="Of each behaviour, that policies learn from.")
@click.option("--updates", default=20_000, help="Of the policy that takes most.")
@click.option("--each", default=10, help="Policies of each algorithm, and behaviours.")
@click.option("--fqe-steps", type=int, help="Judge by networks of so many updates each.")
@csv_option
def main(
    dynamics: Path,
    runs: int,
    episodes: int,
    learned: int,
    updates: int,
    each: int,
    fqe_steps: int | None,
    path: Path | None,
) -> None:
    """Runs the rows that the CSV lacks, and prints how often the interval holds the truth."""
    problem = Problem.load(dynamics)
    rows = list(csv.DictReader(path.open())) if path is not None and path.exists() else []
    behaviours = [tilted(problem, tilt) for tilt in np.linspace(-TILTS, TILTS, each)]
    members = trained(problem, behaviours, learned, updates) if len(rows) < runs else []
    exact = [problem.truth(table(member, problem)) for member in members]
    for run in range(len(rows), runs):
        fitness = (OfflineFitness if fqe_steps else TableFitness)(
            held_out=HELD_OUT,
            n_steps=fqe_steps,
            gamma=1.0,
            max_distance=1e9,  # Numbers of states are no places.
            fit_settings={"encoder": encoder(), **FITS},
        )
        fitness.prepare(drawn(problem, behaviours, episodes, 1 + run), run)
        row = {"run": str(run), **measured(members, exact, fitness)}
        rows.append(row)
        show(rows[-1:], WIDTHS, head=run == 0)
        write(path, rows)
    held = [float(row["low"]) <= float(row["exact"]) <= float(row["high"]) for row in rows]
    correlations = [float(row["correlation"]) for row in rows]
    click.echo(
        f"correlation {np.mean(correlations):.2f} (lowest {min(correlations):.2f}), interval held in {sum(held)} of "
        f"{len(held)}"
    )


def measured(members: list[Algo], exact: list[float], fitness: OfflineFitness) -> dict[str, str]:
    """Returns the row of one draw of episodes."""
    scores = [verdict.fitness for verdict in fitness.judge(members, 1)]
    best = int(np.argmax(scores))
    reported = fitness.report(members[best])
    figures = {
        "correlation": stats.spearmanr(scores, exact).statistic,
        "reported": reported.value,
        "low": reported.low,
        "high": reported.high,
        "exact": exact[best],
        "best_exact": max(exact),
    }
    return {name: f"{value:.4f}" for name, value in figures.items()}


def trained(problem: Problem, behaviours: list[Floats], episodes: int, updates: int) -> list[Algo]:
    """Returns the policies of each algorithm, by behaviour."""
    members: list[Algo] = []
    lengths = np.append(0, np.geomspace(min(50, updates), updates, len(behaviours) - 1)).round().astype(int)
    np.random.default_rng(0).shuffle(lengths)
    for number, behaviour in enumerate(behaviours):
        data = problem.draw(behaviour, episodes, np.random.default_rng([0, number]))
        for front in FRONTS:
            settings = {"gamma": 1.0, "batch_size": 64, "learning_rate": 1e-2, "encoder": encoder()}
            algo = front(seed=number, **settings).build(data)
            if lengths[number]:
                algo.fit(data, int(lengths[number]), out=None, progress=False, value_alarm="off")
            members.append(algo)
    return members


def drawn(problem: Problem, behaviours: list[Floats], episodes: int, seed: int) -> MDPDataset:
    """Returns episodes of all behaviours."""
    parts = [problem.draw(b, episodes, np.random.default_rng([seed, i])) for i, b in enumerate(behaviours)]
    return parts[0].concat(*parts[1:])


class TableFit:
    """Where fitted Q evaluation of a policy settles, with weights of episodes: the value in a model counted from data.

    Args:
        actions: Of the policy, by state.
        data: Episodes that end.
        weights: Of the episodes.
    """

    gamma, scaling = 1.0, SimpleNamespace(reward=None)

    def __init__(self, actions: Array, data: MDPDataset, weights: Floats) -> None:
        n, rows = len(actions), np.repeat(weights, data.episode_lengths())
        states, ends = data.observations[:, 0].astype(int), data.terminals.astype(bool)
        self.starts, self.weights = states[data.episode_starts], weights
        average = PRIOR / np.maximum(np.bincount(states, rows, n), 1e-9)[states]
        weight = rows * ((data.actions == actions[states]) + average)
        visits = np.maximum(np.bincount(states, weight, n), 1e-9)
        cells = states[~ends] * n + np.roll(states, -1)[~ends]
        moves = np.bincount(cells, weight[~ends], n * n).reshape(n, n) / visits[:, None]
        rewards = np.bincount(states, weight * data.rewards, n) / visits
        self.values: Floats = np.linalg.solve(np.eye(n) - moves, rewards)

    def start_value(self, data: MDPDataset) -> float:
        """Returns the mean value of the first states."""
        return float(np.average(self.values[self.starts], weights=self.weights))


class TableFitness(OfflineFitness):
    """Offline fitness whose fits have settled."""

    def _fits(self, members: Sequence[Algo], data: MDPDataset, seed: int, n: int) -> list[list[Any]]:
        episodes = data.n_episodes
        drawn = np.random.default_rng(seed).multinomial(episodes, np.full(episodes, 1 / episodes), n)
        weights = [np.ones(episodes), *drawn.astype(np.float64)]
        states = np.arange(N_STATES, dtype=np.float32)[:, None]
        return [[TableFit(member.predict(states), data, each) for each in weights] for member in members]


class States(nn.Module):
    """A table of features of states, [B, 1] -> [B, 16]."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.features = nn.Embedding(N_STATES, 16)

    def forward(self, numbers: Tensor) -> Tensor:
        """Returns the features of numbers of states."""
        found: Tensor = self.features(numbers[..., 0].to(torch.int64))
        return found


def encoder() -> ModuleEncoder:
    """Returns the encoder of all networks."""
    return ModuleEncoder(create=States, name="states")


def table(member: Algo, problem: Problem) -> Floats:
    """Returns what a policy does, as fits evaluate it: probabilities [S, A]."""
    states = np.arange(len(problem.starts), dtype=np.float32)[:, None]
    probabilities: Floats = Choices(member, member.impl.action_space).at(states).astype(np.float64)
    return probabilities


if __name__ == "__main__":
    main()
