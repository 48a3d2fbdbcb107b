"""Errors and coverage of every off-policy estimator on ICU-Sepsis, whose true values linear algebra gives.

    python benchmarks/ope_icu.py ../shared/data/icu_sepsis/dynamics.npz --draws 40 --csv benchmarks/results/ope_icu.csv

Draws 500 episodes under a behaviour policy, judges a target policy by them, and looks whether the intervals hold
the truth; so many times. States are those of the published table of transitions; gamma is 1.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope import (
    ESTIMATORS,
    Contributions,
    Report,
    estimate,
    exact_value,
    exact_values,
    interval_of,
)

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
ENDS = [713, 714, 715]  # Death, survival, and the state that follows both.
INTERVALS = ("bootstrap", "t", "bernstein", "hoeffding")
LEFT_OUT = {
    "model_based"
}  # Its states are numbers, which a network of vectors learns poorly; `direct` counts them.
COLUMNS = (
    "behaviour",
    "target",
    "truth",
    "estimator",
    "ess",
    "bias",
    "rmse",
    *INTERVALS,
    "width",
    "width_hoeffding",
)


class Problem(NamedTuple):
    """The tables of ICU-Sepsis, with zero rows for states where episodes end."""

    moves: Floats  # [S, A, S], zero from and to the ends.
    jumps: Floats  # [S, A, S], cumulative probabilities of the original.
    rewards: Floats  # [S, A], expected.
    by_next: Floats  # [S, A, S].
    starts: Floats  # [S].
    clinicians: Floats  # [S, A].

    @classmethod
    def load(cls, path: Path) -> Problem:
        """Reads the published file."""
        with np.load(path, allow_pickle=False) as file:
            table, by_next, starts, clinicians = (
                file[k] for k in ("tx_mat", "r_mat", "d_0", "expert_policy")
            )
        rewards, moves = np.einsum("ijk,ijk->ij", table, by_next), table.copy()
        moves[ENDS], moves[:, :, ENDS], rewards[ENDS] = 0.0, 0.0, 0.0
        return cls(moves, np.cumsum(table, -1), rewards, by_next, starts, _rows(clinicians + 1e-300))

    def truth(self, policy: Floats) -> float:
        """Returns the exact undiscounted value of a policy [S, A]: the probability of survival."""
        return exact_value(self.moves, self.rewards, policy, 1.0, self.starts)

    def draw(self, policy: Floats, n: int, rng: np.random.Generator) -> MDPDataset:
        """Returns n episodes of a policy, propensities logged."""
        state, alive, steps = rng.choice(len(policy), n, p=self.starts), np.ones(n, np.bool_), []
        thresholds = np.cumsum(policy, -1)
        while alive.any():
            action = (rng.random((n, 1)) > thresholds[state]).sum(1).clip(0, policy.shape[1] - 1)
            after = (rng.random((n, 1)) > self.jumps[state, action]).sum(1).clip(0, len(policy) - 1)
            steps.append((state, action, after, self.by_next[state, action, after], alive))
            alive = alive & ~np.isin(after, ENDS)
            state = np.where(alive, after, state)
        columns = (np.stack(column, 1) for column in zip(*steps, strict=True))
        states, actions, nexts, rewards, mask = columns
        ends = mask & np.isin(nexts, ENDS)
        return MDPDataset(
            states[mask][:, None].astype(np.float32),
            actions[mask],
            rewards[mask],
            ends[mask],
            action_space=spaces.Discrete(policy.shape[1]),
            final_observations=nexts[ends][:, None].astype(np.float32),
            behavior_log_probs=np.log(policy[states[mask], actions[mask]]),
            name="icu-sepsis",
        )


def policies(problem: Problem) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Returns behaviours and targets, none of which does what the clinicians never do."""
    clinicians = problem.clinicians
    admissible = clinicians > 1e-12
    uniform = _rows(admissible + 1e-300)
    targets = {
        "clinicians": clinicians,
        "softened": _rows(clinicians**0.9),
        "tilted to survival": tilted(problem, 10.0),
        "tilted to death": tilted(problem, -10.0),
        "explorer": 0.95 * clinicians + 0.05 * uniform,
        "uniform": uniform,  # Beyond what 500 episodes can tell; kept to show how that looks.
    }
    return {"clinicians": clinicians, "mixture": 0.9 * clinicians + 0.1 * uniform}, targets


def tilted(problem: Problem, strength: float) -> Floats:
    """Returns the clinicians' policy times exp(strength * advantage): above 0 more survive."""
    clinicians = problem.clinicians
    q = exact_values(problem.moves, problem.rewards, clinicians, 1.0)[1]
    return _rows(clinicians * np.exp(strength * (q - (clinicians * q).sum(1, keepdims=True))))


