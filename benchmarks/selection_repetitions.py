"""How often `select` deploys a policy that is worse than the behaviour, and how often it is mute, on known problems.

    python benchmarks/selection_repetitions.py --repetitions 200

Each repetition draws a random finite problem (with and without support, short and long episodes, heavy tails), its
episodes seen one-hot, and two candidates, and compares what `select` says with exact values. Appends a row to
benchmarks/results/selection_repetitions.csv as each is done, and goes on from there when started again.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from ope_battery import Floats, Table, pareto_noise

from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope.selection import select

RESULTS = Path(__file__).parent / "results" / "selection_repetitions.csv"
GAMMA = 0.95
KINDS = ("short", "long", "heavy tails", "unseen action", "few episodes")
SETTINGS: dict[str, Any] = {
    "gamma": GAMMA,
    "encoder": {"type": "mlp", "hidden_sizes": [32]},
    "learning_rate": 5e-3,
    "batch_size": 64,
    "n_resamples": 6,
    "device": "cpu",
}
COLUMNS = (
    *("seed", "kind", "behaviour", "best_truth", "chosen", "chosen_truth", "bounds_hold", "gain", "error"),
    *("is_clear", "seconds", "reason"),
)


class OneHotPolicy:
    """Acts by a table [S, A] over one-hot states."""

    def __init__(self, table: Floats) -> None:
        self.table = table

    def log_prob(self, observations: Floats, actions: Floats) -> Floats:
        """Returns the log-probabilities [B] of actions."""
        with np.errstate(divide="ignore"):
            return np.log(self.table[observations.argmax(1), actions])

    def predict(self, observations: Floats) -> Floats:
        """Returns the likeliest actions [B]."""
        return np.asarray(self.table[observations.argmax(1)].argmax(1))


def drawn(kind: str, seed: int) -> tuple[Table, MDPDataset, Floats, dict[str, Floats]]:
    """Returns the problem, its data, the behaviour and the candidates."""
    random = np.random.default_rng(10_000 + seed)
    table = Table.random(5, 3, 0.02 if kind == "long" else 0.2, seed=seed)
    behaviour = table.softened(random.uniform(-0.5, 0.5), 0.1)
    candidates = {
        "one": table.softened(random.uniform(0.5, 2.0), 0.1),
        "two": table.softened(random.uniform(-2.0, 0.5)),
    }
    if kind == "unseen action":
        table.rewards[0, 2] = -random.uniform(5, 30)
        behaviour[0] = [0.5, 0.5, 0.0]
        for candidate in candidates.values():
            candidate[0] = [0.0, 0.1, 0.9]
    noise = pareto_noise if kind == "heavy tails" else None
    n = 80 if kind == "few episodes" else 300
    data = table.record(behaviour, n, 60 if kind == "long" else 200, seed, noise, one_hot=True)
    return table, data, behaviour, candidates


def repetition(seed: int) -> dict[str, Any]:
    """Returns what `select` says of one problem beside the truth."""
    begun, kind = time.perf_counter(), KINDS[seed % len(KINDS)]
    table, data, behaviour, candidates = drawn(kind, seed)
    kept = table.value(behaviour, GAMMA)
    truths = {name: table.value(policy, GAMMA) for name, policy in candidates.items()}
    found = select(
        {name: OneHotPolicy(policy) for name, policy in candidates.items()}, data, seed=seed, **SETTINGS
    )
    best = max(truths, key=lambda name: truths[name])
    known = next(candidate for candidate in found.candidates if candidate.name == best)
    error = float(np.hypot(known.standard_error, data_error(data)))
    return {
        "seed": seed, "kind": kind, "behaviour": kept, "best_truth": truths[best], "chosen": found.chosen or "",
        "chosen_truth": truths[found.chosen] if found.chosen else "",
        "bounds_hold": all(c.lower_bound <= truths[c.name] - kept for c in found.candidates),
        "gain": truths[best] - kept, "error": error,
        "is_clear": kind != "unseen action" and truths[best] - kept > 2 * error,
        "seconds": round(time.perf_counter() - begun, 1), "reason": found.reason,
    }  # fmt: skip


def data_error(data: MDPDataset) -> float:
    """Returns the standard error of the behaviour's discounted return."""
    returns = [float((e.rewards * GAMMA ** np.arange(len(e.rewards))).sum()) for e in data]
    return float(np.std(returns, ddof=1) / np.sqrt(len(returns)))


def share(rows: list[dict[str, str]], column: str) -> str:
    """Returns "97% of 200"."""
    return f"{sum(row[column] == 'True' for row in rows) / len(rows):.1%} of {len(rows)}" if rows else "-"


def told(rows: list[dict[str, str]]) -> list[str]:
    """Returns the lines of the summary."""
    for row in rows:
        row["worse"] = str(bool(row["chosen"]) and float(row["chosen_truth"]) < float(row["behaviour"]))
        row["deployed"] = str(bool(row["chosen"]))
    lines = [
        "| problems | worse deployed | bounds hold | a clear gain deployed | seconds |",
        "|---|---|---|---|---|",
    ]
    for kind in (*KINDS, "all"):
        own = [row for row in rows if kind in (row["kind"], "all")]
        clear = [row for row in own if row["is_clear"] == "True"]
        seconds = np.mean([float(row["seconds"]) for row in own]) if own else float("nan")
        cells = (share(own, "worse"), share(own, "bounds_hold"), share(clear, "deployed"), f"{seconds:.1f}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


@click.command()
@click.option("--repetitions", default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(repetitions: int, out: Path) -> None:
    """Repeats, appends, prints."""
    done = list(csv.DictReader(out.open())) if out.is_file() else []
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for seed in range(len(done), repetitions):
            writer.writerow(repetition(seed))
            file.flush()
    click.echo("\n".join(told(list(csv.DictReader(out.open())))))


if __name__ == "__main__":
    main()
