"""Learning with and without legal actions on ICU-Sepsis, whose admissible treatments differ from state to state.

    python benchmarks/legal_icu.py ../shared/data/icu_sepsis/dynamics.npz --csv benchmarks/results/legal_icu.csv

Treatments that the clinicians never gave in a state are not admissible there: to order one loses the patient, as with
the strategy "terminate" of the environment. Data are episodes of admissible treatments alone, half of the decisions the
clinicians' and half uniform. Each algorithm learns from the same rows, once as they are and once with `legal_actions`;
linear algebra gives the exact probability of survival under its greedy policy. States are one-hot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from ope_icu import Floats, Problem
from shared import csv_option, show, write

from offlinekit.algos import DiscreteBC, DiscreteBCQ, DiscreteCQL, DoubleDQN
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope import exact_values
from offlinekit.nn.encoders import MLPEncoder

FRONTS: tuple[type[Algo], ...] = (DoubleDQN, DiscreteCQL, DiscreteBCQ, DiscreteBC)
WIDTHS = {"algorithm": 16, "legal_actions": 13, "seed": 4, "survival": 9, "illegal_orders": 14}
Flags = npt.NDArray[np.bool_]


@click.command(help=__doc__.split("\n")[0])
@click.argument("dynamics", type=click.Path(exists=True, path_type=Path))
@click.option("--episodes", default=2_000)
@click.option("--updates", default=4_000)
@click.option("--seeds", default=3)
@csv_option
def main(dynamics: Path, episodes: int, updates: int, seeds: int, path: Path | None) -> None:
    """Trains each algorithm on both data sets, and prints exact values beside those of the clinicians and the best."""
    problem = Problem.load(dynamics)
    legal = problem.clinicians > 1e-12
    rows = [dict(row) for row in references(problem, legal)]
    show(rows, WIDTHS)
    recorded = episodes_of(problem, legal, episodes)
    for front in FRONTS:
        for with_legal in (False, True):
            data = recorded if not with_legal else with_legal_actions(recorded, legal)
            made = front(gamma=0.99, learning_rate=1e-3, batch_size=128, encoder=MLPEncoder((64,)), seed=0)
            members = made.fit(data, updates, seeds=seeds, out=None, progress=False, value_alarm="off")
            for seed, member in enumerate(members):
                taken = greedy(member, legal, with_legal)
                found = {
                    "algorithm": front.__name__,
                    "legal_actions": "yes" if with_legal else "no",
                    "seed": seed,
                }
                rows.append({**found, **judged(problem, legal, taken)})
            show(rows[-seeds:], WIDTHS, head=False)
            write(path, rows)


def episodes_of(problem: Problem, legal: Flags, n: int) -> MDPDataset:
    """Returns n episodes of admissible treatments, with one-hot states."""
    uniform = legal / legal.sum(1, keepdims=True)
    drawn = problem.draw(0.5 * problem.clinicians + 0.5 * uniform, n, np.random.default_rng(0))
    states = np.asarray(drawn.observations)[:, 0].astype(int)
    return MDPDataset(
        np.eye(len(legal), dtype=np.float32)[states],
        drawn.actions,
        drawn.rewards,
        drawn.terminals,
        action_space=drawn.action_space,
    )


def with_legal_actions(data: MDPDataset, legal: Flags) -> MDPDataset:
    """Returns the same rows with the admissible treatments of each."""
    states = np.asarray(data.observations)
    return MDPDataset(
        states,
        data.actions,
        data.rewards,
        data.terminals,
        action_space=data.action_space,
        legal_actions=legal[states.argmax(1)],
    )


def greedy(algo: Algo, legal: Flags, with_legal: bool) -> npt.NDArray[np.int64]:
    """Returns the treatment of each state."""
    states = np.eye(len(legal), dtype=np.float32)
    taken: npt.NDArray[np.int64] = algo.predict(states, legal_actions=legal if with_legal else None)
    return taken


def judged(problem: Problem, legal: Flags, taken: npt.NDArray[np.int64]) -> dict[str, object]:
    """Returns the exact probability of survival, and of an order that is not admissible in an episode."""
    policy = np.eye(legal.shape[1])[taken]
    moves, rewards = problem.moves * legal[:, :, None], problem.rewards * legal
    survival = float(problem.starts @ exact_values(moves, rewards, policy, 1.0)[0])
    ordered = float(problem.starts @ exact_values(moves, (~legal).astype(float), policy, 1.0)[0])
    return {"survival": round(survival, 4), "illegal_orders": round(ordered, 4)}


def references(problem: Problem, legal: Flags) -> Iterator[dict[str, object]]:
    """Yields the rows of the clinicians, of admissible treatments at random, and of the best policy."""
    best = np.zeros(len(legal))
    for _ in range(1_000):
        values = np.where(legal, problem.rewards + problem.moves @ best, -np.inf)
        best = values.max(1)
    named: dict[str, Floats] = {
        "clinicians": problem.clinicians,
        "admissible": legal / legal.sum(1, keepdims=True),
        "optimum": np.eye(legal.shape[1])[values.argmax(1)],
    }
    for name, policy in named.items():
        row = {"algorithm": name, "legal_actions": "-", "seed": "-"}
        yield {**row, "survival": round(problem.truth(policy), 4), "illegal_orders": 0.0}


if __name__ == "__main__":
    main()