def measured(path: Path, behaviour: str, target: str, draws: int, n_episodes: int, seed: int) -> list[Row]:
    """Returns a row for each estimator: of one behaviour and target, over many draws of episodes."""
    problem = Problem.load(path)
    behaviours, targets = policies(problem)
    began, truth = time.perf_counter(), problem.truth(targets[target])
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_episodes, np.full(n_episodes, 1 / n_episodes), 1_000).astype(np.float64)
    errors, held, widths = defaultdict(list), defaultdict(list), defaultdict(list)
    sizes = []
    for draw in range(draws):
        data = problem.draw(behaviours[behaviour], n_episodes, np.random.default_rng([seed, draw]))
        report = judge(data, targets[target])
        sizes.append(report["is"].effective_sample_size)
        for name, found in report.contributions.items():
            errors[name].append(found.value - truth)
            spans = intervals(found, counts)
            held[name].append([low <= truth <= high for low, high in spans])
            widths[name].append([high - low for low, high in spans])
    rows = []
    for name in errors:
        off, cover, width = np.array(errors[name]), np.mean(held[name], 0), np.median(widths[name], 0)
        figures = (np.median(sizes), off.mean(), np.sqrt((off**2).mean()), *cover, width[0], width[3])
        rows.append(dict(zip(COLUMNS, (behaviour, target, truth, name, *figures), strict=True)))
    click.echo(f"{behaviour}, {target}: {time.perf_counter() - began:.0f} s", err=True)
    return rows


def judge(data: MDPDataset, target: Floats) -> Report:
    """Returns the contributions of every estimator."""
    names = [name for name in ESTIMATORS if name not in LEFT_OUT]
    return estimate(lambda o: target[o.reshape(-1).astype(np.int64)], data, names, gamma=1.0, interval="t")


def intervals(found: Contributions, counts: Floats) -> list[tuple[float, float]]:
    """Returns the four 95% intervals; the bootstrap's by the same resamples for all estimators."""
    low, high = np.quantile(found.resampled(counts), [0.025, 0.975])
    return [(float(low), float(high)), *(interval_of(found, name) for name in INTERVALS[1:])]


def _rows(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum(1, keepdims=True))


def markdown(rows: list[Row]) -> str:
    """Returns three tables: coverage by the bootstrap, root mean squared errors, and the other intervals."""
    pairs = list(dict.fromkeys((row["behaviour"], row["target"]) for row in rows))
    names = list(dict.fromkeys(row["estimator"] for row in rows))
    found = {(row["behaviour"], row["target"], row["estimator"]): row for row in rows}
    heads = [f"{b[0].upper()}: {t}" for b, t in pairs]
    first = [found[(*pair, names[0])] for pair in pairs]
    facts = [("truth", "truth", "{:.4f}"), ("effective episodes", "ess", "{:.0f}")]
    lines = _table(["", *heads], [[label, *(f.format(row[key]) for row in first)] for label, key, f in facts])
    for title, key, form in (("Coverage", "bootstrap", "{:.0%}"), ("RMSE", "rmse", "{:.3f}")):
        body = [[f"`{name}`", *(form.format(found[(*pair, name)][key]) for pair in pairs)] for name in names]
        lines += ["", *_table([title, *heads], body)]
    near = [pair for pair in pairs if pair[1] != "uniform"]
    body = []
    for name in names:
        parts = [found[(*pair, name)] for pair in near]
        spans = [f"{min(p[key] for p in parts):.0%} to {max(p[key] for p in parts):.0%}" for key in INTERVALS]
        widths = [f"{np.mean([p[key] for p in parts]):.3f}" for key in ("width", "width_hoeffding")]
        body.append([f"`{name}`", *spans, *widths])
    head = ["All but uniform", *INTERVALS, "width, bootstrap", "width, hoeffding"]
    return "\n".join([*lines, "", *_table(head, body)])


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--draws", default=100, show_default=True, help="Datasets drawn for each pair of policies.")
@click.option("--episodes", default=500, show_default=True, help="Episodes of each.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Processes.")
@click.option("--csv", "out", type=click.Path(path_type=Path), help="Where the figures go.")
def main(path: Path, draws: int, episodes: int, seed: int, jobs: int, out: Path | None) -> None:
    """Measure, print Markdown."""
    behaviours, targets = policies(Problem.load(path))
    with ProcessPoolExecutor(jobs) as pool:
        parts = [
            pool.submit(measured, path, behaviour, target, draws, episodes, seed)
            for behaviour in behaviours
            for target in targets
        ]
        rows = [row for part in parts for row in part.result()]
    if out:
        with out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows
            )
    click.echo(markdown(rows))


if __name__ == "__main__":
    main()
